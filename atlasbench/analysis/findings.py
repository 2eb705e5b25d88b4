"""What a few records teach, in one sentence, and what to look at next."""

from __future__ import annotations

from collections.abc import Sequence

from atlasbench.core.record import Counts, Record, Status
from atlasbench.core.units import three_digits


def summarize_records(records: Sequence[Record]) -> str:
    """One sentence: growth from the smallest to the largest size, or models against each other; empty for none."""
    counted = [record for record in records if record.measurement.counts is not None]
    if not counted:
        return ""
    models = list(dict.fromkeys(record.workload.model for record in counted))
    largest = max(counted, key=lambda record: record.workload.resolution.pixels)
    if len(models) > 1:
        return _compare_models(counted, largest)
    smallest = min(counted, key=lambda record: record.workload.resolution.pixels)
    if smallest.workload.resolution != largest.workload.resolution:
        return _describe_growth(smallest, largest)
    return f"{_name(largest)}: {_largest_part(_counts(largest))}."


def suggest_command(records: Sequence[Record]) -> str:
    """The next command to type."""
    ok = [record for record in records if record.measurement.counts is not None]
    if not ok:
        return "atlasbench models"
    largest = max(ok, key=lambda record: record.workload.resolution.pixels).workload
    models = list(dict.fromkeys(record.workload.model for record in ok))
    if len(models) == 1 and largest.device_type == "meta":
        return f"atlasbench profile {models[0]} --res {largest.resolution} --device meta --by-module"
    if len(models) == 1:
        return f"atlasbench profile {models[0]} vit_b --res {largest.resolution} --device meta"
    return f"atlasbench profile {' '.join(models)} --res {largest.resolution} --batch 1 8 --dry-run"


def _describe_growth(smallest: Record, largest: Record) -> str:
    pixels = largest.workload.resolution.pixels / smallest.workload.resolution.pixels
    flops = _counts(largest).flops / _counts(smallest).flops
    sentence = (
        f"From {smallest.workload.resolution} to {largest.workload.resolution} px ({three_digits(pixels)}x the pixels) "
        f"{largest.workload.model} needs {three_digits(flops)}x the FLOPs"
    )
    before, after = smallest.measurement.timing, largest.measurement.timing
    if before is not None and after is not None:
        per_image = smallest.workload.batch_size / largest.workload.batch_size
        sentence += f" and takes {three_digits(after.latency_s / before.latency_s * per_image)}x the time"
    return f"{sentence}; {_largest_part(_counts(largest))}."


def _compare_models(records: Sequence[Record], largest: Record) -> str:
    same_size = [r for r in records if r.workload.resolution == largest.workload.resolution]
    flops = {r.workload.model: _counts(r).flops for r in same_size}
    if len(flops) < 2:
        return f"{_name(largest)}: {_largest_part(_counts(largest))}."
    least, most = min(flops, key=lambda name: flops[name]), max(flops, key=lambda name: flops[name])
    sentence = (
        f"At {largest.workload.resolution} px {most} needs {three_digits(flops[most] / max(flops[least], 1))}x "
        f"the FLOPs of {least}"
    )
    speeds = {
        r.workload.model: r.workload.batch_size / r.measurement.timing.latency_s
        for r in same_size
        if r.measurement.timing is not None and r.measurement.status is Status.OK
    }
    if len(speeds) > 1:
        fastest = max(speeds, key=lambda name: speeds[name])
        slowest = min(speeds, key=lambda name: speeds[name])
        sentence += f"; {fastest} runs {three_digits(speeds[fastest] / speeds[slowest])}x as fast as {slowest}"
    return f"{sentence}."


def _largest_part(counts: Counts) -> str:
    part = max(counts.flops_by_part, key=lambda name: counts.flops_by_part[name])
    share = counts.flops_by_part[part] / max(counts.flops, 1)
    words = {"mlp": "MLPs are", "projections": "projections are", "other": "the rest of the blocks is"}
    return f"{words.get(part, f'the {part} is')} {share:.0%} of them"


def _name(record: Record) -> str:
    return f"{record.workload.model} at {record.workload.resolution} px"


def _counts(record: Record) -> Counts:
    counts = record.measurement.counts
    assert counts is not None, "records without counts were left out"
    return counts
