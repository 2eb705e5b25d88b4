"""How a number is marked, by the way it came to be, and the key that says so."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from atlasbench.analysis.points import Point
from atlasbench.core.kinds import Kind
from atlasbench.report.figures.theme import Theme


@dataclass(frozen=True, slots=True)
class Mark:
    """A mark and what the key says of it.

    Attributes:
        marker: In matplotlib's letters.
        size_pt: Width in points, so that different marks look equally large.
        is_filled: Whether it is filled with its colour, or with the background.
        words: What it stands for.
    """

    marker: str
    size_pt: float
    is_filled: bool
    words: str


MARKS = {
    Kind.MEASURED: Mark("o", 3.8, True, Kind.MEASURED.value),
    Kind.COUNTED: Mark("D", 3.3, False, Kind.COUNTED.value),
    Kind.PREDICTED: Mark("^", 4.0, False, Kind.PREDICTED.value),
    Kind.PAPER: Mark("*", 6.0, True, Kind.PAPER.value),
    Kind.FILE: Mark("s", 3.6, False, Kind.FILE.value),
}
UNSETTLED = Mark("o", 3.8, False, "measured, did not settle")
OUT_OF_MEMORY = Mark("x", 4.2, True, "out of memory")


def find_mark(point: Point) -> Mark:
    """The mark of a point: that of its kind, hollow where its samples did not settle."""
    return MARKS[point.kind] if point.is_settled else UNSETTLED


def draw_points(axes: Axes, points: Iterable[Point], color: str, theme: Theme) -> None:
    """Every point once, with the bar of its interval where it has one."""
    groups: dict[Mark, list[Point]] = {}
    for point in points:
        groups.setdefault(find_mark(point), []).append(point)
        if point.low is not None and point.high is not None:
            axes.plot([point.x, point.x], [point.low, point.high], color=color, linewidth=0.9, zorder=2.5)
    for mark, group in groups.items():
        draw_mark(axes, [point.x for point in group], [point.y for point in group], mark, color, theme)


def draw_mark(axes: Axes, x: list[float], y: list[float], mark: Mark, color: str, theme: Theme) -> Line2D:
    """Marks without a line."""
    (line,) = axes.plot(
        x,
        y,
        linestyle="none",
        marker=mark.marker,
        markersize=mark.size_pt,
        markeredgewidth=0.8,
        markeredgecolor=color,
        markerfacecolor=color if mark.is_filled else theme.background,
        zorder=3,
    )
    return line


def key_entries(marks: Iterable[Mark], theme: Theme) -> list[Line2D]:
    """What the key shows: each of these marks once, in their usual order."""
    present = set(marks)
    return [
        Line2D(
            [],
            [],
            linestyle="none",
            marker=mark.marker,
            markersize=mark.size_pt,
            markeredgewidth=0.8,
            markeredgecolor=theme.text,
            markerfacecolor=theme.text if mark.is_filled else theme.background,
            label=mark.words,
        )
        for mark in (*MARKS.values(), UNSETTLED, OUT_OF_MEMORY)
        if mark in present
    ]
