"""The tables that `profile` shows: counted, predicted and measured numbers of each workload."""

from __future__ import annotations

from collections.abc import Sequence

from atlasbench.core.plan import Plan
from atlasbench.core.record import Environment, Measurement, Record, Status
from atlasbench.core.units import format_bytes, format_quantity, three_digits
from atlasbench.core.workload import Workload
from atlasbench.report.identity import describe_shared, identity_columns
from atlasbench.report.layout import Column, TextTable
from atlasbench.report.remarks import describe_environment, explain_numbers, remark_rows


def build_profile_table(records: Sequence[Record]) -> TextTable:
    """Every record a row, in order; what all rows share stands in the title."""
    workloads = [record.workload for record in records]
    measurements = [record.measurement for record in records]
    columns = identity_columns(workloads)
    if any(record.launch > 1 for record in records):
        columns.append(Column(title="Launch", cells=[str(record.launch) for record in records], is_identity=True))
    columns += [*_count_columns(measurements), _memory_column(measurements)]
    if any(item.timing is not None for item in measurements):
        columns += _speed_columns(records)
    if any(item.ratio is not None for item in measurements):
        columns.append(_ratio_column(measurements))
    if any(item.status is not Status.OK for item in measurements):
        cells = [item.status.value for item in measurements]
        columns.append(Column(title="Status", cells=cells))
    return TextTable(
        title=describe_shared(workloads),
        columns=columns,
        footnotes=[
            explain_numbers(records),
            *remark_rows(workloads, measurements),
            describe_environment(records[0].environment),
        ],
    )


def build_plan_table(
    workloads: Sequence[Workload],
    plans: Sequence[Plan | Measurement],
    seconds: Sequence[float],
    environment: Environment,
) -> TextTable:
    """What `--dry-run` shows: every workload with its counts, predicted memory and about how long it takes."""
    measurements = [plan if isinstance(plan, Measurement) else _planned(plan, environment) for plan in plans]
    memory = [format_bytes(item.counts.predicted_peak_bytes) if item.counts else "-" for item in measurements]
    columns = [*identity_columns(workloads), *_count_columns(measurements), Column(title="Memory", cells=memory)]
    if any(seconds):
        columns.append(Column(title="About s", cells=[f"{max(value, 1):.0f}" if value else "-" for value in seconds]))
    return TextTable(
        title=describe_shared(workloads),
        columns=columns,
        footnotes=[
            "Params, MACs and FLOPs (2 per MAC): counted, per image. Memory: peak, whole batch, predicted from shapes. "
            "Nothing was measured.",
            *remark_rows(workloads, measurements),
        ],
    )


def _planned(plan: Plan, environment: Environment) -> Measurement:
    total = environment.memory_bytes if plan.workload.device_type == "cpu" else environment.device_memory_bytes
    notes = plan.notes
    if plan.counts and 0 < total < plan.counts.predicted_peak_bytes:
        notes = (*notes, f"does not fit the {format_bytes(total)} of this device: oom, unless --force tries it")
    return Measurement(status=Status.OK, notes=notes, counts=plan.counts)


def _count_columns(measurements: Sequence[Measurement]) -> list[Column]:
    counts = [item.counts for item in measurements]
    return [
        Column(title="Params", cells=[format_quantity(item.params) if item else "-" for item in counts]),
        Column(title="GMACs", cells=[three_digits(item.macs / 1e9) if item else "-" for item in counts]),
        Column(title="GFLOPs", cells=[three_digits(item.flops / 1e9) if item else "-" for item in counts]),
    ]


def _memory_column(measurements: Sequence[Measurement]) -> Column:
    cells = [
        format_bytes(item.memory.peak_bytes) if item.memory and item.memory.peak_bytes is not None else "-"
        for item in measurements
    ]
    return Column(title="Memory", cells=cells)


def _speed_columns(records: Sequence[Record]) -> list[Column]:
    speed, interval = [], []
    for record in records:
        timing, batch_size = record.measurement.timing, record.workload.batch_size
        if timing is None:
            speed.append("-")
            interval.append("-")
            continue
        low, high = batch_size / timing.latency_high_s, batch_size / timing.latency_low_s
        speed.append(three_digits(batch_size / timing.latency_s))
        interval.append(f"{three_digits(low)} to {three_digits(high)}{'' if timing.converged else ' *'}")
    return [Column(title="Images/s", cells=speed), Column(title="95 % interval", cells=_align_marks(interval))]


def _ratio_column(measurements: Sequence[Measurement]) -> Column:
    ratios = [item.ratio for item in measurements]
    cells = [
        f"{three_digits(item.ratio)} ({three_digits(item.low)} to {three_digits(item.high)})" if item else "-"
        for item in ratios
    ]
    return Column(title="Relative time", cells=cells)


def _align_marks(cells: Sequence[str]) -> list[str]:
    """Room for the mark in every cell, so that numbers stay below each other."""
    if not any(cell.endswith("*") for cell in cells):
        return list(cells)
    return [cell if cell.endswith("*") else f"{cell}  " for cell in cells]
