"""Panels of curves: lines, marks and names, the same way in every picture."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Annotation

from atlasbench.analysis.points import Curve
from atlasbench.core.record import Record
from atlasbench.report.figures.canvas import finish_layout
from atlasbench.report.figures.labels import EndLabel, spread_end_labels
from atlasbench.report.figures.marks import draw_points, find_mark, key_entries
from atlasbench.report.figures.theme import Palette, Theme, number_variants

EXPLAIN_BARS = "Bars: interval of at least 95 % for the median, or the range of few samples."

Names = list[tuple[Axes, list[Annotation]]]


def draw_curves(axes: Axes, curves: Sequence[Curve], palette: Palette, theme: Theme) -> None:
    """Every curve as a line through its points; a single point has no line."""
    variants = number_variants([curve.model for curve in curves])
    for curve, variant in zip(curves, variants, strict=True):
        color = palette.color(curve.model, theme)
        if len(curve.points) > 1:
            (line,) = axes.plot(
                [point.x for point in curve.points], [point.y for point in curve.points], color=color, zorder=2
            )
            dashes = palette.dashes(curve.model, variant)
            if dashes:
                line.set_dashes(dashes)
        draw_points(axes, curve.points, color, theme)


def label_curves(curves: Sequence[Curve], texts: Sequence[str], palette: Palette, theme: Theme) -> list[EndLabel]:
    """A name for every curve, at its last point and in its colour; marked where a fast kernel was missing."""
    return [
        EndLabel(
            text=f"{text} *" if curve.is_fallback else text,
            x=curve.points[-1].x,
            y=curve.points[-1].y,
            color=palette.color(curve.model, theme),
        )
        for curve, text in zip(curves, texts, strict=True)
    ]


def explain_fallback(curves: Iterable[Curve]) -> str:
    """What the mark at a name means; empty where no curve has it."""
    has_mark = any(curve.is_fallback for curve in curves)
    return "* Selective scan in plain PyTorch, without its fast kernel." if has_mark else ""


def explain_uncounted(records: Iterable[Record]) -> str:
    """Whose FLOPs are too low, because operators are missing from them; empty where none are."""
    models = dict.fromkeys(
        record.workload.model
        for record in records
        if record.measurement.counts is not None and record.measurement.counts.uncounted
    )
    return f"FLOPs without operators that have no formula, so too low: {', '.join(models)}." if models else ""


def finish_names(figure: Figure, names: Names, theme: Theme) -> Figure:
    """Fix the layout and push the names of every panel apart."""
    finish_layout(figure)
    for axes, labels in names:
        spread_end_labels(axes, labels, theme)
    return figure


def key_of(curves: Sequence[Curve], theme: Theme) -> Sequence[Artist]:
    """The marks that these curves have."""
    return key_entries({find_mark(point) for curve in curves for point in curve.points}, theme)
