"""Accuracy against what it costs: published or given accuracy joined to counted or measured records."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from atlasbench.analysis.accuracy import AccuracyPoint
from atlasbench.analysis.pareto import pareto_front
from atlasbench.analysis.points import Curve, Point, Reader, image_side
from atlasbench.core.record import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class AccuracyTable:
    """Accuracies that may be compared: one data set, one way of training.

    Attributes:
        name: Tells it from the others, e.g. `Table 1`.
        title: Where they are from.
        points: One for each model and size.
    """

    name: str
    title: str
    points: tuple[AccuracyPoint, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trade:
    """Accuracy against one cost.

    Attributes:
        curves: x the cost, y top-1 in percent; one for each model, smallest image first.
        front: The points that no other beats, cheapest first.
    """

    curves: tuple[Curve, ...]
    front: tuple[Point, ...]


def split_tables(points: Iterable[AccuracyPoint]) -> list[AccuracyTable]:
    """Points by table, or by source where there is none: what was trained differently is never compared."""
    tables: dict[str, list[AccuracyPoint]] = {}
    for point in points:
        tables.setdefault(point.table or point.source, []).append(point)
    return [AccuracyTable(name=name, title=group[0].source, points=tuple(group)) for name, group in tables.items()]


def is_known(table: AccuracyTable, models: Iterable[str]) -> bool:
    """Whether a table has one of these models."""
    return not {point.model for point in table.points}.isdisjoint(models)


def accuracy_curves(table: AccuracyTable) -> list[Curve]:
    """Top-1 in percent against the side of the image, of every model that has it at two sizes or more."""
    sides = [image_side(point.resolution) for point in table.points]
    curves = _group(table.points, sides, [False] * len(sides))
    return [curve for curve in curves if len(curve.points) > 1]


def find_trade(table: AccuracyTable, records: Sequence[Record], cost: Reader) -> Trade | None:
    """Every accuracy whose workload is among the records, against its cost; None below two of them.

    Args:
        table: The accuracies.
        records: Of several that an accuracy matches the last counts, so the newest has to come last.
        cost: Reads it.
    """
    points, costs = [], []  # of each accuracy, and the number that it costs
    for point in table.points:
        found = [read for record in records if point.matches(record.workload) and (read := cost(record)) is not None]
        if found:
            points.append(point)
            costs.append(found[-1])
    if len(points) < 2:
        return None
    curves = tuple(_group(points, [cost.y for cost in costs], [cost.is_fallback for cost in costs]))
    placed = [point for curve in curves for point in curve.points]
    front = pareto_front([point.x for point in placed], [point.y for point in placed])
    return Trade(curves=curves, front=tuple(placed[index] for index in front))


def _group(points: Sequence[AccuracyPoint], places: Sequence[float], fallbacks: Sequence[bool]) -> list[Curve]:
    """A curve for each model, or for each row of a table that has several configurations of a model."""
    groups: dict[tuple[str, str], list[Point]] = {}
    for point, place, is_fallback in zip(points, places, fallbacks, strict=True):
        groups.setdefault((point.model, point.label), []).append(
            Point(
                x=place,
                y=point.top1_percent,
                kind=point.kind,
                is_fallback=is_fallback,
                resolution=point.resolution,
            )
        )
    models = [model for model, _ in groups]
    return [
        Curve(
            model=model,
            label=model if models.count(model) == 1 else label,
            points=tuple(sorted(group, key=_pixels)),
        )
        for (model, label), group in groups.items()
    ]


def _pixels(point: Point) -> int:
    return 0 if point.resolution is None else point.resolution.pixels
