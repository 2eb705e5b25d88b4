"""Where the FLOPs of models go: a bar for each, split by part."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter

from atlasbench.analysis.panels import split_counts
from atlasbench.analysis.shares import SharedSize, split_by_part
from atlasbench.core.record import PARTS
from atlasbench.core.units import format_quantity
from atlasbench.report.figures.canvas import finish_layout, new_canvas, set_panel_title
from atlasbench.report.figures.corner import describe_corner
from atlasbench.report.figures.labels import shorten
from atlasbench.report.figures.material import Material
from atlasbench.report.figures.picture import Picture
from atlasbench.report.figures.theme import Theme

_ROW_IN = 0.2  # height of a bar with its gap
_AROUND_IN = 0.5  # title and ticks
_SEEN = 0.005  # a smaller share is no wider than a line
_ROOM_FOR_NUMBER = 0.085  # of the width: a bar that is narrower has no number in it, in a column
_DARKEST = 0.45  # luminance above which numbers on a colour are dark


def parts_pictures(material: Material) -> list[Picture]:
    """One picture for inference and one for training, whatever was counted."""
    pictures = []
    for setting in split_counts(material.machines):
        (panel,) = setting.panels
        shared = split_by_part(panel.series)
        if shared is None:
            continue
        left_out = f" Not counted at this size: {', '.join(shared.left_out)}." if shared.left_out else ""
        foot = describe_corner(panel.environments, f"Counted, {setting.words}.{left_out}")
        pictures.append(
            Picture(
                name=f"parts{setting.stem}",
                title=f"Where the FLOPs go ({setting.words})",
                caption=(
                    f"FLOPs of one image at {shared.resolution} px by part of the model, as shares of the whole, which "
                    f"stands at the end of each bar.{left_out}"
                ),
                draw=partial(draw_parts, shared, foot),
            )
        )
    return pictures


def draw_parts(shared: SharedSize, foot: Sequence[str], theme: Theme) -> Figure:
    """Bars from 0 to 100 %, their FLOPs at the end."""
    parts = [part for part in PARTS if any(row.by_part[part] >= _SEEN for row in shared.rows)]
    key = [Patch(facecolor=theme.part_color(part), label=part) for part in parts]
    height_in = len(shared.rows) * _ROW_IN + _AROUND_IN
    figure, (axes,) = new_canvas(theme, 1, foot=foot, key=key, panel_in=height_in)
    for place, row in enumerate(shared.rows):
        left = 0.0
        for part in parts:
            share = row.by_part[part]
            axes.barh(place, share, left=left, height=0.74, color=theme.part_color(part))
            if share >= _ROOM_FOR_NUMBER:
                axes.text(
                    left + share / 2,
                    place,
                    f"{share:.0%}",
                    ha="center",
                    va="center_baseline",
                    fontsize=theme.small_pt,
                    color=_ink_on(theme.part_color(part)),
                )
            left += share
        axes.annotate(
            format_quantity(row.flops, "FLOP"),
            xy=(1, place),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            annotation_clip=False,
        )
    names = [shorten(row.label) for row in shared.rows]
    set_panel_title(axes, f"FLOPs of one image at {shared.resolution} px, by part", theme, names)
    axes.set_xlim(0, 1)
    axes.set_ylim(len(shared.rows) - 0.5, -0.5)
    axes.set_yticks(range(len(shared.rows)), names)
    axes.tick_params(axis="y", length=0, labelsize=theme.font_pt)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0%}"))
    axes.spines["left"].set_visible(False)
    axes.grid(visible=False)
    finish_layout(figure)
    return figure


def _ink_on(color: str) -> str:
    """Black or white, whichever is easier to read on a colour."""
    red, green, blue = (int(color[start : start + 2], 16) / 255 for start in (1, 3, 5))
    return "#000000" if 0.2126 * red + 0.7152 * green + 0.0722 * blue > _DARKEST else "#FFFFFF"
