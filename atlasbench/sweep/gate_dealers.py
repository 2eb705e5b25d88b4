"""Workers of the two sides of a gate that take turns: warm side by side, or launched for each turn."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from atlasbench.analysis.gate.constants import DISCARDED_S, NO_DISCARD_ABOVE_S, TURN_S
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


class WarmSide:
    """A worker that is warm and waits for its turn."""

    def __init__(self, worker: Worker, side: Contender, terms: Terms) -> None:
        self._worker = worker
        self._side = side
        self._timeout_s = terms.protocol.timeout_s

    def take_turn(self) -> float:
        """Seconds of one iteration.

        Raises:
            SideError: If it fails.
        """
        with blaming(self._side):
            seconds: float = self._worker.call(f"{TURNS}:take_turn", timeout_s=self._timeout_s)
        return seconds


class PairDealer:
    """Fresh pairs of workers that live side by side; never do both run at the same moment."""

    def __init__(self, base: Contender, current: Contender, terms: Terms) -> None:
        self._base = base
        self._current = current
        self._terms = terms

    @contextmanager
    def launch_pair(self) -> Iterator[tuple[WarmSide, WarmSide]]:
        """Base and current.

        Raises:
            SideError: If one cannot be warmed up.
        """
        with launch(self._base, self._terms) as base, launch(self._current, self._terms) as current:
            yield base, current


class LaunchDealer:
    """Sides that have a process only while it is their turn, for workers that do not fit in memory together."""

    def __init__(self, base: Contender, current: Contender, terms: Terms) -> None:
        self._pair = _FreshSide(base, terms), _FreshSide(current, terms)

    @contextmanager
    def launch_pair(self) -> Iterator[tuple[_FreshSide, _FreshSide]]:
        """Base and current."""
        yield self._pair


class _FreshSide:
    def __init__(self, side: Contender, terms: Terms) -> None:
        self._side = side
        self._terms = terms

    def take_turn(self) -> float:
        with launch(self._side, self._terms) as side:
            return side.take_turn()


@contextmanager
def launch(side: Contender, terms: Terms) -> Iterator[WarmSide]:
    """A fresh worker of a side, warmed up; gone when the context ends.

    Raises:
        SideError: If it cannot be warmed up.
    """
    with blaming(side):
        worker = side.source.start_worker()
    with worker:
        with blaming(side):
            _prepare(worker, side, terms)
        yield WarmSide(worker, side, terms)


class ScaledDealer:
    """Pairs whose base counts as so many times slower than it is: only a change of their ratio shows."""

    def __init__(self, dealer: Dealer, factor: float) -> None:
        self._dealer = dealer
        self._factor = factor

    @contextmanager
    def launch_pair(self) -> Iterator[tuple[Side, Side]]:
        """Base and current."""
        with self._dealer.launch_pair() as (base, current):
            yield _ScaledSide(base, self._factor), current


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
                warm.take_turn()
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
        turn_s=TURN_S,
        discard_s=DISCARDED_S,
        slow_iteration_s=NO_DISCARD_ABOVE_S,
        wants_memory=wants_memory,
    )
    return answer
