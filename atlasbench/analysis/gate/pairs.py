"""Pairs of turns, and what two sides that took them are found to be."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import median

from atlasbench.analysis.gate.sign_test import median_interval
from atlasbench.analysis.gate.verdicts import GateVerdict


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedPass:
    """Pairs of turns, in the order taken; nothing dropped.

    Attributes:
        base_s: Seconds of one iteration of the base, of each pair.
        current_s: Of the current side.
        launches: Pairs of workers that took them.
        seconds: Wall time of all of them.
    """

    base_s: tuple[float, ...]
    current_s: tuple[float, ...]
    launches: int
    seconds: float

    @property
    def differences(self) -> tuple[float, ...]:
        """For each pair d = ln(time of the current side / time of the base)."""
        pairs = zip(self.base_s, self.current_s, strict=True)
        return tuple(math.log(current / base) for base, current in pairs)

    @property
    def change(self) -> float:
        """Of the time, relative, by the median pair: over 0 is slower."""
        return math.expm1(median(self.differences))

    @property
    def interval(self) -> tuple[float, float] | None:
        """Of at least 95 % for the change; None with too few pairs."""
        ends = median_interval(self.differences)
        return None if ends is None else (math.expm1(ends[0]), math.expm1(ends[1]))


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedResult:
    """What two sides that took turns are found to be.

    Attributes:
        verdict: Of the current side.
        reason: How it was come by; empty where that is plain.
        first: The first pass.
        confirmation: The pass that measured a suspicion again.
        more_pairs: About how many more would decide, where it cannot be told; None where not known.
    """

    verdict: GateVerdict
    reason: str
    first: PairedPass
    confirmation: PairedPass | None = None
    more_pairs: int | None = None

    @property
    def shown(self) -> PairedPass:
        """The pass that stands for the result: not one that was repeated because of its numbers."""
        return self.confirmation or self.first

    @property
    def change(self) -> float:
        """Of the time, relative, by the median pair: over 0 is slower."""
        return self.shown.change

    @property
    def low(self) -> float | None:
        """Lower end of an interval of at least 95 % for the change."""
        return interval[0] if (interval := self.shown.interval) else None

    @property
    def high(self) -> float | None:
        """Upper end."""
        return interval[1] if (interval := self.shown.interval) else None

    @property
    def pairs(self) -> int:
        """Pairs that the change is made of."""
        return len(self.shown.base_s)
