from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from atlasbench.analysis.gate.constants import LOOKS
from atlasbench.analysis.gate.verdicts import GateVerdict
from atlasbench.sweep.paired import judge_paired, measure_ratio

Script = Callable[[int, int], float]  # time of the current side beside the base, by launch and turn of that launch


class FairCoin(random.Random):
    """Base first, then current first, and so on."""

    heads = False

    def random(self) -> float:
        self.heads = not self.heads
        return 0.25 if self.heads else 0.75


@dataclass
class ScriptedSide:
    dealer: ScriptedDealer
    name: str
    launch: int
    turns: int = 0

    def take_turn(self) -> float:
        assert self.launch in self.dealer.alive
        self.dealer.now += self.dealer.turn_s
        self.dealer.log.append((self.name, self.launch))
        self.turns += 1
        return 1.0 if self.name == "base" else self.dealer.script(self.launch, self.turns - 1)


@dataclass
class ScriptedDealer:
    """Deals sides whose times are known, and keeps a log of who took a turn."""

    script: Script
    turn_s: float = 0.02
    now: float = 0.0
    launched: int = 0
    alive: set[int] = field(default_factory=set)
    log: list[tuple[str, int]] = field(default_factory=list)
    orders: list[bool] = field(default_factory=list)

    def clock(self) -> float:
        return self.now

    @contextmanager
    def launch_pair(self, *, base_first: bool) -> Iterator[tuple[ScriptedSide, ScriptedSide]]:
        self.orders.append(base_first)
        self.now += 50.0  # to be warm takes time that is not the pairs'
        launch = self.launched
        self.launched += 1
        self.alive.add(launch)
        try:
            yield ScriptedSide(self, "base", launch), ScriptedSide(self, "current", launch)
        finally:
            self.alive.remove(launch)

    def count_launches(self, pairs: int) -> int:
        return 3


def always(factor: float) -> Script:
    return lambda launch, turn: factor


def in_turn(*factors: float) -> Script:
    return lambda launch, turn: factors[turn % len(factors)]


def test_equal_sides_are_the_same_at_the_first_look() -> None:
    dealer = ScriptedDealer(always(1.01))

    result = judge_paired(dealer, rng=random.Random(1), clock=dealer.clock)

    assert result.verdict is GateVerdict.SAME
    assert result.pairs == LOOKS[0]
    assert result.change == pytest.approx(0.01)
    assert (result.low, result.high) == (pytest.approx(0.01), pytest.approx(0.01))
    assert result.confirmation is None
    assert result.reason == ""
    assert result.first.seconds == pytest.approx(20 * dealer.turn_s)
    assert dealer.alive == set()


@pytest.mark.parametrize(("factor", "verdict"), [(1.05, GateVerdict.SLOWER), (1 / 1.05, GateVerdict.FASTER)])
def test_a_change_is_confirmed_by_three_fresh_launches_that_take_turns(factor: float, verdict: GateVerdict) -> None:
    dealer = ScriptedDealer(always(factor))

    result = judge_paired(dealer, rng=random.Random(1), clock=dealer.clock)

    assert result.verdict is verdict
    assert result.reason == "confirmed by 3 fresh pairs of workers"
    assert len(result.first.base_s) == 10
    assert result.confirmation is not None
    # At the level of a confirmation, ten of ten are not enough.
    assert result.pairs == len(result.confirmation.base_s) == 16
    assert result.change == pytest.approx(factor - 1)
    launches = [launch for name, launch in dealer.log if name == "base"]
    assert launches == [index % 3 for index in range(10)] + [3 + index % 3 for index in range(16)]


def test_the_coin_decides_who_is_launched_first_and_who_goes_first_in_every_pair() -> None:
    dealer = ScriptedDealer(always(1.0))

    judge_paired(dealer, rng=FairCoin(), clock=dealer.clock)

    assert dealer.orders == [True, False, True]
    pairs = [(dealer.log[index][0], dealer.log[index + 1][0]) for index in range(0, len(dealer.log), 2)]
    assert pairs == [("current", "base"), ("base", "current")] * 5


def test_the_same_seed_gives_the_same_order() -> None:
    orders = []
    for seed in (1, 1, 2):
        dealer = ScriptedDealer(always(1.0))
        judge_paired(dealer, rng=random.Random(seed), clock=dealer.clock)
        orders.append(dealer.log)

    assert orders[0] == orders[1] != orders[2]


def test_one_slow_launch_is_no_slow_program() -> None:
    dealer = ScriptedDealer(lambda launch, turn: 1.2 if launch == 0 else 1.0)

    result = judge_paired(dealer, rng=random.Random(1), clock=dealer.clock)

    assert (result.verdict, result.change, result.confirmation) == (GateVerdict.SAME, 0.0, None)


def test_slow_launches_are_no_slow_program_if_fresh_ones_are_not() -> None:
    dealer = ScriptedDealer(lambda launch, turn: 1.2 if launch < 3 else 1.0)

    result = judge_paired(dealer, rng=random.Random(1), clock=dealer.clock)

    assert result.verdict is GateVerdict.SAME
    assert result.change == 0.0
    assert result.reason == "seemed slower (+20.0 % in 10 pairs), not confirmed by 3 fresh pairs of workers"


def test_a_change_that_one_launch_does_not_show_cannot_be_told() -> None:
    dealer = ScriptedDealer(lambda launch, turn: 1.01 if launch == 5 else 1.05)

    result = judge_paired(dealer, rng=random.Random(1), clock=dealer.clock)

    assert result.verdict is GateVerdict.CANNOT_TELL
    assert result.pairs == 600
    assert result.more_pairs is None
    assert result.reason == (
        "seemed changed (+5.0 % in 10 pairs); with fresh workers slower in some launches of its workers "
        "and not in others"
    )


def test_what_stays_open_says_how_many_more_pairs_would_decide() -> None:
    dealer = ScriptedDealer(in_turn(*[1.05, 1.0] * 12, 1.05))  # 13 of 25

    result = judge_paired(dealer, rng=random.Random(1), clock=dealer.clock)

    assert result.verdict is GateVerdict.CANNOT_TELL
    assert result.pairs == 600
    assert result.more_pairs is not None
    # 0.52 is 2.6 standard errors of 0.5 / sqrt(n) from 0.5, as the level asks, with about 4250 pairs.
    assert 3400 < result.more_pairs < 3900
    assert result.reason == "open after 24 s"


def test_no_slower_at_the_end_is_the_same_even_if_it_may_be_faster() -> None:
    dealer = ScriptedDealer(in_turn(0.95, 1.0))

    result = judge_paired(dealer, rng=random.Random(1), clock=dealer.clock)

    assert result.verdict is GateVerdict.SAME
    assert result.reason == "not slower; whether it is faster stayed open"


@pytest.mark.parametrize(
    ("turn_s", "max_time_s", "pairs"),
    [
        (0.5, None, 120),  # 120 s
        (4.0, None, 24),  # 192 s, but no fewer than 24 pairs
        (100.0, None, 9),  # 30 min, whatever has been taken
        (0.5, 10.0, 10),
        (0.5, 400.0, 400),
        (0.001, None, 600),
        (5.0, 1.0, 1),
    ],
)
def test_pairs_are_taken_as_long_as_a_pass_may_take(turn_s: float, max_time_s: float | None, pairs: int) -> None:
    dealer = ScriptedDealer(in_turn(1.05, 1.0), turn_s=turn_s)

    result = judge_paired(dealer, rng=random.Random(1), clock=dealer.clock, max_time_s=max_time_s)

    assert result.verdict is GateVerdict.CANNOT_TELL
    assert result.pairs == pairs
    assert result.confirmation is None


def test_the_last_look_comes_when_the_time_is_over() -> None:
    # Alike for 8 of 10 pairs and 13 of 16: not enough for a look. 19 of 23 are, between two looks.
    dealer = ScriptedDealer(lambda launch, turn: 1.05 if launch == 0 and turn % 2 == 0 else 1.0, turn_s=0.5)

    result = judge_paired(dealer, rng=random.Random(1), clock=dealer.clock, max_time_s=23)

    assert (result.verdict, result.pairs) == (GateVerdict.SAME, 23)


def test_there_is_no_look_before_the_least_number_of_pairs() -> None:
    dealer = ScriptedDealer(always(1.0))

    assert judge_paired(dealer, rng=random.Random(1), clock=dealer.clock, min_pairs=24).pairs == 24


def test_too_few_pairs_decide_nothing_when_the_time_is_over() -> None:
    dealer = ScriptedDealer(always(1.0), turn_s=0.5)

    result = judge_paired(dealer, rng=random.Random(1), clock=dealer.clock, min_pairs=24, max_time_s=20)

    assert (result.verdict, result.pairs, result.more_pairs) == (GateVerdict.CANNOT_TELL, 20, 4)
    assert result.reason == "open after 20 s"


def test_the_tolerance_is_what_is_tested() -> None:
    dealer = ScriptedDealer(always(1.05))

    assert judge_paired(dealer, rng=random.Random(1), tolerance=0.1, clock=dealer.clock).verdict is GateVerdict.SAME


def test_progress_says_what_is_being_done() -> None:
    dealer, lines = ScriptedDealer(always(1.05)), []

    judge_paired(dealer, rng=random.Random(1), clock=dealer.clock, on_progress=lines.append)

    assert len(lines) == 26
    assert lines[0] == "taking turns, 1 pair"
    assert lines[9] == "taking turns, 10 pairs"
    assert lines[25] == "seems slower, taking turns again with fresh workers, 16 pairs"


def test_workers_are_gone_when_a_turn_fails() -> None:
    dealer = ScriptedDealer(lambda launch, turn: 1.05 if launch < 5 else 1 / 0)

    with pytest.raises(ZeroDivisionError):
        judge_paired(dealer, rng=random.Random(1), clock=dealer.clock)

    assert dealer.launched == 6
    assert dealer.alive == set()


def test_a_ratio_is_measured_over_several_launches_until_its_interval_is_narrow() -> None:
    steady = ScriptedDealer(in_turn(2.0, 2.001))
    wide = ScriptedDealer(in_turn(1.9, 2.1))

    narrow_pass = measure_ratio(steady, rng=random.Random(1), clock=steady.clock)
    wide_pass = measure_ratio(wide, rng=random.Random(1), clock=wide.clock)

    assert (len(narrow_pass.base_s), len(wide_pass.base_s)) == (24, 600)
    assert narrow_pass.launches == steady.launched == 3
    assert 1 + narrow_pass.change == pytest.approx(2.0005, rel=1e-6)
