"""What a gate says: values for reports and for the exit code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from atlasbench.core.compat import StrEnum


class GateVerdict(StrEnum):
    """The current time of a workload beside its base."""

    FASTER = "faster"
    SAME = "same"
    SLOWER = "slower"
    CANNOT_TELL = "cannot tell"


BUDGET = " (budget)"  # after the name of a quantity that is compared with a budget
# The worst of several decides.
_FROM_WORST = (GateVerdict.SLOWER, GateVerdict.CANNOT_TELL, GateVerdict.FASTER, GateVerdict.SAME)


@dataclass(frozen=True, slots=True, kw_only=True)
class CountedChange:
    """A quantity that needs no statistics: it follows from the shapes, or is read from an exact counter.

    Attributes:
        name: `params`, `flops`, `predicted_peak_bytes` or `peak_allocated_bytes`; followed by ` (budget)` for what it
            may be at most.
        base: What it is compared with: its value in the base, or a budget.
        current: Its value now.
        tolerance: Growth that still is the same, relative.
        is_worse: Whether it grew by more.
    """

    name: str
    base: float
    current: float
    tolerance: float
    is_worse: bool

    @property
    def is_budget(self) -> bool:
        """Whether it is compared with a budget."""
        return self.name.endswith(BUDGET)

    @property
    def is_news(self) -> bool:
        """Whether a reader must be told: it changed, or exceeds its budget."""
        return self.is_worse if self.is_budget else self.current != self.base

    @property
    def change(self) -> float:
        """Growth, relative; infinite from nothing."""
        if self.current == self.base:
            return 0.0
        return self.current / self.base - 1 if self.base else float("inf")


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadVerdict:
    """One workload, judged.

    Attributes:
        label: What tells it from the others.
        model: Name of its model.
        verdict: What the times say; `same` where only counts were compared.
        method: How they were compared: `paired turns`, `record files`, `stored ratio`, or `counted` (not timed).
        change: Of the time, relative to the base: over 0 is slower; None where not known.
        low: Lower end of an interval of at least 95 % for the change.
        high: Upper end.
        pairs: Pairs of turns, or of launches in two files, that the verdict is made of.
        more_samples: About how many more would decide, where it cannot be told; None where not known.
        tolerance: Change of the time that still is the same, relative.
        reason: What a reader must know to understand the verdict; empty where it explains itself.
        counted: Counted quantities that both sides have.
        counts: Counted quantities of the current side, by name.
        is_broken: Whether the base can run it and the current side cannot.
    """

    label: str
    model: str
    verdict: GateVerdict
    method: str
    change: float | None = None
    low: float | None = None
    high: float | None = None
    pairs: int = 0
    more_samples: int | None = None
    tolerance: float | None = None
    reason: str = ""
    counted: tuple[CountedChange, ...] = ()
    counts: Mapping[str, float] = field(default_factory=dict)
    is_broken: bool = False

    @property
    def is_worse(self) -> bool:
        """Whether it got slower, needs more than before, or runs no longer."""
        return self.verdict is GateVerdict.SLOWER or self.is_broken or any(item.is_worse for item in self.counted)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewWorkload:
    """A workload that the base lacks.

    Attributes:
        label: What tells it from the others.
        model: Name of its model.
        counts: Its counted quantities, by name, as far as known.
    """

    label: str
    model: str
    counts: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class GateResult:
    """All workloads, judged.

    Attributes:
        workloads: Those of both sides.
        only_base: Labels of those that the current side lacks.
        only_current: Those that the base lacks.
        gaps: What else could not be compared, a line each: as little can be told as of a workload that is gone.
        differences: What differs between the sides beside what is judged, a line each.
        notes: What else a reader must know, a line each.
    """

    workloads: tuple[WorkloadVerdict, ...]
    only_base: tuple[str, ...] = ()
    only_current: tuple[NewWorkload, ...] = ()
    gaps: tuple[str, ...] = ()
    differences: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def verdict(self) -> GateVerdict:
        """What the times say as a whole: the worst of the workloads; what was not compared cannot be told."""
        found = {item.verdict for item in self.workloads}
        if self.only_base or self.gaps or not found:
            found.add(GateVerdict.CANNOT_TELL)
        return next(verdict for verdict in _FROM_WORST if verdict in found)

    def is_bad(self, strict: bool = False) -> bool:
        """Whether this should stop a merge.

        Args:
            strict: Whether not being able to tell should, too.
        """
        if any(item.is_worse for item in self.workloads):
            return True
        return strict and self.verdict is GateVerdict.CANNOT_TELL
