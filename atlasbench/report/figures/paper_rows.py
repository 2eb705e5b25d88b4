"""Our ratio beside the paper's, a row for each of a table's models."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from matplotlib.figure import Figure

from atlasbench.analysis.reproduction import Reproduction
from atlasbench.core.kinds import Kind
from atlasbench.report.figures.axes import set_log_axis, set_row_axis, write_quantity
from atlasbench.report.figures.canvas import finish_layout, new_canvas, set_panel_title, write_foot
from atlasbench.report.figures.labels import shorten
from atlasbench.report.figures.marks import MARKS, draw_mark, key_entries
from atlasbench.report.figures.material import Material, slug
from atlasbench.report.figures.picture import Picture
from atlasbench.report.figures.theme import Theme

_ROW_IN = 0.17
_AROUND_IN = 0.62  # title, ticks and axis label


def paper_pictures(material: Material) -> list[Picture]:
    """One picture for each table and machine."""
    pictures = []
    for reproduction in material.reproductions:
        environments = [item.environment for item in material.machines if item.name == reproduction.machine]
        has_flops = any(row.flops_ratio for row in reproduction.rows)
        marks = "Bars: interval of our ratio." + (" Diamonds: ratio of the FLOPs." if has_flops else "")
        foot = write_foot(environments, f"{reproduction.title}.", marks)
        pictures.append(
            Picture(
                name=slug(f"paper {reproduction.table}"),
                title=reproduction.title,
                caption=(
                    f"Time per image as a multiple of that of {reproduction.baseline}, logarithmic, beside the paper's."
                    + (" Diamonds: the ratio of the FLOPs, what arithmetic alone would give." if has_flops else "")
                ),
                draw=partial(draw_paper, reproduction, foot),
            )
        )
    return pictures


def draw_paper(reproduction: Reproduction, foot: Sequence[str], theme: Theme) -> Figure:
    """Stars for the paper, circles with intervals for what was measured, diamonds for the ratio of the FLOPs."""
    rows = reproduction.rows
    ours_color, paper_color, counted_color = theme.models[0], theme.models[1], theme.muted
    kinds = {Kind.PAPER}
    if any(row.ours is not None for row in rows):
        kinds.add(Kind.MEASURED)
    if any(row.flops_ratio for row in rows):
        kinds.add(Kind.COUNTED)
    key = key_entries({MARKS[kind] for kind in kinds}, theme)
    figure, (axes,) = new_canvas(theme, 1, foot=foot, key=key, panel_in=len(rows) * _ROW_IN + _AROUND_IN)
    values = [1.0]
    for place, row in enumerate(rows):
        values += [value for value in (row.paper, row.ours, row.low, row.high, row.flops_ratio) if value]
        if row.flops_ratio:
            draw_mark(axes, [row.flops_ratio], [place], MARKS[Kind.COUNTED], counted_color, theme)
        draw_mark(axes, [row.paper], [place], MARKS[Kind.PAPER], paper_color, theme)
        if row.ours is not None:
            if row.low is not None and row.high is not None:
                axes.plot([row.low, row.high], [place, place], color=ours_color, linewidth=0.9)
            draw_mark(axes, [row.ours], [place], MARKS[Kind.MEASURED], ours_color, theme)
    set_log_axis(axes, values, write_quantity, which="x")
    axes.axvline(1, color=theme.muted, linewidth=0.6, zorder=1)
    has_sizes = len({row.resolution for row in rows}) > 1
    names = [shorten(f"{row.label} {row.resolution}" if has_sizes else row.label) for row in rows]
    set_row_axis(axes, names, theme)
    axes.set_xlabel(f"time per image, in times that of {reproduction.baseline}")
    set_panel_title(axes, f"{reproduction.table}, {reproduction.machine}", theme, names)
    finish_layout(figure)
    return figure
