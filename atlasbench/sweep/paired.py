"""Judges two sides that take turns: pairs in coin-flip order, looks, and a confirmation with fresh workers.

Who takes the turns comes in from outside, so that the simulation of `docs/gate.md` runs this very code.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from typing import Protocol, TypeVar

from atlasbench.analysis.gate.constants import (
    CONFIRMATION_LEVEL,
    FIRST_LEVEL,
    LAUNCHES,
    LOOKS,
    MAX_TIME_S,
    PASS_PAIRS,
    PASS_TIME_S,
    RATIO_HALF_WIDTH,
    TOLERANCE,
)
from atlasbench.analysis.gate.looks import conclude, confirm, launches_agree, suspect
from atlasbench.analysis.gate.pairs import PairedPass, PairedResult
from atlasbench.analysis.gate.sign_test import estimate_more_pairs, is_above, median_interval
from atlasbench.analysis.gate.verdicts import GateVerdict

_Found = TypeVar("_Found")


class Side(Protocol):
    """A warm workload."""

    def take_turn(self) -> float:
        """Seconds of one iteration: the median of the turn's iterations after the discarded ones."""


class Dealer(Protocol):
    """Where workers come from."""

    def launch_pair(self, *, base_first: bool) -> AbstractContextManager[tuple[Side, Side]]:
        """Fresh workers of the base and of the current side, warmed up; gone when the context ends.

        Args:
            base_first: Whether the base is launched before the current side, and not after it.
        """

    def count_launches(self, pairs: int) -> int:
        """Pairs of workers that took so many pairs of turns."""


def judge_paired(
    dealer: Dealer,
    *,
    rng: random.Random,
    tolerance: float = TOLERANCE,
    min_pairs: int = LOOKS[0],
    clock: Callable[[], float] = time.monotonic,
    max_time_s: float | None = None,
    on_progress: Callable[[str], None] = lambda _: None,
) -> PairedResult:
    """Tell whether the current side is slower than the base.

    Args:
        dealer: Launches the workers: three pairs that live at the same time, and three more to confirm a suspicion.
        rng: Decides who goes first in each pair; keep its seed with the result.
        tolerance: Change of the time that still is the same, relative.
        min_pairs: Nothing is decided by fewer.
        clock: Seconds from any origin.
        max_time_s: For one pass; None for 120 s or the time of 24 pairs, whichever is longer, within 30 minutes.
        on_progress: Told after each pair what is being done.
    """

    def take(
        look: Callable[[Sequence[float]], GateVerdict | None], phase: str
    ) -> tuple[GateVerdict | None, PairedPass]:
        return _take_pass(
            dealer,
            lambda differences: look(differences) if len(differences) >= min_pairs else None,
            rng=rng,
            looks=LOOKS,
            clock=clock,
            max_time_s=max_time_s,
            on_pair=lambda pairs: on_progress(f"{phase}, {pairs} pair{'' if pairs == 1 else 's'}"),
        )

    found, first = take(lambda differences: suspect(differences, tolerance), "taking turns")
    if found is None:
        return _end_undecided(first, None, tolerance, FIRST_LEVEL, min_pairs)
    if found is GateVerdict.SAME:
        return PairedResult(verdict=found, reason="", first=first)

    suspicion = found
    found, again = take(
        lambda differences: confirm(differences, tolerance, suspicion),
        f"seems {suspicion}, taking turns again with fresh workers",
    )
    if found is None:
        return _end_undecided(first, again, tolerance, CONFIRMATION_LEVEL, min_pairs)
    how = "confirmed" if found is suspicion else f"seemed {suspicion} ({_describe(first)}), not confirmed"
    reason = f"{how} by {again.launches} fresh pairs of workers"
    return PairedResult(verdict=found, reason=reason, first=first, confirmation=again)


def measure_ratio(
    dealer: Dealer,
    *,
    rng: random.Random,
    half_width: float = RATIO_HALF_WIDTH,
    pass_time_s: float = PASS_TIME_S,
    least_pairs: int = PASS_PAIRS,
    clock: Callable[[], float] = time.monotonic,
    max_time_s: float | None = None,
    on_progress: Callable[[str], None] = lambda _: None,
) -> PairedPass:
    """Find how long the current side takes beside the base, over several launches; judges nothing.

    Args:
        dealer: Launches three pairs of workers that live at the same time.
        rng: Decides who goes first in each pair.
        half_width: Pairs are taken until the interval is this narrow to each side, or as long as a pass may take.
        pass_time_s: No longer than this, but at least `least_pairs` pairs.
        least_pairs: Within 30 minutes.
        clock: Seconds from any origin.
        max_time_s: For the pairs, in place of these limits.
        on_progress: Told after each pair what is being done.

    Returns:
        The pairs; 1 + `change` is the ratio of the times.
    """

    def is_narrow(differences: Sequence[float]) -> bool | None:
        ends = median_interval(differences)
        return (ends is not None and ends[1] - ends[0] <= 2 * half_width) or None

    _, taken = _take_pass(
        dealer,
        is_narrow,
        rng=rng,
        looks=[pairs for pairs in LOOKS if pairs >= PASS_PAIRS],
        clock=clock,
        pass_time_s=pass_time_s,
        least_pairs=least_pairs,
        max_time_s=max_time_s,
        on_pair=lambda pairs: on_progress(f"taking turns, {pairs} pair{'' if pairs == 1 else 's'}"),
    )
    return taken


def _end_undecided(
    first: PairedPass, again: PairedPass | None, tolerance: float, level: float, min_pairs: int
) -> PairedResult:
    """The result where the pairs or the time came to their end before a look decided."""
    shown = again or first
    differences, margin = shown.differences, math.log1p(tolerance)
    missing = min_pairs - len(differences)
    verdict = GateVerdict.CANNOT_TELL if missing > 0 else conclude(differences, tolerance, level)
    more = None
    if verdict is GateVerdict.SAME:
        reason = "not slower; whether it is faster stayed open"
    elif is_above(differences, margin, level) and not launches_agree(differences, margin):
        reason = "slower in some launches of its workers and not in others"
    else:
        reason = f"open after {shown.seconds:.0f} s"
        more = max(estimate_more_pairs(differences, margin, level) or 0, missing, 0) or None
    if again is not None:
        reason = f"seemed changed ({_describe(first)}); with fresh workers {reason}"
    return PairedResult(verdict=verdict, reason=reason, first=first, confirmation=again, more_pairs=more)


def _describe(taken: PairedPass) -> str:
    return f"{100 * taken.change:+.1f} % in {len(taken.base_s)} pairs"


def _take_pass(
    dealer: Dealer,
    look: Callable[[Sequence[float]], _Found | None],
    *,
    rng: random.Random,
    looks: Sequence[int],
    clock: Callable[[], float],
    pass_time_s: float = PASS_TIME_S,
    least_pairs: int = PASS_PAIRS,
    max_time_s: float | None,
    on_pair: Callable[[int], None],
) -> tuple[_Found | None, PairedPass]:
    """Take pairs until a look finds something, or their number or time comes to its end."""
    base_s: list[float] = []
    current_s: list[float] = []
    with ExitStack() as stack:
        # A fair coin decides here, too: a worker beside another one finds its memory in another state.
        sides = [stack.enter_context(dealer.launch_pair(base_first=rng.random() < 0.5)) for _ in range(LAUNCHES)]
        started = clock()  # warming up is not the pairs' time

        while True:
            base, current = sides[len(base_s) % LAUNCHES]
            # A fair coin decides who goes first: so the sign of d is fair under equality, whatever drifts.
            if rng.random() < 0.5:
                base_s.append(base.take_turn())
                current_s.append(current.take_turn())
            else:
                current_s.append(current.take_turn())
                base_s.append(base.take_turn())
            pairs, elapsed_s = len(base_s), clock() - started
            on_pair(pairs)
            # When time ends between two looks, the last look comes early: it stands for the next one.
            is_late = elapsed_s >= (MAX_TIME_S if max_time_s is None else max_time_s)
            is_long = max_time_s is None and elapsed_s >= pass_time_s and pairs >= least_pairs
            is_over = pairs == looks[-1] or is_late or is_long
            if pairs in looks or is_over:
                taken = PairedPass(
                    base_s=tuple(base_s),
                    current_s=tuple(current_s),
                    launches=dealer.count_launches(pairs),
                    seconds=elapsed_s,
                )
                found = look(taken.differences)
                if found is not None or is_over:
                    return found, taken
