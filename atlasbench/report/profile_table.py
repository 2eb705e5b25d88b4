"""The table that `profile` shows: counted, predicted and measured numbers of each workload."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from atlasbench.core.plan import ModuleCount, Plan
from atlasbench.core.record import Environment, Measurement, Record, Status
from atlasbench.core.units import format_bytes, format_quantity, three_digits
from atlasbench.core.workload import Workload
from atlasbench.report.layout import Column, TextTable

_FLAG_WORDS = {
    "warmup_capped": "still speeding up when warm-up ended",
    "not_converged": "interval wider than asked for",
    "few_samples": "few samples: the interval is their range",
    "drifting": "drifting while measured",
    "throttled": "clocks held down while measured",
}
_MEMORY_WORDS = {
    "predicted": "predicted from shapes",
    "resident_growth": "measured: parameters and growth of the resident set",
    "allocated": "measured: peak of the CUDA allocator",
}


def build_profile_table(records: Sequence[Record]) -> TextTable:
    """Every record a row, in order; what all rows share stands in the title."""
    workloads = [record.workload for record in records]
    measurements = [record.measurement for record in records]
    identity, shared = _identity_columns(workloads)
    measured = any(item.timing is not None for item in measurements)
    columns = [*identity, *_count_columns(measurements), _memory_column(measurements)]
    if measured:
        columns += _speed_columns(records)
    if any(item.status is not Status.OK for item in measurements):
        columns.append(Column(title="Status", cells=[item.status.value for item in measurements], is_text=True))
    return TextTable(title=shared, columns=columns, footnotes=_footnotes(records))


def build_plan_table(
    workloads: Sequence[Workload], plans: Sequence[Plan | Measurement], seconds: Sequence[float]
) -> TextTable:
    """What `--dry-run` shows: every workload with its counts, predicted memory and about how long it takes."""
    identity, shared = _identity_columns(workloads)
    measurements = [
        plan if isinstance(plan, Measurement) else Measurement(status=Status.OK, counts=plan.counts) for plan in plans
    ]
    memory = [format_bytes(item.counts.predicted_peak_bytes) if item.counts else "-" for item in measurements]
    columns = [*identity, *_count_columns(measurements), Column(title="Memory", cells=memory)]
    if any(seconds):
        columns.append(Column(title="About s", cells=[f"{value:.0f}" if value else "-" for value in seconds]))
    problems = [
        f"{workload.label}: {item.status.value}: {item.message}"
        for workload, item in zip(workloads, measurements, strict=True)
        if item.status is not Status.OK
    ]
    return TextTable(
        title=shared,
        columns=columns,
        footnotes=["Counted; memory predicted from shapes. Nothing measured.", *problems],
    )


def build_module_table(plan: Plan, depth: int) -> TextTable:
    """Where the parameters and FLOPs of one model are, by module down to a depth.

    Args:
        plan: With its counts by module.
        depth: Levels of names to show; what lies deeper is added to its ancestor.
    """
    rows: dict[str, list[int]] = {}
    for module in plan.modules:
        names = module.path.split(".") if module.path else []
        for level in range(min(len(names), depth) + 1):
            row = rows.setdefault(".".join(names[:level]), [0, 0])
            row[0] += module.params
            row[1] += module.macs
    total = max(plan.counts.macs, 1)
    paths = _in_model_order(rows, plan.modules)
    return TextTable(
        title=f"{plan.workload.label}: parameters, MACs and FLOPs by module, per image, counted",
        columns=[
            Column(
                title="Module",
                cells=["  " * (path.count(".") + 1) + path if path else "(model)" for path in paths],
                is_identity=True,
                is_text=True,
            ),
            Column(title="Params", cells=[format_quantity(rows[path][0]) for path in paths]),
            Column(title="GMACs", cells=[three_digits(rows[path][1] / 1e9) for path in paths]),
            Column(title="GFLOPs", cells=[three_digits(2 * rows[path][1] / 1e9) for path in paths]),
            Column(title="Share", cells=[f"{rows[path][1] / total:.1%}" for path in paths]),
        ],
    )


def _in_model_order(rows: dict[str, list[int]], modules: Sequence[ModuleCount]) -> list[str]:
    def natural(path: str) -> list[tuple[int, str]]:
        return [(int(name), "") if name.isdigit() else (0, name) for name in path.split(".")] if path else []

    order: dict[str, int] = {}
    for index, module in enumerate(modules):
        order.setdefault(module.path.split(".")[0], index)
    return sorted(rows, key=lambda path: (order.get(path.split(".")[0], -1) if path else -1, natural(path)))


def describe_environment(environment: Environment) -> str:
    """One line: device, torch, threads."""
    torch_version = environment.versions.get("torch", "?")
    threads = f", {environment.threads} threads" if environment.driver == "" else f", driver {environment.driver}"
    return f"{environment.device}{threads}, torch {torch_version}"


_IDENTITY: tuple[tuple[str, str, Callable[[Workload], str]], ...] = (
    ("Model", "{}", lambda workload: workload.model),
    ("px", "{} px", lambda workload: str(workload.resolution)),
    ("D", "D {}", lambda workload: workload.scale_drop),
    ("Batch", "batch {}", lambda workload: str(workload.batch_size)),
    ("Mode", "{}", lambda workload: workload.mode.value),
    ("Dtype", "{}", lambda workload: workload.dtype.value),
)


def _identity_columns(workloads: Sequence[Workload]) -> tuple[list[Column], str]:
    """Columns for what differs between rows, and one line for what they share."""
    columns, shared = [], []
    for title, pattern, read in _IDENTITY:
        cells = [read(workload) for workload in workloads]
        if len(set(cells)) > 1 or (title == "px" and len(workloads) > 1):
            columns.append(
                Column(
                    title=title,
                    cells=[cell or "-" for cell in cells],
                    is_identity=True,
                    is_text=title == "Model",
                )
            )
        elif cells[0]:
            shared.append(pattern.format(cells[0]))
    if not columns:
        columns.append(Column(title="px", cells=[str(w.resolution) for w in workloads], is_identity=True))
    first = workloads[0]
    shared.append(f"on {first.device}")
    if first.compiled:
        shared.append("compiled")
    if first.memory_format.value != "contiguous":
        shared.append(first.memory_format.value)
    if first.attention_backend.value != "auto":
        shared.append(f"{first.attention_backend.value} attention")
    return columns, ", ".join(shared)


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
        mark = "" if timing.converged else " *"
        speed.append(three_digits(batch_size / timing.latency_s))
        low, high = batch_size / timing.latency_high_s, batch_size / timing.latency_low_s
        interval.append(f"{three_digits(low)} to {three_digits(high)}{mark}")
    return [Column(title="Images/s", cells=speed), Column(title="95 % interval", cells=interval)]


def _footnotes(records: Sequence[Record]) -> list[str]:
    methods = {record.measurement.memory.method for record in records if record.measurement.memory}
    memory = "; ".join(_MEMORY_WORDS.get(method, method) for method in sorted(methods))
    lines = [f"Params, MACs and FLOPs (2 per MAC) counted, per image{f'; memory {memory}' if memory else ''}."]
    for record in records:
        measurement = record.measurement
        remarks = [measurement.message] if measurement.status is not Status.OK else []
        if measurement.timing is not None:
            flags = [_FLAG_WORDS.get(flag, flag) for flag in measurement.timing.flags]
            if not measurement.timing.converged:
                flags.append(f"{measurement.timing.count} samples")
            remarks += [f"* {', '.join(flags)}"] if flags else []
        if measurement.memory is not None and measurement.memory.peak_bytes is None:
            remarks.append(measurement.memory.note)
        remarks += measurement.notes
        if remarks:
            lines.append(f"{_short_label(record.workload)}: {'; '.join(remarks)}")
    return lines


def _short_label(workload: Workload) -> str:
    return f"{workload.model} {workload.resolution} px" + (
        f" batch {workload.batch_size}" if workload.batch_size > 1 else ""
    )
