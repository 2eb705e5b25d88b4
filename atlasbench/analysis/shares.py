"""Where the FLOPs of models go, at one size that they share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from atlasbench.analysis.series import Series
from atlasbench.core.record import PARTS, Counts
from atlasbench.core.resolution import Resolution


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """The FLOPs of one model, split.

    Attributes:
        label: Tells it from the other models.
        flops: Of one image.
        by_part: Share of every part, from 0 to 1; together 1.
    """

    label: str
    flops: int
    by_part: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedSize:
    """Models at one size.

    Attributes:
        resolution: The largest that the most models have.
        rows: One for each model.
        left_out: Labels of the models that were not counted there.
    """

    resolution: Resolution
    rows: tuple[Shares, ...]
    left_out: tuple[str, ...]


def split_by_part(series: Sequence[Series]) -> SharedSize | None:
    """Shares of every series that was counted at the size that the most series have; None if there are no FLOPs."""
    counted = {item.label: _counts_by_size(item) for item in series}
    sizes = [size for by_size in counted.values() for size in by_size]
    if not sizes:
        return None
    size = max(sizes, key=lambda size: (sizes.count(size), size.pixels))
    rows = tuple(
        Shares(
            label=label,
            flops=by_size[size].flops,
            by_part={part: by_size[size].flops_by_part.get(part, 0) / by_size[size].flops for part in PARTS},
        )
        for label, by_size in counted.items()
        if size in by_size
    )
    left_out = tuple(label for label, by_size in counted.items() if size not in by_size)
    return SharedSize(resolution=size, rows=rows, left_out=left_out)


def _counts_by_size(series: Series) -> dict[Resolution, Counts]:
    return {
        record.workload.resolution: record.measurement.counts
        for record in series.records
        if record.measurement.counts is not None and record.measurement.counts.flops > 0
    }
