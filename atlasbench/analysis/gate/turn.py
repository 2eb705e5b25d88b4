"""How many iterations make a turn."""

from __future__ import annotations

import math
from dataclasses import dataclass

from atlasbench.analysis.gate.constants import DISCARDED_S, LIKE_PACE, NO_DISCARD_ABOVE_S, TURN_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How fast a warm worker is.

    Attributes:
        iteration_s: Seconds of its fastest iteration.
        calls: Iterations that it times together, as one sample.
    """

    iteration_s: float
    calls: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What a worker runs when it is its turn.

    Attributes:
        calls: Iterations timed together, as one sample.
        discarded: Samples that do not count, in which caches and clocks come back.
        counted: Samples after them, whose median is the time of the turn.
    """

    calls: int
    discarded: int
    counted: int


def plan_turns(base: Pace, current: Pace) -> tuple[Turn, Turn]:
    """The turns of both sides of a pair.

    Sides of a like pace take the same turns, those of the faster one: what a turn begins with is slower, and may not
    weigh more on one side than on the other.
    """
    fast, slow = sorted((base.iteration_s, current.iteration_s))
    if slow <= LIKE_PACE * fast:
        base = current = Pace(iteration_s=fast, calls=max(base.calls, current.calls))
    return _plan_turn(base), _plan_turn(current)


def _plan_turn(pace: Pace) -> Turn:
    sample_s = pace.iteration_s * pace.calls
    return Turn(
        calls=pace.calls,
        discarded=0 if sample_s > NO_DISCARD_ABOVE_S else max(1, math.ceil(DISCARDED_S / sample_s)),
        counted=max(1, math.ceil(TURN_S / sample_s)),
    )
