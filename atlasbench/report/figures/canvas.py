"""The sheet of a picture: panels beside or below each other, and below them the key and where numbers come from."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Sequence

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from atlasbench.core.record import Environment
from atlasbench.report.figures.theme import PAGE_IN, Theme
from atlasbench.report.remarks import describe_environment

PANEL_IN = 2.15  # height of a panel with its title and axes
POINTS = 72.0  # in an inch
_MARGIN_IN = 0.06
_LINE = 1.35  # height of a line of text, in font sizes
_LETTER = 0.57  # width of a letter, in font sizes; on the safe side for every sans-serif font
_BOLD = 1.12  # width of a bold letter, in those of a plain one
_LEFT_OF_PANEL_IN = 0.5  # ticks and axis label
_MARK = 4.0  # width of a mark and its gaps in the key, in font sizes


def new_canvas(
    theme: Theme,
    num_panels: int,
    *,
    foot: Sequence[str],
    key: Sequence[Artist] = (),
    panel_in: float = PANEL_IN,
) -> tuple[Figure, list[Axes]]:
    """A figure with this many panels, its key, and the lines of its foot.

    Panels stand below each other in a column, and on a page up to three beside each other.

    Args:
        theme: Colours and width.
        num_panels: At least 1.
        foot: Where the numbers come from: one sentence or more, wrapped to the width.
        key: What the marks stand for.
        panel_in: Height of a panel, in inches.
    """
    columns = 1 if theme.width_in < PAGE_IN else _columns_of_page(num_panels)
    rows = -(-num_panels // columns)
    line_in = _LINE * theme.small_pt / POINTS
    width_in = theme.width_in - 2 * _MARGIN_IN
    lines = [line for text in foot for line in wrap_text(text, theme.small_pt, width_in)]
    key_columns = _columns_of_key(key, theme.small_pt, width_in)
    key_rows = -(-len(key) // key_columns)
    text_in = len(lines) * line_in
    foot_in = text_in + key_rows * line_in + 2 * _MARGIN_IN
    height_in = rows * panel_in + foot_in
    figure = Figure(figsize=(theme.width_in, height_in))
    below = foot_in / height_in
    figure.set_layout_engine(
        ConstrainedLayoutEngine(
            rect=(0, below, 1, 1 - below), w_pad=_MARGIN_IN, h_pad=_MARGIN_IN, wspace=0.03, hspace=0.03
        )
    )
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    for unused in panels[num_panels:]:
        unused.remove()
    if lines:
        figure.text(
            _MARGIN_IN / theme.width_in,
            _MARGIN_IN / height_in,
            "\n".join(lines),
            fontsize=theme.small_pt,
            color=theme.muted,
            linespacing=_LINE,
            va="bottom",
        )
    if key:
        figure.legend(
            handles=list(key),
            loc="lower left",
            bbox_to_anchor=(0, (text_in + _MARGIN_IN) / height_in),
            ncols=key_columns,
            borderpad=0.2,
            borderaxespad=0.2,
            handletextpad=0.3,
            handlelength=1.4,
            columnspacing=1.0,
            labelspacing=0.25,
        )
    return figure, panels[:num_panels]


def write_foot(environments: Iterable[Environment], *remarks: str) -> list[str]:
    """Lines of a foot: what the picture leaves unsaid, then every environment that its numbers are from, once."""
    return [*filter(None, remarks), *dict.fromkeys(map(describe_environment, environments))]


def wrap_text(text: str, size_pt: float, width_in: float) -> list[str]:
    """Lines of text in this size that are no wider than this."""
    letters = max(int(width_in * POINTS / (size_pt * _LETTER)), 20)
    return textwrap.wrap(text, letters)


def set_panel_title(axes: Axes, title: str, theme: Theme, names: Sequence[str] = ()) -> None:
    """A title above a panel, in as many lines as its share of the width asks for.

    Args:
        axes: The panel.
        title: In one line.
        theme: Sizes and width.
        names: What stands left of the panel, where that is more than numbers.
    """
    names_in = max(map(len, names), default=0) * _LETTER * theme.font_pt / POINTS
    place = axes.get_subplotspec()
    columns = 1 if place is None else place.get_gridspec().ncols
    width_in = theme.width_in / columns - max(names_in + _MARGIN_IN, _LEFT_OF_PANEL_IN)
    axes.set_title("\n".join(wrap_text(title, theme.font_pt * _BOLD, width_in)))


def finish_layout(figure: Figure) -> None:
    """Give every panel its final place, so that what is placed by hand afterwards stays where it is."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for axes in figure.axes:
        _thin_ticks(axes)


def _thin_ticks(axes: Axes) -> None:
    """Leave out the numbers below a panel that would touch the one before."""
    low, high = axes.get_xlim()
    kept: list[float] = []
    free = -math.inf
    for place, label in zip(axes.get_xticks(), axes.get_xticklabels(), strict=True):
        box = label.get_window_extent()
        if low <= place <= high and box.x0 >= free:
            kept.append(float(place))
            free = box.x1 + box.height / 2
    axes.set_xticks(kept)


def _columns_of_page(num_panels: int) -> int:
    return 2 if num_panels == 4 else min(num_panels, 3)


def _columns_of_key(key: Sequence[Artist], size_pt: float, width_in: float) -> int:
    """The most that fit beside each other; each column is as wide as its widest entry."""
    widths_in = [(len(str(entry.get_label())) * _LETTER + _MARK) * size_pt / POINTS for entry in key]
    fitting = (
        columns
        for columns in range(len(key), 0, -1)
        if sum(column.max() for column in np.array_split(widths_in, columns)) <= width_in
    )
    return next(fitting, 1)
