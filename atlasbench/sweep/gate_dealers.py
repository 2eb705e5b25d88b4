"""Workers of the two sides of a gate that take turns: warm side by side, or launched for each turn."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from atlasbench.analysis.gate.constants import LAUNCHES, TURN_S
from atlasbench.analysis.gate.turn import Pace, Turn, plan_turns
from atlasbench.core.protocol import Protocol
from atlasbench.measure.workers import Worker
from atlasbench.sweep.gate_sides import TURNS, Contender, SideError, blaming, count_side, plain_fields
from atlasbench.sweep.paired import Dealer, Side


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What both sides share, so that only the code or the model differs.

    Attributes:
        protocol: How to warm up, and how long a call may take.
        threads: Threads, and cores to run them on.
    """

    protocol: Protocol
    threads: int


class WarmWorker:
    """A worker that is warm and waits for its turns.

    Attributes:
        pace: How fast it is.
    """

    def __init__(self, worker: Worker, side: Contender, terms: Terms, pace: Pace) -> None:
        self._worker = worker
        self._side = side
        self._timeout_s = terms.protocol.timeout_s
        self.pace = pace

    def take_turn(self, turn: Turn) -> float:
        """Seconds of one iteration.

        Raises:
            SideError: If it fails.
        """
        with blaming(self._side):
            seconds: float = self._worker.call(f"{TURNS}:take_turn", timeout_s=self._timeout_s, **asdict(turn))
        return seconds


class PairDealer:
    """Fresh pairs of workers that live side by side; never do both run at the same moment."""

    def __init__(self, base: Contender, current: Contender, terms: Terms) -> None:
        self._base = base
        self._current = current
        self._terms = terms

    @contextmanager
    def launch_pair(self, *, base_first: bool) -> Iterator[tuple[Side, Side]]:
        """Base and current.

        Raises:
            SideError: If one cannot be warmed up.
        """
        order = (self._base, self._current) if base_first else (self._current, self._base)
        with launch(order[0], self._terms) as first, launch(order[1], self._terms) as second:
            base, current = (first, second) if base_first else (second, first)
            turns = plan_turns(base.pace, current.pace)
            yield _WarmSide(base, turns[0]), _WarmSide(current, turns[1])

    def count_launches(self, pairs: int) -> int:
        """Pairs of workers that took so many pairs of turns."""
        return min(pairs, LAUNCHES)


@dataclass(frozen=True, slots=True)
class _WarmSide:
    worker: WarmWorker
    turn: Turn

    def take_turn(self) -> float:
        return self.worker.take_turn(self.turn)


class LaunchDealer:
    """Sides that have a process only while it is their turn, for workers that do not fit in memory together."""

    def __init__(self, base: Contender, current: Contender, terms: Terms) -> None:
        self._sides = base, current
        self._terms = terms
        self._turns: tuple[Turn, Turn] | None = None  # once a worker of each side has shown how fast it is

    @contextmanager
    def launch_pair(self, *, base_first: bool) -> Iterator[tuple[Side, Side]]:
        """Base and current; each is launched when it is its turn, whatever `base_first`.

        Raises:
            SideError: If one cannot be warmed up.
        """
        if self._turns is None:
            paces = [self._find_pace(side) for side in self._sides]
            self._turns = plan_turns(*paces)
        (base, current), (base_turn, current_turn) = self._sides, self._turns
        yield _FreshSide(base, self._terms, base_turn), _FreshSide(current, self._terms, current_turn)

    def count_launches(self, pairs: int) -> int:
        """As many: each pair of turns has workers of its own."""
        return pairs

    def _find_pace(self, side: Contender) -> Pace:
        with launch(side, self._terms) as warm:
            return warm.pace


@dataclass(frozen=True, slots=True)
class _FreshSide:
    side: Contender
    terms: Terms
    turn: Turn

    def take_turn(self) -> float:
        with launch(self.side, self.terms) as warm:
            return warm.take_turn(self.turn)


@contextmanager
def launch(side: Contender, terms: Terms) -> Iterator[WarmWorker]:
    """A fresh worker of a side, warmed up; gone when the context ends.

    Raises:
        SideError: If it cannot be warmed up.
    """
    with blaming(side):
        worker = side.source.start_worker()
    with worker:
        with blaming(side):
            answer = _prepare(worker, side, terms)
            pace = Pace(iteration_s=answer["iteration_s"], calls=answer["calls"])
        yield WarmWorker(worker, side, terms, pace)


class ScaledDealer:
    """Pairs whose base counts as so many times slower than it is: only a change of their ratio shows."""

    def __init__(self, dealer: Dealer, factor: float) -> None:
        self._dealer = dealer
        self._factor = factor

    @contextmanager
    def launch_pair(self, *, base_first: bool) -> Iterator[tuple[Side, Side]]:
        """Base and current."""
        with self._dealer.launch_pair(base_first=base_first) as (base, current):
            yield _ScaledSide(base, self._factor), current

    def count_launches(self, pairs: int) -> int:
        """Pairs of workers that took so many pairs of turns."""
        return self._dealer.count_launches(pairs)


class _ScaledSide:
    def __init__(self, side: Side, factor: float) -> None:
        self._side = side
        self._factor = factor

    def take_turn(self) -> float:
        return self._side.take_turn() * self._factor


def find_peak_memory(side: Contender, terms: Terms) -> int | None:
    """Bytes that the device's allocator held at the peak of a step; None where it does not say.

    Raises:
        SideError: If the step cannot be run.
    """
    with blaming(side), side.source.start_worker() as worker:
        peak: int | None = _prepare(worker, side, terms, wants_memory=True)["allocated_bytes"]
        return peak


def why_not(side: Contender, terms: Terms) -> str:
    """Why a side cannot run its workload; empty if it can. Tried, as far as its device goes."""
    try:
        side = count_side(side)
        if side.workload.device_type != "meta":
            with launch(side, terms) as warm:
                warm.take_turn(Turn(calls=warm.pace.calls, discarded=0, counted=1))
        return ""
    except SideError as error:
        return str(error)


def _prepare(worker: Worker, side: Contender, terms: Terms, *, wants_memory: bool = False) -> Mapping[str, Any]:
    answer: Mapping[str, Any] = worker.call(
        f"{TURNS}:prepare_turns",
        plain_fields(side.workload),
        terms.protocol.changes(),
        timeout_s=terms.protocol.timeout_s,
        threads=terms.threads,
        least_s=TURN_S,
        wants_memory=wants_memory,
    )
    return answer
