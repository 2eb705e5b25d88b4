from __future__ import annotations

import random

from atlasbench.analysis.pareto import pareto_front


def test_the_front_is_what_no_other_beats_cheapest_first() -> None:
    costs = [3.0, 1.0, 2.0, 4.0, 5.0]
    gains = [70.0, 60.0, 50.0, 80.0, 79.0]

    assert pareto_front(costs, gains) == [1, 0, 3]


def test_of_equal_costs_the_larger_gain_is_on_the_front() -> None:
    assert pareto_front([1, 1], [50, 60]) == [1]


def test_of_equal_gains_the_smaller_cost_is_on_the_front() -> None:
    assert pareto_front([2, 1], [50, 50]) == [1]


def test_of_equal_choices_the_first_is_kept() -> None:
    assert pareto_front([1, 1], [50, 50]) == [0]


def test_no_choice_has_no_front() -> None:
    assert pareto_front([], []) == []


def test_the_front_is_what_comparing_every_pair_finds() -> None:
    chance = random.Random(7)
    for _ in range(200):
        size = chance.randint(1, 12)
        costs = [chance.randint(1, 6) for _ in range(size)]
        gains = [chance.randint(1, 6) for _ in range(size)]
        choices = list(zip(costs, gains, strict=True))
        unbeaten = {
            (cost, gain)
            for cost, gain in choices
            if not any(c <= cost and g >= gain and (c, g) != (cost, gain) for c, g in choices)
        }
        assert [choices[index] for index in pareto_front(costs, gains)] == sorted(unbeaten)
