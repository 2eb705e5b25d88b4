"""What differs between two sides of records beside what is judged, a line each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from atlasbench.analysis.gate.counted import newest_counted, read_counted
from atlasbench.analysis.gate.matching import MatchedRecords, environment_fields
from atlasbench.core.record import Record, Status
from atlasbench.core.workload import canonical_json

_DESCRIBED = ("os", "processor", "cpu_count")  # of an environment, beside what must agree


def describe_differences(matched: Sequence[MatchedRecords]) -> Iterator[str]:
    """A line each: environment, kernels and models of the newest records; and launches unlike their neighbours.

    What is said of several workloads is said once, with their names.
    """
    yield from dict.fromkeys(
        line for match in matched for line in _compare_environments(match.base[-1], match.current[-1])
    )
    labels: dict[str, list[str]] = {}
    for match in matched:
        for line in _describe_workload(match):
            labels.setdefault(line, []).append(match.label)
    for line, whose in labels.items():
        is_of_all = 1 < len(whose) == len(matched)
        yield f"{'all workloads' if is_of_all else '; '.join(whose)}: {line}"


def _describe_workload(match: MatchedRecords) -> Iterator[str]:
    base, current = match.base[-1], match.current[-1]
    kernels, newer = base.measurement.kernels, current.measurement.kernels
    for name in dict.fromkeys((*kernels, *newer)):
        before, now = kernels.get(name, "none"), newer.get(name, "none")
        if before != now:
            yield f"{name} kernel {before} in the base, {now} now"
    if canonical_json(base.workload.options) != canonical_json(current.workload.options):
        yield "the file that builds the model changed"
    yield from _compare_names(match)
    yield from _describe_launches("launches of the base", match.base)
    yield from _describe_launches("launches of the current side", match.current)


def _compare_environments(base: Record, current: Record) -> Iterator[str]:
    ours, theirs = _describe_environment(base), _describe_environment(current)
    for name in dict.fromkeys((*ours, *theirs)):
        if ours.get(name) != theirs.get(name):
            yield f"{name}: {ours.get(name) or 'none'} in the base, {theirs.get(name) or 'none'} now"


def _describe_environment(record: Record) -> dict[str, Any]:
    names = () if record.workload.device_type == "meta" else _DESCRIBED
    described = {name: getattr(record.environment, name) for name in names}
    return {**environment_fields(record), **described, **record.environment.versions}


def _compare_names(match: MatchedRecords) -> Iterator[str]:
    """Counted quantities that are not compared, though the current side has them."""
    base, current = newest_counted(match.base), newest_counted(match.current)
    ours, theirs = read_counted(base), read_counted(current)
    if base.measurement.status is current.measurement.status:
        yield from (f"{name} is known on the current side only" for name in sorted(theirs.keys() - ours.keys()))
    if base.environment.device != current.environment.device and "peak_allocated_bytes" in ours.keys() & theirs.keys():
        yield "peak_allocated_bytes is not compared between two devices"


def _describe_launches(start: str, launches: Sequence[Record]) -> Iterator[str]:
    commits = {record.environment.git_commit for record in launches}
    if len(commits) > 1:
        yield f"{start} are of {len(commits)} commits"
    failed = [record.measurement.status for record in launches if record.measurement.status is not Status.OK]
    if 0 < len(failed) < len(launches):
        yield f"{start}: {len(failed)} of {len(launches)} ended {failed[-1]}"
    timings = (record.measurement.timing for record in launches)
    flags = dict.fromkeys(flag for timing in timings if timing is not None for flag in timing.flags)
    if flags:
        yield f"{start} are marked {', '.join(flags)}"
