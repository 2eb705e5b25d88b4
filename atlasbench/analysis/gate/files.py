"""Judges two sets of records: counted quantities exactly, times by launches. Weaker than turns, and says so."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from atlasbench.analysis.gate.constants import FILE_LAUNCHES, FILE_TOLERANCE
from atlasbench.analysis.gate.counted import compare_counted, doubt_what_is_lost, newest_counted, read_counted
from atlasbench.analysis.gate.differences import describe_differences
from atlasbench.analysis.gate.launches import compare_launches
from atlasbench.analysis.gate.matching import MatchedRecords, match_records
from atlasbench.analysis.gate.verdicts import CountedChange, GateResult, GateVerdict, WorkloadVerdict
from atlasbench.core.errors import RecordsError
from atlasbench.core.protocol import differing_constants
from atlasbench.core.record import Record, Status

_NONE: Mapping[str, float] = MappingProxyType({})
_WEAKER = (
    "Times of separate runs: whatever changed on the machine between them is part of the change. "
    "`atlasbench gate --against REVISION` takes turns instead and tells much smaller changes."
)


def compare_records(
    base: Sequence[Record],
    current: Sequence[Record],
    *,
    allow_different: Collection[str] = (),
    tolerance: float = FILE_TOLERANCE,
    counted_tolerances: Mapping[str, float] = _NONE,
) -> GateResult:
    """Judge every workload that both sides have, and list the others.

    Args:
        base: Oldest first; each record of a workload in one environment is a launch.
        current: As `base`.
        allow_different: Fields of the environment that need not agree.
        tolerance: Change of the time that still is the same, relative.
        counted_tolerances: Growth of counted quantities that still is the same, where it is not the usual.

    Raises:
        InvalidOptionError: If `allow_different` names no field that must agree.
        RecordsError: If a side is empty, or the sides have no workload or no environment in common.
    """
    for name, side in (("base", base), ("current", current)):
        if not side:
            raise RecordsError(f"There are no records on the {name} side.")
    matching = match_records(base, current, allow_different)
    verdicts = tuple(_judge(match, tolerance, counted_tolerances) for match in matching.matched)
    return GateResult(
        workloads=verdicts,
        only_base=matching.only_base,
        only_current=matching.only_current,
        gaps=matching.gaps,
        differences=(*matching.differences, *describe_differences(matching.matched)),
        notes=tuple(_explain(matching.matched, verdicts)),
    )


def _explain(matched: Sequence[MatchedRecords], verdicts: Sequence[WorkloadVerdict]) -> Iterator[str]:
    if any(item.method == "record files" for item in verdicts):
        yield _WEAKER
    memories = (record.measurement.memory for match in matched for record in match.current)
    if any(memory is not None and memory.method == "resident_growth" for memory in memories):
        yield "Memory that was measured on a CPU is not compared: the system hands it out in steps of its own."


def _judge(match: MatchedRecords, tolerance: float, counted_tolerances: Mapping[str, float]) -> WorkloadVerdict:
    base, current = _count_newest(match)
    counted = compare_counted(base, current, counted_tolerances)
    item = replace(_judge_times(match, tolerance, counted), counts=current)
    is_alike = newest_counted(match.base).measurement.status is newest_counted(match.current).measurement.status
    return doubt_what_is_lost(item, base) if is_alike else item


def _judge_times(match: MatchedRecords, tolerance: float, counted: tuple[CountedChange, ...]) -> WorkloadVerdict:

    def end(verdict: GateVerdict, reason: str, *, is_broken: bool = False) -> WorkloadVerdict:
        return WorkloadVerdict(
            label=match.label,
            model=match.model,
            verdict=verdict,
            method="counted",
            reason=reason,
            counted=counted,
            is_broken=is_broken,
        )

    ours, theirs = (_final_status(side) for side in (match.base, match.current))
    if theirs is not Status.OK and ours is Status.OK:
        message = match.current[-1].measurement.message
        return end(GateVerdict.CANNOT_TELL, f"runs no longer, ends {theirs}: {message}", is_broken=True)
    if ours is not Status.OK:
        if ours is theirs:
            return end(GateVerdict.SAME if ours.is_final else GateVerdict.CANNOT_TELL, f"ends {ours} on both sides")
        now = "runs now" if theirs is Status.OK else f"ends {theirs} now"
        return end(GateVerdict.CANNOT_TELL, f"{now}, and ended {ours} in the base: {_message(match.base)}")
    base_s, current_s = (_launch_times(side) for side in (match.base, match.current))
    if not base_s and not current_s:
        return (
            end(GateVerdict.SAME, "")
            if counted
            else end(GateVerdict.CANNOT_TELL, "neither counted nor timed on both sides")
        )
    if not base_s or not current_s:
        return end(GateVerdict.CANNOT_TELL, f"the {'current side' if base_s else 'base'} was not timed")
    if constants := differing_constants([record.measurement.protocol for record in (*match.base, *match.current)]):
        return end(GateVerdict.CANNOT_TELL, f"timed with different constants of the method: {', '.join(constants)}")

    found = compare_launches(base_s, current_s, tolerance)
    few = min(len(base_s), len(current_s)) < FILE_LAUNCHES
    return WorkloadVerdict(
        label=match.label,
        model=match.model,
        verdict=found.verdict,
        method="record files",
        change=found.change,
        low=found.interval[0] if found.interval else None,
        high=found.interval[1] if found.interval else None,
        pairs=min(len(base_s), len(current_s)),
        more_samples=FILE_LAUNCHES - min(len(base_s), len(current_s)) if few else found.more,
        tolerance=tolerance,
        reason=_describe_few(base_s, current_s) if few else "",
        counted=counted,
    )


def _describe_few(base_s: Sequence[float], current_s: Sequence[float]) -> str:
    return (
        f"{_launches(base_s)} in the base and {_launches(current_s)} now, where {FILE_LAUNCHES} a side are needed: "
        f"measure with `profile --launches {FILE_LAUNCHES}`, or run `gate --against`"
    )


def _launches(times: Sequence[float]) -> str:
    return f"{len(times)} launch{'' if len(times) == 1 else 'es'}"


def _final_status(launches: Sequence[Record]) -> Status:
    """Ok if any launch of the newest run was; that of the newest launch otherwise."""
    found = [record.measurement.status for record in launches if record.run_id == launches[-1].run_id]
    return Status.OK if Status.OK in found else found[-1]


def _message(launches: Sequence[Record]) -> str:
    return launches[-1].measurement.message or "no reason is known"


def _launch_times(launches: Sequence[Record]) -> list[float]:
    """Seconds of a step, the median of each launch."""
    measurements = (record.measurement for record in launches if record.measurement.status is Status.OK)
    return [item.timing.latency_s for item in measurements if item.timing is not None]


def _count_newest(match: MatchedRecords) -> tuple[dict[str, float], dict[str, float]]:
    """Counted quantities of both sides; the memory of an allocator only on one device."""
    base, current = (newest_counted(side) for side in (match.base, match.current))
    ours, theirs = read_counted(base), read_counted(current)
    if base.environment.device != current.environment.device:
        ours.pop("peak_allocated_bytes", None)
    return ours, theirs
