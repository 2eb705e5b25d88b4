"""What stands below a table: how each number was found, and what a reader must know about single rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from atlasbench.core.record import Environment, Measurement, Record, Status
from atlasbench.core.workload import Mode, Workload
from atlasbench.report.identity import label_rows

_FLAG_WORDS = {
    "warmup_capped": "warm-up ended at its limit, not seen to settle",
    "not_converged": "interval wider than asked for",
    "few_samples": "few samples, the interval is their range",
    "drifting": "drifting while measured",
    "throttled": "clocks held down while measured",
    "contended": "other programs or the host took part of the cores",
}
_MEMORY_WORDS = {
    "predicted": "predicted from shapes",
    "resident_growth": "measured, parameters and growth of the resident set",
    "allocated": "measured, peak of the CUDA allocator",
}


def explain_numbers(records: Sequence[Record]) -> str:
    """How the numbers of a table were found."""
    counts = "Params, MACs and FLOPs (2 per MAC): counted, per image"
    if any(record.workload.mode is Mode.TRAIN for record in records):
        counts += ", in mode train forward and backward"
    sentences = [counts]
    methods = {record.measurement.memory.method for record in records if record.measurement.memory}
    if methods:
        words = " or ".join(_MEMORY_WORDS.get(method, method) for method in sorted(methods))
        sentences.append(f"Memory: peak, whole batch, {words}")
    if any(record.measurement.timing for record in records):
        sentences.append("Images/s: measured, batch / median, with an interval of at least 95 %")
    baselines = dict.fromkeys(name for record in records if (name := _name_baseline(record)))
    if baselines:
        sentences.append(
            f"Relative time: per image, over that of {' or '.join(baselines)}, measured in turns, by the median pair, "
            "with an exact interval of at least 95 %"
        )
    return ". ".join(sentences) + "."


def _name_baseline(record: Record) -> str:
    """The baseline's model, with its settings where it is the record's own; empty where there is no ratio."""
    if record.measurement.ratio is None:
        return ""
    baseline = record.measurement.ratio.baseline
    if baseline.model != record.workload.model:
        return baseline.model
    drop = f"D {baseline.scale_drop}" if baseline.scale_drop else ""
    return ", ".join(filter(None, (baseline.model, drop, *baseline.settings)))


def remark_rows(workloads: Sequence[Workload], measurements: Sequence[Measurement]) -> list[str]:
    """What must be known about rows, those with the same remark together."""
    rows_by_remark: dict[str, list[int]] = {}
    for index, measurement in enumerate(measurements):
        for remark in _remarks(measurement):
            rows_by_remark.setdefault(remark, []).append(index)
    return [_say_whose(remark, workloads, rows) for remark, rows in rows_by_remark.items()]


def _say_whose(remark: str, workloads: Sequence[Workload], rows: Sequence[int]) -> str:
    if len(workloads) == 1:
        return remark[:1].upper() + remark[1:]
    who = "all rows" if len(rows) == len(workloads) else label_rows(workloads, rows)
    return f"{who}: {remark}"


def _remarks(measurement: Measurement) -> Iterator[str]:
    timing, memory = measurement.timing, measurement.memory
    if measurement.status is not Status.OK:
        yield f"{measurement.status.value}: {measurement.message}"
    if timing is not None and timing.flags:
        words = ", ".join(_FLAG_WORDS.get(flag, flag) for flag in timing.flags)
        yield f"{'' if timing.converged else 'marked *, '}{words} ({timing.count} samples)"
    if memory is not None and memory.peak_bytes is None and not any(memory.note in note for note in measurement.notes):
        yield f"peak memory: {memory.note}"
    yield from measurement.notes


def describe_environment(environment: Environment) -> str:
    """One line: the machine, the device, its driver or the threads, and the versions that decide most."""
    where = f"{environment.device}, driver {environment.driver}" if environment.driver else environment.device
    threads = f"{environment.threads} thread{'' if environment.threads == 1 else 's'}"
    versions = ", ".join(
        f"{name} {environment.versions[name]}"
        for name in ("torch", "timm", "atlasbench")
        if name in environment.versions
    )
    return f"Environment: {where}, {threads}, {versions}."
