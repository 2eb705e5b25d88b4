"""Peak memory against the size of the image, below the line of what the device has."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import ScaledTranslation

from atlasbench.analysis.capacity import CapacityPanel, find_capacity
from atlasbench.analysis.panels import has_memory, split_settings
from atlasbench.core.units import format_bytes
from atlasbench.report.figures.axes import set_log_axis, set_size_axis, values_of, write_bytes
from atlasbench.report.figures.canvas import POINTS, new_canvas, set_panel_title, write_foot
from atlasbench.report.figures.curves import draw_curves, explain_fallback, finish_names, label_curves
from atlasbench.report.figures.labels import add_end_labels, panel_height
from atlasbench.report.figures.marks import OUT_OF_MEMORY, draw_mark, draw_points, find_mark, key_entries
from atlasbench.report.figures.material import Material
from atlasbench.report.figures.picture import Picture
from atlasbench.report.figures.theme import Palette, Theme

_CROSS_PT = 5.0  # from one cross to the next: those of several models at one size stand beside each other
_CROSSES_PT = 18.0  # widest row of them, so that many do not reach the next size


def memory_pictures(material: Material) -> list[Picture]:
    """Peak memory, one picture for each setting."""
    pictures = []
    for setting in split_settings(material.machines, has_memory):
        found = [(panel, capacity) for panel in setting.panels if (capacity := find_capacity(panel)) is not None]
        if not found:
            continue
        foot = write_foot(
            [environment for panel, _ in found for environment in panel.environments],
            f"Setting: {setting.words}. Peak of the whole batch, with parameters.",
            explain_fallback(curve for _, capacity in found for curve in capacity.measured),
        )
        pictures.append(
            Picture(
                name=f"memory{setting.stem}",
                title=f"Peak memory ({setting.words})",
                caption=_describe([capacity for _, capacity in found]),
                draw=partial(draw_memory, [capacity for _, capacity in found], material.palette, foot),
            )
        )
    return pictures


def _describe(panels: Sequence[CapacityPanel]) -> str:
    """The caption: of what is there, and of nothing else."""
    kinds = [
        *(["measured on the device"] if any(panel.measured for panel in panels) else []),
        *(["predicted from the shapes"] if any(panel.predicted for panel in panels) else []),
    ]
    sentences = [f"Peak memory of a step against the side of the image, both logarithmic, {' and '.join(kinds)}."]
    if any(panel.limit_bytes for panel in panels):
        sentences.append("The horizontal line is what the device has.")
    if _has_crosses(panels):
        sentences.append("A cross on it is a workload that did not fit.")
    return " ".join(sentences)


def _has_crosses(panels: Sequence[CapacityPanel]) -> bool:
    return any(panel.limit_bytes and panel.out_of_memory for panel in panels)


def draw_memory(panels: Sequence[CapacityPanel], palette: Palette, foot: Sequence[str], theme: Theme) -> Figure:
    """A panel for each machine, all on the same scales."""
    curves = [curve for panel in panels for curve in (*panel.measured, *panel.predicted)]
    marks = {find_mark(point) for curve in curves for point in curve.points}
    if _has_crosses(panels):
        marks.add(OUT_OF_MEMORY)
    limits = [panel.limit_bytes for panel in panels if panel.limit_bytes]
    figure, axes = new_canvas(
        theme,
        len(panels),
        foot=foot,
        key=key_entries(marks, theme),
        panel_in=panel_height(max(len(panel.named) for panel in panels), theme),
    )
    names = []
    for frame, panel in zip(axes, panels, strict=True):
        set_size_axis(frame, curves, more=[side for panel in panels for _, side in panel.out_of_memory])
        set_log_axis(frame, [*values_of(curves), *limits], write_bytes)
        set_panel_title(frame, panel.title, theme)
        frame.set_ylabel("peak memory of a step")
        _draw_limit(frame, panel, palette, theme)
        named = panel.named
        draw_curves(frame, named, palette, theme)
        for curve in panel.predicted:
            if curve not in named:
                draw_points(frame, curve.points, palette.color(curve.model, theme), theme)
        labels = label_curves(named, [curve.label for curve in named], palette, theme)
        names.append((frame, add_end_labels(frame, labels, theme)))
    return finish_names(figure, names, theme)


def _draw_limit(axes: Axes, panel: CapacityPanel, palette: Palette, theme: Theme) -> None:
    """The line of the device's memory, and on it a cross for every workload that did not fit."""
    if panel.limit_bytes is None:
        return
    axes.axhline(panel.limit_bytes, color=theme.text, linewidth=0.8)
    axes.annotate(
        f"{format_bytes(panel.limit_bytes)} of memory",
        xy=(0, panel.limit_bytes),
        xycoords=("axes fraction", "data"),
        xytext=(3, -2),
        textcoords="offset points",
        va="top",
        fontsize=theme.small_pt,
    )
    for side in dict.fromkeys(side for _, side in panel.out_of_memory):
        models = [model for model, other in panel.out_of_memory if other == side]
        step_pt = min(_CROSS_PT, _CROSSES_PT / len(models))
        for place, model in enumerate(models):
            cross = draw_mark(axes, [side], [panel.limit_bytes], OUT_OF_MEMORY, palette.color(model, theme), theme)
            shift_in = (place - (len(models) - 1) / 2) * step_pt / POINTS
            cross.set_transform(axes.transData + ScaledTranslation(shift_in, 0, axes.figure.dpi_scale_trans))
            cross.set_clip_on(False)
