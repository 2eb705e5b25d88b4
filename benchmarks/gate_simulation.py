"""How often the gate is wrong: simulated machines, judged by the code that judges real ones.

    python benchmarks/gate_simulation.py [--runs 1000] [--seed 1]

Prints the tables of docs/gate.md. A gate run is 20 workloads; a false alarm is a run in which an unchanged workload is
called slower. With 1000 runs it takes some minutes on one core.
"""

from __future__ import annotations

import argparse
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from statistics import median

import numpy as np
from scipy.signal import lfilter
from scipy.stats import beta

from atlasbench.analysis.gate.constants import FILE_LAUNCHES, FILE_TOLERANCE, LAUNCHES, LOOKS
from atlasbench.analysis.gate.launches import compare_launches
from atlasbench.analysis.gate.pairs import PairedResult
from atlasbench.analysis.gate.verdicts import GateVerdict
from atlasbench.sweep.paired import judge_paired

WORKLOADS = 20  # of a gate run
SLOWDOWNS = (0.03, 0.05, 0.10)
STEP_S = 0.020  # time of a turn on a quiet machine; only the simulated clock sees it
PASS_TURNS = 2 * LOOKS[-1]
SWINGS = 30  # in a pass, at most: slow beside a pair, or they were modes


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """What a machine does to the time of a turn; spreads and changes are relative.

    Attributes:
        name: Row of the table.
        turn: Standard deviation of independent turns.
        drift: Change of the speed from the beginning of a pass to its end, and a swing of the same size.
        outliers: Share of turns that take 1.2 to 5 times as long.
        mode: How much slower the machine's slow mode is.
        dwell: Turns between changes of the mode, on average.
        neighbours: Standard deviation of what neighbouring turns share (an AR(1) process).
        memory: Correlation of neighbours in it.
        second: How much slower the second turn of each pair is, whoever takes it.
        launch: Standard deviation of launches: what a worker keeps as long as it lives.
    """

    name: str
    turn: float = 0.01
    drift: float = 0.0
    outliers: float = 0.0
    mode: float = 0.0
    dwell: float = 20.0
    neighbours: float = 0.0
    memory: float = 0.9
    second: float = 0.0
    launch: float = 0.003


_SHARED = {"turn": 0.02, "drift": 0.1, "mode": 0.2, "neighbours": 0.03}
NOISES = (
    Noise(name="quiet"),
    Noise(name="independent 3 %", turn=0.03),
    Noise(name="independent 5 %", turn=0.05),
    Noise(name="drift and swing of 30 %", drift=0.3),
    Noise(name="1 % outliers", outliers=0.01),
    Noise(name="5 % outliers", outliers=0.05),
    Noise(name="10 % outliers", outliers=0.10),
    Noise(name="modes 30 % apart, 5 turns each", mode=0.3, dwell=5),
    Noise(name="modes 30 % apart, 100 turns each", mode=0.3, dwell=100),
    Noise(name="neighbours alike: AR(1) 0.95, 10 %", neighbours=0.10, memory=0.95),
    Noise(name="second turn 1 % slower", second=0.01),
    Noise(name="all of it, 1 % outliers", outliers=0.01, **_SHARED),
    Noise(name="all of it, 5 % outliers", outliers=0.05, **_SHARED),
    Noise(name="all of it, 10 % outliers", outliers=0.10, **_SHARED),
    Noise(name="quiet, launches differ by 1.0 %", launch=0.010),
    Noise(name="quiet, launches differ by 1.6 %", launch=0.016),
    Noise(name="all of it, 5 % outliers, launches differ by 1.0 %", outliers=0.05, launch=0.010, **_SHARED),
)


class SimulatedMachine:
    """Deals simulated workers; what a turn takes depends on when it is taken, on its launch, and on chance.

    Args:
        noise: Of the machine.
        slowdown: Of the current side, relative.
        rng: Of the machine; the order of turns has its own.
    """

    def __init__(self, noise: Noise, slowdown: float, rng: np.random.Generator) -> None:
        self._noise = noise
        self._slowdown = slowdown
        self._rng = rng
        self._times = iter(())
        self._pairs_alive = 0
        self.turns = 0

    def clock(self) -> float:
        """Seconds since the beginning, as if every turn took the same."""
        return self.turns * STEP_S

    @contextmanager
    def launch_pair(self, *, base_first: bool) -> Iterator[tuple[SimulatedSide, SimulatedSide]]:
        """Fresh workers of both sides; each pass finds the machine in a state of its own."""
        if not self._pairs_alive:
            self._times = self._foresee()
        base, current = np.exp(self._rng.normal(0, self._noise.launch, 2))
        self._pairs_alive += 1
        yield SimulatedSide(self, base), SimulatedSide(self, current * (1 + self._slowdown))
        self._pairs_alive -= 1

    def count_launches(self, pairs: int) -> int:
        """Pairs of workers that took so many pairs of turns."""
        return min(pairs, LAUNCHES)

    def next_turn(self) -> float:
        """Seconds of the next turn of a worker that is like any other."""
        self.turns += 1
        return next(self._times)

    def _foresee(self) -> Iterator[float]:
        """What the machine does to the turns of a pass, in order."""
        noise, rng = self._noise, self._rng
        logs = rng.normal(0, noise.turn, PASS_TURNS)
        if noise.drift:
            course = np.linspace(0, 1, PASS_TURNS)
            swing = np.sin(2 * np.pi * (course * rng.uniform(1, SWINGS) + rng.uniform()))
            logs += noise.drift * (rng.choice((-1, 1)) * course + swing / 2)
        if noise.mode:
            dwells = rng.geometric(1 / noise.dwell, PASS_TURNS)
            states = (np.arange(PASS_TURNS) + rng.integers(2)) % 2
            logs += np.log1p(noise.mode) * np.repeat(states, dwells)[:PASS_TURNS]
        if noise.neighbours:
            innovations = rng.normal(0, noise.neighbours * np.sqrt(1 - noise.memory**2), PASS_TURNS)
            innovations[0] = rng.normal(0, noise.neighbours)
            logs += lfilter([1.0], [1.0, -noise.memory], innovations)
        if noise.second:
            logs[1::2] += np.log1p(noise.second)
        if noise.outliers:
            hit = rng.random(PASS_TURNS) < noise.outliers
            logs += np.where(hit, np.log(rng.uniform(1.2, 5, PASS_TURNS)), 0)
        return iter((STEP_S * np.exp(logs)).tolist())


@dataclass(frozen=True, slots=True)
class SimulatedSide:
    """A worker that is faster or slower than others by a factor that it keeps."""

    machine: SimulatedMachine
    factor: float

    def take_turn(self) -> float:
        """Seconds of one iteration."""
        return self.machine.next_turn() * self.factor


def judge(noise: Noise, slowdown: float, seeds: tuple[int, ...]) -> PairedResult:
    """One workload on one machine."""
    machine = SimulatedMachine(noise, slowdown, np.random.default_rng(seeds))
    return judge_paired(machine, rng=random.Random(repr(seeds)), clock=machine.clock)


def simulate_turns(runs: int, seed: int) -> Iterator[str]:
    """Rows of the table of turns."""
    yield (
        "| noise | false alarms a run | cannot tell | pairs | "
        + " | ".join(f"{slowdown:.0%} slower found".replace("%", " %") for slowdown in SLOWDOWNS)
        + " | pairs at 5 % | interval holds 5 % |"
    )
    yield "|:---|---:|---:|---:|" + "---:|" * len(SLOWDOWNS) + "---:|---:|"
    for index, noise in enumerate(NOISES):
        numbers = count()
        alarms, equal = 0, []
        for _ in range(runs):
            results = [judge(noise, 0.0, (seed, index, 0, next(numbers))) for _ in range(WORKLOADS)]
            alarms += any(result.verdict is GateVerdict.SLOWER for result in results)
            equal += results
        open_share = Counter(result.verdict for result in equal)[GateVerdict.CANNOT_TELL] / len(equal)
        found, pairs, holds = [], 0.0, 0.0
        for kind, slowdown in enumerate(SLOWDOWNS, start=1):
            results = [judge(noise, slowdown, (seed, index, kind, next(numbers))) for _ in range(runs)]
            found.append(Counter(result.verdict for result in results)[GateVerdict.SLOWER] / runs)
            if slowdown == 0.05:
                pairs = median(map(_all_pairs, results))
                holds = sum(_holds(result, slowdown) for result in results) / runs
        shares = " | ".join(f"{100 * share:.1f} %" for share in found)
        highest = f"{100 * alarms / runs:.2f} % (at most {100 * _upper_bound(alarms, runs):.1f} %)"
        equal_pairs = median(map(_all_pairs, equal))
        yield (
            f"| {noise.name} | {highest} | {100 * open_share:.2f} % | {equal_pairs:.0f} | {shares} | {pairs:.0f} "
            f"| {100 * holds:.1f} % |"
        )


def simulate_files(runs: int, seed: int) -> Iterator[str]:
    """Rows of the table of record files: medians of launches, and a machine that changed between the two runs."""
    slowdowns = (0.10, 0.15, 0.20)
    yield (
        "| launches differ by | machine changed by | false alarms a run | "
        + " | ".join(f"{100 * slowdown:.0f} % slower found" for slowdown in slowdowns)
        + " |"
    )
    yield "|---:|---:|---:|" + "---:|" * len(slowdowns)
    for launch, change in ((0.005, 0.0), (0.016, 0.0), (0.016, 0.05), (0.016, 0.10), (0.03, 0.0)):
        rng = np.random.default_rng((seed, round(launch * 1e4), round(change * 1e4)))

        def is_slower(slowdown: float, rng=rng, launch=launch, change=change) -> bool:
            sides = np.exp(rng.normal(0, launch, (2, FILE_LAUNCHES)))
            sides[1] *= (1 + slowdown) * (1 + change)
            return compare_launches(*sides.tolist(), FILE_TOLERANCE).verdict is GateVerdict.SLOWER

        alarms = sum(any(is_slower(0.0) for _ in range(WORKLOADS)) for _ in range(runs))
        found = [sum(is_slower(slowdown) for _ in range(runs)) / runs for slowdown in slowdowns]
        shares = " | ".join(f"{100 * share:.1f} %" for share in found)
        highest = f"{100 * alarms / runs:.1f} % (at most {100 * _upper_bound(alarms, runs):.1f} %)"
        yield f"| {100 * launch:.1f} % | {100 * change:.0f} % | {highest} | {shares} |"


def _all_pairs(result: PairedResult) -> int:
    passes = [item for item in (result.first, result.confirmation) if item is not None]
    return sum(len(item.base_s) for item in passes)


def _holds(result: PairedResult, change: float) -> bool:
    """Whether the interval that is shown has the true change in it."""
    return result.low is not None and result.high is not None and result.low <= change <= result.high


def _upper_bound(events: int, runs: int) -> float:
    """The largest probability that 95 % confidence leaves (Clopper and Pearson, one-sided)."""
    return float(beta.ppf(0.95, events + 1, runs - events)) if events < runs else 1.0


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000, help="gate runs, and slowed workloads, of each row")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    for table in (simulate_turns, simulate_files):
        for line in table(arguments.runs, arguments.seed):
            print(line, flush=True)
        print()


if __name__ == "__main__":
    main()
