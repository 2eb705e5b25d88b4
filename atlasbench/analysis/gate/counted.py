"""Quantities that are compared exactly: they follow from the shapes, or come from an exact counter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from atlasbench.analysis.gate.constants import COUNTED_TOLERANCES
from atlasbench.analysis.gate.verdicts import CountedChange, GateVerdict, WorkloadVerdict
from atlasbench.core.record import Record, Status

_NONE: Mapping[str, float] = MappingProxyType({})


def compare_counted(
    base: Mapping[str, float], current: Mapping[str, float], tolerances: Mapping[str, float] = _NONE
) -> tuple[CountedChange, ...]:
    """Compare every quantity that both sides have.

    Args:
        base: By name, see `COUNTED_TOLERANCES`.
        current: As `base`.
        tolerances: Growth that still is the same, relative, where it is not the usual.
    """
    allowed = {**COUNTED_TOLERANCES, **tolerances}
    return tuple(
        CountedChange(
            name=name,
            base=base[name],
            current=current[name],
            tolerance=tolerance,
            is_worse=current[name] > base[name] * (1 + tolerance),
        )
        for name, tolerance in allowed.items()
        if name in base and name in current
    )


def doubt_what_is_lost(item: WorkloadVerdict, base: Mapping[str, float]) -> WorkloadVerdict:
    """The verdict; where the current side lacks a quantity of the base, nobody can tell whether that grew.

    Args:
        item: As its times say, with the counts of the current side.
        base: By name, as in `compare_counted`.
    """
    lost = [name for name in base if name not in item.counts]
    if not lost:
        return item
    is_fine = item.verdict in (GateVerdict.SAME, GateVerdict.FASTER)
    reason = f"{', '.join(lost)} {'is' if len(lost) == 1 else 'are'} known in the base only"
    return replace(
        item,
        verdict=GateVerdict.CANNOT_TELL if is_fine else item.verdict,
        reason="; ".join(filter(None, (item.reason, reason))),
    )


def read_counted(record: Record) -> dict[str, float]:
    """The quantities of a record, by name; without those that it does not have."""
    counts, memory = record.measurement.counts, record.measurement.memory
    found: dict[str, float] = {}
    if counts is not None:
        names = ("params", "flops", "predicted_peak_bytes")
        found |= {name: getattr(counts, name) for name in names}
    if memory is not None and memory.method == "allocated" and memory.peak_bytes is not None:
        found["peak_allocated_bytes"] = memory.peak_bytes
    return found


def newest_counted(launches: Sequence[Record]) -> Record:
    """The launch whose quantities stand for all of them: the newest that ended ok, if one did."""
    finished = [record for record in launches if record.measurement.status is Status.OK]
    return (finished or launches)[-1]
