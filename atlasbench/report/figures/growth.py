"""What was measured against the size of the image, a panel for each machine: time per image, images a second."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from matplotlib.figure import Figure

from atlasbench.analysis.panels import Setting, has_time, split_settings
from atlasbench.analysis.points import Curve, Reader, read_curves, read_images_per_s, read_time_per_image
from atlasbench.report.figures.axes import (
    Format,
    set_log_axis,
    set_size_axis,
    values_of,
    write_quantity,
    write_seconds,
)
from atlasbench.report.figures.canvas import new_canvas, set_panel_title, write_foot
from atlasbench.report.figures.curves import (
    EXPLAIN_BARS,
    draw_curves,
    explain_fallback,
    finish_names,
    key_of,
    label_curves,
)
from atlasbench.report.figures.labels import add_end_labels, panel_height
from atlasbench.report.figures.material import Material
from atlasbench.report.figures.picture import Picture
from atlasbench.report.figures.theme import Palette, Theme


@dataclass(frozen=True, slots=True, kw_only=True)
class GrowthPanel:
    """One machine.

    Attributes:
        title: Its name.
        curves: One for each model.
    """

    title: str
    curves: tuple[Curve, ...]


def latency_pictures(material: Material) -> list[Picture]:
    """Time per image, one picture for each setting."""
    return [
        Picture(
            name=f"latency{setting.stem}",
            title=f"Time per image ({setting.words})",
            caption=(
                "Median time of a step over its images against the side of the image, both logarithmic, with its "
                "interval. Lower is faster."
            ),
            draw=_draw(setting, read_time_per_image, "time per image", write_seconds, material.palette),
        )
        for setting in split_settings(material.machines, has_time)
    ]


def throughput_pictures(material: Material) -> list[Picture]:
    """Images a second, one picture for each setting."""
    return [
        Picture(
            name=f"throughput{setting.stem}",
            title=f"Images per second ({setting.words})",
            caption=(
                "Images of a step over its median time against the side of the image, both logarithmic, with its "
                "interval. Higher is faster."
            ),
            draw=_draw(setting, read_images_per_s, "images per second", write_quantity, material.palette),
        )
        for setting in split_settings(material.machines, has_time)
    ]


def _draw(setting: Setting, read: Reader, label: str, write: Format, palette: Palette) -> partial[Figure]:
    panels = [GrowthPanel(title=panel.title, curves=tuple(read_curves(panel.series, read))) for panel in setting.panels]
    foot = write_foot(
        [environment for panel in setting.panels for environment in panel.environments],
        f"Setting: {setting.words}. {EXPLAIN_BARS}",
        explain_fallback(curve for panel in panels for curve in panel.curves),
    )
    return partial(draw_growth, panels, palette, foot, label, write)


def draw_growth(
    panels: Sequence[GrowthPanel],
    palette: Palette,
    foot: Sequence[str],
    label: str,
    write: Format,
    theme: Theme,
) -> Figure:
    """All panels on the same scales, so that they can be compared at a glance."""
    all_curves = [curve for panel in panels for curve in panel.curves]
    height_in = panel_height(max(len(panel.curves) for panel in panels), theme)
    figure, axes = new_canvas(theme, len(panels), foot=foot, key=key_of(all_curves, theme), panel_in=height_in)
    names = []
    for frame, panel in zip(axes, panels, strict=True):
        set_size_axis(frame, all_curves)
        set_log_axis(frame, values_of(all_curves), write)
        set_panel_title(frame, panel.title, theme)
        frame.set_ylabel(label)
        draw_curves(frame, panel.curves, palette, theme)
        texts = [curve.label for curve in panel.curves]
        names.append((frame, add_end_labels(frame, label_curves(panel.curves, texts, palette, theme), theme)))
    return finish_names(figure, names, theme)
