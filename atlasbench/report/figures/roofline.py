"""Speed against what the device can do: below the slope memory traffic is the limit, below the flat roof arithmetic."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from atlasbench.analysis.panels import Panel, has_time, split_settings
from atlasbench.analysis.points import Curve, read_curves
from atlasbench.analysis.roofline import Roof, find_roof, read_roofline
from atlasbench.core.units import format_quantity
from atlasbench.report.figures.axes import set_log_axis, values_of, write_quantity
from atlasbench.report.figures.canvas import finish_layout, new_canvas, set_panel_title, write_foot
from atlasbench.report.figures.curves import (
    EXPLAIN_BARS,
    draw_curves,
    explain_fallback,
    explain_uncounted,
    key_of,
    label_curves,
)
from atlasbench.report.figures.labels import EndLabel
from atlasbench.report.figures.material import Material
from atlasbench.report.figures.picture import Picture
from atlasbench.report.figures.point_labels import add_point_labels
from atlasbench.report.figures.theme import Palette, Theme

_PANEL_IN = 2.5
_AROUND_RIDGE = 4  # how far slope and flat line are shown at least, so that they are seen as such
_ABOVE = 2  # room for names above the flat line


@dataclass(frozen=True, slots=True, kw_only=True)
class RooflinePanel:
    """One machine.

    Attributes:
        title: Its name.
        roof: Its limits.
        curves: x in FLOPs per byte, y in FLOPs a second.
    """

    title: str
    roof: Roof
    curves: tuple[Curve, ...]


def roofline_pictures(material: Material) -> list[Picture]:
    """One picture for each setting that ran on a device whose limits were measured."""
    pictures = []
    for setting in split_settings(material.machines, has_time):
        found = [(panel, roofline) for panel in setting.panels if (roofline := _find_roofline(panel)) is not None]
        if not found:
            continue
        foot = write_foot(
            [environment for panel, _ in found for environment in panel.environments],
            f"Setting: {setting.words}. Bytes: weights and outputs of layers, moved once for each use; what caches "
            "spare puts a model further right, other traffic further left. Roofs: measured, matrix product and copy. "
            f"Names stand at the largest image. {EXPLAIN_BARS}",
            explain_uncounted(record for panel, _ in found for record in panel.records),
            explain_fallback(curve for _, roofline in found for curve in roofline.curves),
        )
        pictures.append(
            Picture(
                name=f"roofline{setting.stem}",
                title=f"Speed against the limits of the device ({setting.words})",
                caption=(
                    "FLOPs a second that were reached against FLOPs per byte of weights and of outputs of layers, both "
                    "logarithmic. Below the slope memory traffic is the limit, below the flat line arithmetic; the "
                    "distance to it is what is lost. Above the slope caches have spared traffic."
                ),
                draw=partial(draw_roofline, [roofline for _, roofline in found], material.palette, foot),
            )
        )
    return pictures


def _find_roofline(panel: Panel) -> RooflinePanel | None:
    (environment,) = panel.environments
    roof = find_roof(environment, panel.series[0].workload.dtype)
    curves = tuple(read_curves(panel.series, read_roofline))
    return None if roof is None or not curves else RooflinePanel(title=panel.title, roof=roof, curves=curves)


def draw_roofline(panels: Sequence[RooflinePanel], palette: Palette, foot: Sequence[str], theme: Theme) -> Figure:
    """A panel for each machine, each on scales of its own: what counts is the distance to the roof."""
    curves = [curve for panel in panels for curve in panel.curves]
    figure, axes = new_canvas(theme, len(panels), foot=foot, key=key_of(curves, theme), panel_in=_PANEL_IN)
    for frame, panel in zip(axes, panels, strict=True):
        _set_axes(frame, panel)
        set_panel_title(frame, panel.title, theme)
        frame.set_xlabel("FLOPs per byte of weights and outputs (counted)")
        frame.set_ylabel("FLOPs per second")
        _draw_roof(frame, panel.roof, theme)
        draw_curves(frame, panel.curves, palette, theme)
    finish_layout(figure)
    for frame, panel in zip(axes, panels, strict=True):
        labels = label_curves(panel.curves, [curve.label for curve in panel.curves], palette, theme)
        outlines = [[(point.x, point.y) for point in curve.points] for curve in panel.curves]
        roof = _outline(frame, panel.roof)
        add_point_labels(frame, [*_name_roof(frame, panel.roof, theme), *labels], outlines, [roof], theme)
    return figure


def _set_axes(axes: Axes, panel: RooflinePanel) -> None:
    roof = panel.roof
    x = [roof.ridge / _AROUND_RIDGE, roof.ridge * _AROUND_RIDGE]
    x += [point.x for curve in panel.curves for point in curve.points]
    set_log_axis(axes, x, write_quantity, which="x")
    least = roof.flops_per_s / _AROUND_RIDGE
    set_log_axis(axes, [*values_of(panel.curves), least, roof.flops_per_s * _ABOVE], write_quantity)


def _draw_roof(axes: Axes, roof: Roof, theme: Theme) -> None:
    """The slope of the copy and the flat line of the matrix product."""
    x, y = zip(*_outline(axes, roof), strict=True)
    axes.plot(x, y, color=theme.text, linewidth=0.9, zorder=1.5)


def _outline(axes: Axes, roof: Roof) -> list[tuple[float, float]]:
    """From where the slope is first seen over the ridge to the panel's right edge."""
    start = max(axes.get_xlim()[0], axes.get_ylim()[0] / roof.bytes_per_s)
    return [
        (start, start * roof.bytes_per_s),
        (roof.ridge, roof.flops_per_s),
        (axes.get_xlim()[1], roof.flops_per_s),
    ]


def _name_roof(axes: Axes, roof: Roof, theme: Theme) -> list[EndLabel]:
    """The two measured numbers, at the middle of what is seen of slope and flat line."""
    (start, _), (ridge, _), (end, _) = _outline(axes, roof)
    on_slope, on_flat = math.sqrt(start * ridge), math.sqrt(ridge * end)
    slope, flat = format_quantity(roof.bytes_per_s, "B/s"), format_quantity(roof.flops_per_s, "FLOP/s")
    return [
        EndLabel(text=f"copy {slope}", x=on_slope, y=on_slope * roof.bytes_per_s, color=theme.text),
        EndLabel(text=f"{roof.dtype} {flat}", x=on_flat, y=roof.flops_per_s, color=theme.text),
    ]
