"""Records as points and curves: what a picture shows, with the kind of every number."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from atlasbench.analysis.series import Series
from atlasbench.core.kinds import Kind
from atlasbench.core.record import Record, Status
from atlasbench.core.resolution import Resolution


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One number of one record.

    Attributes:
        x: Where it stands; the side of the image in pixels, where nothing else is said.
        y: The number, in the unit that its reader names.
        kind: How it came to be.
        low: Lower end of its interval; None where it has none.
        high: Upper end.
        is_settled: Whether enough samples were taken, without drift; true for what is not measured.
        is_fallback: Whether it was measured without the fast kernel that the model is known for.
        resolution: Size of the image.
    """

    x: float
    y: float
    kind: Kind
    low: float | None = None
    high: float | None = None
    is_settled: bool = True
    is_fallback: bool = False
    resolution: Resolution | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """The points of one series, smallest image first; there is at least one.

    Attributes:
        model: Name of the model, which gives the curve its colour.
        label: Tells it from the other curves beside it.
        points: In the order of the sizes.
    """

    model: str
    label: str
    points: tuple[Point, ...]

    @property
    def is_fallback(self) -> bool:
        """Whether a point was measured without the model's fast kernel."""
        return any(point.is_fallback for point in self.points)


Reader = Callable[[Record], Point | None]


def image_side(resolution: Resolution) -> float:
    """Side in pixels of the square image with as many pixels."""
    return math.sqrt(resolution.pixels)


def read_curves(series: Iterable[Series], read: Reader) -> list[Curve]:
    """One curve for each series that has at least one such number."""
    curves = []
    for item in series:
        points = tuple(point for record in item.records if (point := read(record)) is not None)
        if points:
            curves.append(Curve(model=item.workload.model, label=item.label, points=points))
    return curves


def read_flops(record: Record) -> Point | None:
    """FLOPs per image."""
    counts = record.measurement.counts
    return None if counts is None or counts.flops <= 0 else _point(record, counts.flops, Kind.COUNTED)


def read_attention_flops(record: Record) -> Point | None:
    """FLOPs per image of scores and weighted values; None for a model without attention."""
    counts = record.measurement.counts
    flops = 0 if counts is None else counts.flops_by_part.get("attention", 0)
    return None if flops <= 0 else _point(record, flops, Kind.COUNTED)


def read_time_per_image(record: Record) -> Point | None:
    """Seconds per image: the time of a step over its images, with its interval."""
    timing = record.measurement.timing
    if record.measurement.status is not Status.OK or timing is None or not timing.latency_s > 0:
        return None
    batch = record.workload.batch_size
    return _point(
        record,
        timing.latency_s / batch,
        Kind.MEASURED,
        low=timing.latency_low_s / batch,
        high=timing.latency_high_s / batch,
        is_settled=timing.converged,
    )


def read_images_per_s(record: Record) -> Point | None:
    """Images a second, with its interval."""
    time = read_time_per_image(record)
    if time is None:
        return None
    return replace(
        time, y=1 / time.y, low=1 / time.high if time.high else None, high=1 / time.low if time.low else None
    )


def read_measured_peak(record: Record) -> Point | None:
    """Bytes of peak memory of a step, whole batch, as observed on the device."""
    memory = record.measurement.memory
    if record.measurement.status is not Status.OK or memory is None or not memory.peak_bytes:
        return None
    return None if memory.method == "predicted" else _point(record, memory.peak_bytes, Kind.MEASURED)


def read_predicted_peak(record: Record) -> Point | None:
    """Bytes of peak memory of a step, whole batch, as predicted from the shapes."""
    counts = record.measurement.counts
    if counts is None or counts.predicted_peak_bytes <= 0:
        return None
    return _point(record, counts.predicted_peak_bytes, Kind.PREDICTED)


def _point(
    record: Record,
    y: float,
    kind: Kind,
    *,
    low: float | None = None,
    high: float | None = None,
    is_settled: bool = True,
) -> Point:
    resolution = record.workload.resolution
    return Point(
        x=image_side(resolution),
        y=float(y),  # counts may be beyond 64 bits
        kind=kind,
        low=low,
        high=high,
        is_settled=is_settled,
        is_fallback=kind is Kind.MEASURED and record.measurement.kernels.get("scan") == "pytorch",
        resolution=resolution,
    )
