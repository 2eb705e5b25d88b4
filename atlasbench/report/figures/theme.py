"""How pictures look: colours that colour-blind readers tell apart, sizes that are readable in a column of a paper."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import matplotlib as mpl

from atlasbench.core.compat import StrEnum
from atlasbench.core.record import PARTS

COLUMN_IN = 3.5  # a column of a paper
PAGE_IN = 7.16  # a page of two columns


class Width(StrEnum):
    """How much of a paper's page a picture takes."""

    COLUMN = "column"
    PAGE = "page"


Dashes = tuple[float, ...]
# Solid, dashed, dotted, dash-dotted; in line widths.
_DASHES: tuple[Dashes, ...] = ((), (5, 1.6), (1.2, 1.4), (6, 1.5, 1.2, 1.5))


@dataclass(frozen=True, slots=True, kw_only=True)
class Theme:
    """Colours, sizes (points) and the width (inches) of a picture.

    Attributes:
        background: Of the whole picture.
        text: Names and numbers; at least 7:1 against the background.
        muted: What stands behind: guides, fronts, the environment; at least 4.5:1.
        grid: Lines that only lead the eye.
        models: One colour a model; each at least 4.5:1 against the background, and any two apart in normal vision
            and in simulated protanopia, deuteranopia and tritanopia.
        parts: One colour a part of a model, in the order of `PARTS`.
        width_in: Of the picture.
        font_pt: Of labels.
        small_pt: Of ticks, keys and the environment.
    """

    background: str
    text: str
    muted: str
    grid: str
    models: tuple[str, ...]
    parts: tuple[str, ...]
    width_in: float = COLUMN_IN
    font_pt: float = 7.0
    small_pt: float = 6.0

    def part_color(self, part: str) -> str:
        """Colour of one of `PARTS`."""
        return self.parts[PARTS.index(part)]


LIGHT = Theme(
    background="#FFFFFF",
    text="#1A1C20",
    muted="#62666E",
    grid="#E2E4E8",
    models=("#007FAE", "#BE5900", "#890068", "#537965", "#074DA9", "#000C24", "#7F592D", "#540014"),
    parts=("#D9C08A", "#7FB2CF", "#BE5900", "#0B5A7D", "#3A3F47", "#C9CCD2"),
)
DARK = Theme(
    background="#14171C",
    text="#ECEEF2",
    muted="#9AA1AC",
    grid="#2B3038",
    models=("#20B0FF", "#FF6D00", "#B784B4", "#42F1AC", "#7284FF", "#D2F9FF", "#BC7850", "#FFFD37"),
    parts=("#D9C08A", "#7FB2CF", "#E8751A", "#1F7FAB", "#ECEEF2", "#59606B"),
)


def set_width(width: Width, theme: Theme = LIGHT) -> Theme:
    """The theme for pictures of this width."""
    return replace(theme, width_in=PAGE_IN if width is Width.PAGE else COLUMN_IN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Palette:
    """Which colour and line a model has, the same in all pictures that are made together.

    Attributes:
        models: In the order in which they get their colours.
    """

    models: tuple[str, ...]

    def color(self, model: str, theme: Theme) -> str:
        """Colour of a model; after the last colour the first comes again, with another line."""
        return theme.models[self.models.index(model) % len(theme.models)]

    def dashes(self, model: str, variant: int = 0) -> Dashes:
        """Line of a model; `variant` counts the curves that a picture has of the same model."""
        index = self.models.index(model)
        return _DASHES[(index + index // len(LIGHT.models) + variant) % len(_DASHES)]


def number_variants(models: Sequence[str]) -> list[int]:
    """For every curve's model, how many curves of the same model came before."""
    return [models[:index].count(model) for index, model in enumerate(models)]


@contextmanager
def use_theme(theme: Theme) -> Iterator[None]:
    """Draw and write with these settings and no others, whatever the user's own are; they are back afterwards."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_settings(theme))
        yield


def _settings(theme: Theme) -> Any:
    return {
        "figure.facecolor": theme.background,
        "savefig.facecolor": theme.background,
        "axes.facecolor": theme.background,
        "axes.edgecolor": theme.muted,
        "axes.labelcolor": theme.text,
        "axes.titlecolor": theme.text,
        "axes.titlesize": theme.font_pt,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "axes.titlepad": 4.0,
        "axes.labelsize": theme.small_pt,
        "axes.labelpad": 2.0,
        "axes.linewidth": 0.6,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": theme.grid,
        "grid.linewidth": 0.5,
        "xtick.color": theme.muted,
        "ytick.color": theme.muted,
        "xtick.labelcolor": theme.text,
        "ytick.labelcolor": theme.text,
        "xtick.labelsize": theme.small_pt,
        "ytick.labelsize": theme.small_pt,
        "xtick.major.width": 0.6,
        "ytick.major.width": 0.6,
        "xtick.major.size": 2.5,
        "ytick.major.size": 2.5,
        "xtick.major.pad": 2.0,
        "ytick.major.pad": 2.0,
        "lines.linewidth": 1.1,
        "text.color": theme.text,
        "text.parse_math": False,  # a dollar sign in the path of a user's model is a dollar sign
        "font.size": theme.font_pt,
        "legend.frameon": False,
        "legend.fontsize": theme.small_pt,
        "svg.fonttype": "none",  # text stays text, in whatever sans-serif font the reader has
        "svg.hashsalt": "atlasbench",
        "pdf.fonttype": 42,  # TrueType, which journals ask for
    }
