"""One row of a table of the Atlas paper beside the record that ran it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from atlasbench.analysis.paper_tables import PaperRow, PaperTable
from atlasbench.core.record import PairedRatio, Record, Status, Timing
from atlasbench.core.resolution import Resolution

_WIDENED = 0.1  # of our interval: launches and machines differ by more than it covers


@dataclass(frozen=True, slots=True, kw_only=True)
class ReproducedRow:
    """One row of a table of the paper, beside ours; every number is relative to the baseline at the same size.

    Attributes:
        label: The paper's name for it.
        model: Ours.
        resolution: Of the input.
        paper: Training time, from the paper.
        ours: Time per image, measured; None where it was not.
        low: Lower end of its interval: exact where turns were taken, from the intervals of both medians elsewhere.
        high: Upper end.
        flops_ratio: FLOPs per image, counted; None where they were not.
        remark: Why there is no number, or what to know about it; empty for nothing.
        is_paired: Whether ours was measured in turns with the baseline, and is not a quotient of two times.
    """

    label: str
    model: str
    resolution: Resolution
    paper: float
    ours: float | None
    low: float | None
    high: float | None
    flops_ratio: float | None
    remark: str
    is_paired: bool = False

    @property
    def agrees(self) -> bool | None:
        """Whether the paper's number lies in our interval, widened by a tenth; None where there is none."""
        if self.low is None or self.high is None:
            return None
        return self.low * (1 - _WIDENED) <= self.paper <= self.high * (1 + _WIDENED)


def compare_row(table: PaperTable, row: PaperRow, records: Sequence[Record]) -> ReproducedRow:
    """A row beside the newest of the records that ran it.

    Args:
        table: With times.
        row: Of the table.
        records: Of one machine and one setting, oldest first.
    """
    baseline = table.baseline_of(row)
    record, other = _find(row, records), _find(baseline, records)
    ratio = _paired_ratio(record, baseline)
    ours, low, high = (ratio.ratio, ratio.low, ratio.high) if ratio else _compare_times(record, other)
    paper = table.relative_time(row)
    assert paper is not None, "only tables with times are compared"
    return ReproducedRow(
        label=row.label,
        model=row.configuration.model,
        resolution=row.configuration.resolution,
        paper=paper,
        ours=ours,
        low=low,
        high=high,
        flops_ratio=_compare_flops(record, other),
        remark="; ".join(_remark(row, record, other, baseline.label, is_paired=ratio is not None)),
        is_paired=ratio is not None,
    )


def _find(row: PaperRow, records: Sequence[Record]) -> Record | None:
    """The newest record of a row."""
    return next((record for record in reversed(records) if row.configuration.matches(record.workload)), None)


def _paired_ratio(record: Record | None, baseline: PaperRow) -> PairedRatio | None:
    """What was measured in turns with the baseline of the table, if that was."""
    if record is None or record.measurement.status is not Status.OK:
        return None
    ratio = record.measurement.ratio
    return ratio if ratio is not None and baseline.configuration.matches(ratio.baseline) else None


def _compare_times(record: Record | None, other: Record | None) -> tuple[float, float, float] | tuple[None, None, None]:
    """Ratio of the medians, and its lowest and highest by the ends of both intervals."""
    ours, base = _timing(record), _timing(other)
    if ours is None or base is None:
        return None, None, None
    if record is other:
        return 1.0, 1.0, 1.0
    return (
        ours.latency_s / base.latency_s,
        ours.latency_low_s / base.latency_high_s,
        ours.latency_high_s / base.latency_low_s,
    )


def _compare_flops(record: Record | None, other: Record | None) -> float | None:
    flops, base = _flops(record), _flops(other)
    return flops / base if flops and base else None


def _flops(record: Record | None) -> int:
    """FLOPs per image; 0 where they were not counted, or not all of them."""
    counts = None if record is None else record.measurement.counts
    return 0 if counts is None or counts.uncounted else counts.flops


def _timing(record: Record | None) -> Timing | None:
    if record is None or record.measurement.status is not Status.OK:
        return None
    timing = record.measurement.timing
    if timing is None or not 0 < timing.latency_low_s <= timing.latency_s <= timing.latency_high_s < math.inf:
        return None
    return timing


def _remark(
    row: PaperRow, record: Record | None, other: Record | None, baseline: str, *, is_paired: bool
) -> Iterator[str]:
    if record is None:
        yield "not measured"
    elif record.measurement.status is not Status.OK:
        yield record.measurement.status.value
    elif (timing := _timing(record)) is None:
        yield "not timed"
    else:
        if row.is_baseline:
            yield "baseline"
        elif is_paired:
            yield "in turns"
        elif _timing(other) is None:
            yield f"{baseline} was not timed at this size"
        elif other is not None and other.run_id != record.run_id:
            yield f"another run than {baseline}"
        if not timing.converged and not is_paired:
            yield "did not settle"
        if record.measurement.kernels.get("scan") == "pytorch":
            yield "scan in plain PyTorch"
    if row.top1_percent is None:
        yield "not finished in the paper"
