"""Accuracy against the size of the image."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from matplotlib.figure import Figure

from atlasbench.analysis.points import Curve
from atlasbench.analysis.trade import accuracy_curves, split_tables
from atlasbench.report.figures.axes import set_accuracy_axis, set_size_axis, values_of
from atlasbench.report.figures.canvas import new_canvas, set_panel_title
from atlasbench.report.figures.curves import draw_curves, finish_names, key_of, label_curves
from atlasbench.report.figures.labels import add_end_labels, panel_height
from atlasbench.report.figures.material import Material, slug
from atlasbench.report.figures.picture import Picture
from atlasbench.report.figures.theme import Palette, Theme


def accuracy_pictures(material: Material) -> list[Picture]:
    """One picture for each table with several sizes that has a workload of the records."""
    pictures, workloads = [], material.workloads
    for table in split_tables(material.accuracy):
        curves = accuracy_curves(table)
        if curves and any(point.matches(workload) for point in table.points for workload in workloads):
            pictures.append(
                Picture(
                    name=slug(f"accuracy resolution {table.name}"),
                    title="Accuracy against the size of the image",
                    caption=(
                        f"Top-1 accuracy ({table.title}) against the side of the image, logarithmic: all models of the "
                        "table, run here or not."
                    ),
                    draw=partial(draw_accuracy, curves, table.name, material.palette, [f"{table.title}."]),
                )
            )
    return pictures


def draw_accuracy(curves: Sequence[Curve], title: str, palette: Palette, foot: Sequence[str], theme: Theme) -> Figure:
    """One panel of curves."""
    height_in = panel_height(len(curves), theme)
    figure, (axes,) = new_canvas(theme, 1, foot=foot, key=key_of(curves, theme), panel_in=height_in)
    set_size_axis(axes, curves)
    set_accuracy_axis(axes, values_of(curves))
    set_panel_title(axes, title, theme)
    draw_curves(axes, curves, palette, theme)
    labels = label_curves(curves, [curve.label for curve in curves], palette, theme)
    return finish_names(figure, [(axes, add_end_labels(axes, labels, theme))], theme)
