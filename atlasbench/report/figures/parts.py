"""Where the FLOPs of models go: a bar for each, split by part."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import FuncFormatter

from atlasbench.analysis.panels import split_counts
from atlasbench.analysis.shares import SharedSize, split_by_part
from atlasbench.core.record import PARTS
from atlasbench.core.units import format_quantity
from atlasbench.report.figures.axes import set_row_axis
from atlasbench.report.figures.canvas import POINTS, finish_layout, new_canvas, set_panel_title, write_foot
from atlasbench.report.figures.curves import explain_uncounted
from atlasbench.report.figures.labels import shorten
from atlasbench.report.figures.material import Material
from atlasbench.report.figures.picture import Picture
from atlasbench.report.figures.theme import Theme

_ROW_IN = 0.2  # height of a bar with its gap
_AROUND_IN = 0.5  # title and ticks
_SEEN = 0.005  # a smaller share is no wider than a line
_DIGIT = 0.7  # width of a digit, or a little less than that of `%`, in font sizes
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
        foot = write_foot(panel.environments, f"Counted, {setting.words}.{left_out}", explain_uncounted(panel.records))
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
    bars: list[Rectangle] = []
    for place, row in enumerate(shared.rows):
        left = 0.0
        for part in parts:
            share = row.by_part[part]
            bars += axes.barh(place, share, left=left, height=0.74, color=theme.part_color(part))
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
    set_row_axis(axes, names, theme)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0%}"))
    axes.spines["left"].set_visible(False)
    axes.grid(visible=False)
    finish_layout(figure)
    _write_shares(axes, bars, theme)
    return figure


def _write_shares(axes: Axes, bars: Sequence[Rectangle], theme: Theme) -> None:
    """A number in every bar that is wide enough for it, in a panel whose place is final."""
    width_in = axes.get_window_extent().width / axes.figure.dpi
    for bar in bars:
        share = bar.get_width()
        text = "> 99%" if 0.995 <= share < 1 else f"{share:.0%}"
        if share * width_in * POINTS < (len(text) + 0.5) * _DIGIT * theme.small_pt:
            continue
        axes.text(
            bar.get_x() + share / 2,
            bar.get_y() + bar.get_height() / 2,
            text,
            ha="center",
            va="center_baseline",
            fontsize=theme.small_pt,
            color=_ink_on(to_hex(bar.get_facecolor())),
        )


def _ink_on(color: str) -> str:
    """Black or white, whichever is easier to read on a colour."""
    red, green, blue = (int(color[start : start + 2], 16) / 255 for start in (1, 3, 5))
    return "#000000" if 0.2126 * red + 0.7152 * green + 0.0722 * blue > _DARKEST else "#FFFFFF"
