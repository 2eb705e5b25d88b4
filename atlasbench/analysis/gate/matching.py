"""Which records of two sides belong together, and what keeps others from being compared."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from atlasbench.analysis.gate.counted import read_counted
from atlasbench.analysis.gate.verdicts import NewWorkload
from atlasbench.core.errors import InvalidOptionError, RecordsError
from atlasbench.core.record import ENVIRONMENT_IDENTITY, VERSION_IDENTITY, Record, workload_key
from atlasbench.core.workload import SOURCE_OPTION, AttentionBackend, MemoryFormat, Workload

_MUST_AGREE = (*ENVIRONMENT_IDENTITY, *VERSION_IDENTITY)
_Launches = list[Record]
_Environments = dict[tuple[str, ...], _Launches]  # by what must agree


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchedRecords:
    """A workload that both sides have in one environment.

    Attributes:
        label: Tells it from the others.
        base: One record for each launch, oldest first.
        current: As `base`.
    """

    label: str
    base: tuple[Record, ...]
    current: tuple[Record, ...]

    @property
    def model(self) -> str:
        """Name of its model."""
        return self.base[-1].workload.model


@dataclass(frozen=True, slots=True, kw_only=True)
class Matching:
    """Two sides, laid beside each other.

    Attributes:
        matched: What both have, in the order of the base.
        only_base: Labels of workloads that the current side lacks.
        only_current: Workloads that the base lacks.
        gaps: Lines about environments that only the base has, where one of them is its newest.
        differences: Lines about models that may only have another name, and about other environments of one side.
    """

    matched: tuple[MatchedRecords, ...]
    only_base: tuple[str, ...] = ()
    only_current: tuple[NewWorkload, ...] = ()
    gaps: tuple[str, ...] = ()
    differences: tuple[str, ...] = ()


def match_records(base: Sequence[Record], current: Sequence[Record], allow_different: Collection[str] = ()) -> Matching:
    """Lay records of equal workloads and environments beside each other.

    Args:
        base: Oldest first; each record of a workload is a launch.
        current: As `base`.
        allow_different: Fields of the environment that need not agree.

    Raises:
        InvalidOptionError: If one of them is no such field.
        RecordsError: If the sides share no workload, or one only in different environments; says which field differs.
    """
    for name in allow_different:
        if name not in _MUST_AGREE:
            raise InvalidOptionError(
                f"--allow-different: {name!r} is no field that must agree. There are: {', '.join(_MUST_AGREE)}."
            )
    ours, theirs = _group(base), _group(current)
    shared = [key for key in ours if key in theirs]
    gone = [ours[key][-1] for key in ours if key not in theirs]
    new = [theirs[key][-1] for key in theirs if key not in ours]
    renamed = _find_renamed(gone, new)
    if not shared:
        raise RecordsError(f"The two sides share no workload: {_why_nothing_shared(gone, new, renamed)}.")
    matched: list[MatchedRecords] = []
    gaps: dict[str, None] = {}
    elsewhere: dict[str, None] = {}
    for key in shared:
        before, now = (_group_by_environment(side[key], allow_different) for side in (ours, theirs))
        if not before.keys() & now.keys():
            raise RecordsError(_refuse(ours[key][-1], theirs[key][-1], allow_different))
        matched += _match_environments(before, now)
        # One that is still in use lacks a counterpart; older ones may be those of a machine or version that is gone.
        newest = next(reversed(before))
        only_base = dict.fromkeys(_list_unmatched(before, now, "base"))
        if newest in now:
            elsewhere |= only_base
        else:
            gaps |= only_base
        elsewhere |= dict.fromkeys(_list_unmatched(now, before, "current side"))
    return Matching(
        matched=tuple(matched),
        only_base=tuple(label_workload(record.workload) for record in gone),
        only_current=tuple(
            NewWorkload(label=label_workload(item.workload), model=item.workload.model, counts=read_counted(item))
            for item in new
        ),
        gaps=tuple(gaps),
        differences=(*renamed, *elsewhere),
    )


def label_workload(workload: Workload) -> str:
    """Everything in which a workload differs from the usual, in words."""
    extras = (
        workload.device if workload.device != "cpu" else "",
        "compiled" if workload.compiled else "",
        workload.memory_format.value if workload.memory_format is not MemoryFormat.CONTIGUOUS else "",
        f"{workload.attention_backend} attention" if workload.attention_backend is not AttentionBackend.AUTO else "",
        " ".join(workload.settings),
    )
    return ", ".join(filter(None, (workload.label, *extras)))


def environment_fields(record: Record) -> Mapping[str, str]:
    """What must agree for two records to be compared, by name; counts are the same on every machine."""
    environment = record.environment
    names = () if record.workload.device_type == "meta" else ENVIRONMENT_IDENTITY
    return {
        **{name: str(getattr(environment, name)) for name in names},
        **{name: environment.versions.get(name, "") for name in VERSION_IDENTITY},
    }


def _group(records: Iterable[Record]) -> dict[Any, _Launches]:
    """Launches by workload; a record that is there twice, in copies of a file, is one launch."""
    groups: dict[Any, _Launches] = {}
    once = {(record.run_id, record.time, record.launch, workload_key(record.workload)): record for record in records}
    for record in once.values():
        groups.setdefault(_identity(record.workload), []).append(record)
    return groups


def _identity(workload: Workload) -> Any:
    """All of a workload but the version of the user's file that it came from: that is what is judged."""
    options = {key: value for key, value in workload.options.items() if key != SOURCE_OPTION}
    return workload_key(replace(workload, options=options))


def _match_environments(base: _Environments, current: _Environments) -> list[MatchedRecords]:
    """The launches of a workload, environment by environment."""
    shared = [key for key in base if key in current]
    label = label_workload(base[shared[0]][-1].workload)
    return [
        MatchedRecords(
            label=label if len(shared) == 1 else f"{label}, {', '.join(filter(None, key))}",
            base=tuple(base[key]),
            current=tuple(current[key]),
        )
        for key in shared
    ]


def _list_unmatched(side: _Environments, other: _Environments, name: str) -> Iterator[str]:
    for key in side:
        if key not in other:
            yield f"environment {', '.join(filter(None, key))}: only in the {name}, not compared"


def _group_by_environment(records: _Launches, allow: Collection[str]) -> _Environments:
    groups: _Environments = {}
    for record in records:
        fields = environment_fields(record)
        groups.setdefault(tuple(fields[name] for name in fields if name not in allow), []).append(record)
    return groups


def _refuse(base: Record, current: Record, allow: Collection[str]) -> str:
    ours, theirs = environment_fields(base), environment_fields(current)
    names = [name for name in ours if ours[name] != theirs[name] and name not in allow]
    differing = ", ".join(f"{name} is {ours[name] or 'none'!r} and {theirs[name] or 'none'!r}" for name in names)
    return (
        f"The environments of the two sides differ: {differing}. Measure both in one environment, or allow it with "
        f"--allow-different {' '.join(names)}."
    )


def _find_renamed(gone: Sequence[Record], new: Sequence[Record]) -> tuple[str, ...]:
    """Models that are gone beside new ones that count the same at the same size."""
    lines = {
        f"renamed? {before.workload.model} is gone, and {after.workload.model} has the same parameters and FLOPs": None
        for before in gone
        for after in new
        if before.workload.model != after.workload.model and _size_and_counts(before) == _size_and_counts(after)
    }
    return tuple(lines)


def _size_and_counts(record: Record) -> Any:
    counts = record.measurement.counts
    if counts is None:
        return id(record)  # equal to no other
    same_model = replace(record.workload, model="any", options={}, scale_drop="")
    return workload_key(same_model), counts.params, counts.flops


def _why_nothing_shared(gone: Sequence[Record], new: Sequence[Record], renamed: Sequence[str]) -> str:
    if renamed:
        return "; ".join(renamed)
    ours, theirs = ({record.workload.device for record in side} for side in (gone, new))
    if not ours & theirs:
        return f"the base ran on {', '.join(sorted(ours))}, the current side on {', '.join(sorted(theirs))}"
    first, second = (label_workload(side[0].workload) if side else "nothing" for side in (gone, new))
    return f"the base begins with {first}, the current side with {second}"
