"""What a few records teach, in one sentence, and what to look at next."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from atlasbench.core.record import Counts, Record, Status, Timing, cell_key, setting_key
from atlasbench.core.units import three_digits
from atlasbench.core.workload import Workload

_PART_WORDS = {
    "stem": "the stem is",
    "projections": "projections are",
    "attention": "attention is",
    "mlp": "MLPs are",
    "head": "the head is",
    "other": "the layers outside stem, attention, MLPs and head are",
}


def summarize_records(records: Sequence[Record]) -> str:
    """One sentence: models against each other, growth with the size, or the largest part; empty for nothing counted.

    Only records that differ in nothing else are compared: the most models that share a size, or else one model from
    its smallest to its largest size.
    """
    counted = [record for record in records if record.measurement.counts is not None]
    if not counted:
        return ""
    rivals = max(_rivals(counted), key=lambda group: (len(group), _pixels(group[0])), default=None)
    if rivals is not None:
        return _compare_models(rivals, counted)
    sizes = max(_sizes(counted), key=lambda group: _pixels(group[-1]) / _pixels(group[0]), default=None)
    if sizes is not None:
        return _describe_growth(sizes[0], sizes[-1], counted)
    largest = max(counted, key=_pixels)
    return f"{_model(largest, counted)} at {_where(largest, counted)}: {_largest_part(largest)}."


def suggest_command(records: Sequence[Record]) -> str:
    """The next command to type."""
    counted = [record for record in records if record.measurement.counts is not None]
    if not counted:
        return "atlasbench models"
    largest = max(counted, key=_pixels).workload
    models = list(dict.fromkeys(record.workload.model for record in counted))
    size = f"--res {largest.resolution}"
    if len(models) > 1:
        return _profile(models, f"{size}{_shared([record.workload for record in counted])} --batch 1 8 --dry-run")
    if largest.device_type == "meta":
        return _profile(models, f"{size}{_settings(largest)} --device meta --by-module")
    other = "atlas_s" if models == ["vit_b"] else "vit_b"
    shared = "" if largest.settings else _shared([record.workload for record in counted])
    return _profile([*models, other], f"{size}{shared} --device meta")


def _rivals(records: Sequence[Record]) -> Iterator[list[Record]]:
    """Records of different models that share everything but what is a model's own; of each model, the first."""
    for group in _groups(records, cell_key):
        firsts = {record.workload.model: record for record in reversed(group)}
        if len(firsts) > 1:
            yield list(firsts.values())


def _sizes(records: Sequence[Record]) -> Iterator[list[Record]]:
    """Records of one model at several sizes, smallest first, that share all but the entries of the scale drop."""
    for group in _groups(
        records,
        lambda workload: (workload.model, workload.settings, _drops(workload), *setting_key(workload)),
    ):
        group.sort(key=_pixels)
        if _pixels(group[0]) < _pixels(group[-1]):
            yield group


def _groups(records: Sequence[Record], key: Callable[[Workload], tuple[Any, ...]]) -> Iterator[list[Record]]:
    groups: dict[tuple[Any, ...], list[Record]] = {}
    for record in records:
        groups.setdefault(key(record.workload), []).append(record)
    yield from groups.values()


def _drops(workload: Workload) -> bool:
    return workload.scale_drop not in ("", "none")


def _compare_models(rivals: Sequence[Record], records: Sequence[Record]) -> str:
    least, most = min(rivals, key=_flops), max(rivals, key=_flops)
    ratio = three_digits(_flops(most) / max(_flops(least), 1))
    where = _where(rivals[0], records, without_drop=True)
    sentence = f"At {where}, {_name(most, records)} needs {ratio}x the FLOPs of {_name(least, records)}"
    timed = [(record, timing) for record in rivals if (timing := _timing(record)) is not None]
    if len(timed) > 1 and len({record.run_id for record, _ in timed}) == 1:
        fastest, fast = min(timed, key=lambda pair: pair[1].latency_s)
        slowest, slow = max(timed, key=lambda pair: pair[1].latency_s)
        if slow.latency_low_s > fast.latency_high_s:
            speed = three_digits(slow.latency_s / fast.latency_s)
            sentence += f"; {_name(fastest, records)} ran about {speed}x as fast as {_name(slowest, records)}"
        else:
            sentence += f"; their speeds cannot be told apart{' from each other' if len(timed) > 2 else ''}"
    return f"{sentence}."


def _describe_growth(smallest: Record, largest: Record, records: Sequence[Record]) -> str:
    small, large = smallest.workload, largest.workload
    pixels = three_digits(_pixels(largest) / _pixels(smallest))
    flops = three_digits(_flops(largest) / max(_flops(smallest), 1))
    drops = f", D {small.scale_drop} to {large.scale_drop}" if small.scale_drop != large.scale_drop else ""
    where = _where(largest, records, without_drop=bool(drops))
    grown = f"From {small.resolution} to {where} ({pixels}x the pixels{drops})"
    sentence = f"{grown}, {_model(largest, records)} needs {flops}x the FLOPs"
    before, after = _timing(smallest), _timing(largest)
    if before is not None and after is not None and smallest.run_id == largest.run_id:
        sentence += f" and took about {three_digits(after.latency_s / before.latency_s)}x the time"
    return f"{sentence}; {_largest_part(largest)} at the end."


def _where(record: Record, records: Sequence[Record], *, without_drop: bool = False) -> str:
    """Size of a record, and what else tells it from other records."""
    workload, others = record.workload, [other.workload for other in records]
    parts = [f"{workload.resolution} px"]
    if not without_drop and len({other.scale_drop for other in others}) > 1 and workload.scale_drop:
        parts.append(f"D {workload.scale_drop}")
    if len({other.batch_size for other in others}) > 1:
        parts.append(f"batch {workload.batch_size}")
    if len({other.mode for other in others}) > 1:
        parts.append(workload.mode.value)
    if len({other.dtype for other in others}) > 1:
        parts.append(workload.dtype.value)
    return ", ".join(parts)


def _name(record: Record, records: Sequence[Record]) -> str:
    """Model, with its scale drop where it has scales."""
    model, drop = _model(record, records), record.workload.scale_drop
    return f"{model} (D {drop})" if drop else model


def _model(record: Record, records: Sequence[Record]) -> str:
    """Model, with its options where the same model is there with others."""
    workload = record.workload
    options = {other.workload.settings for other in records if other.workload.model == workload.model}
    return " ".join((workload.model, *(workload.settings if len(options) > 1 else ())))


def _largest_part(record: Record) -> str:
    parts = _counts(record).flops_by_part
    part = max(parts, key=lambda name: parts[name], default="other")  # none in a record made elsewhere
    share = parts.get(part, 0) / max(_flops(record), 1)
    return f"{_PART_WORDS.get(part, part)} {share:.0%} of the FLOPs"


def _profile(models: Sequence[str], tail: str) -> str:
    return f"atlasbench profile {' '.join(map(shlex.quote, models))} {tail}"


def _shared(workloads: Sequence[Workload]) -> str:
    """Modes and dtypes beside the defaults, as flags, and the options where all workloads have the same."""
    settings = {_settings(workload) for workload in workloads}
    modes = list(dict.fromkeys(workload.mode.value for workload in workloads))
    dtypes = list(dict.fromkeys(workload.dtype.value for workload in workloads))
    return "".join(
        (
            *(settings if len(settings) == 1 else ()),
            f" --mode {' '.join(modes)}" if modes != ["infer"] else "",
            f" --dtype {' '.join(dtypes)}" if dtypes != ["float32"] else "",
        )
    )


def _settings(workload: Workload) -> str:
    return f" --set {' '.join(map(shlex.quote, workload.settings))}" if workload.settings else ""


def _timing(record: Record) -> Timing | None:
    """The times of a record, unless they moved while they were taken."""
    timing = record.measurement.timing
    if (
        record.measurement.status is not Status.OK
        or timing is None
        or {"drifting", "not_converged"} & set(timing.flags)
    ):
        return None
    return timing


def _pixels(record: Record) -> int:
    return record.workload.resolution.pixels


def _flops(record: Record) -> int:
    return _counts(record).flops


def _counts(record: Record) -> Counts:
    counts = record.measurement.counts
    assert counts is not None, "records without counts were left out"
    return counts
