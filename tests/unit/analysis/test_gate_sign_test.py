from __future__ import annotations

import math
from fractions import Fraction

import pytest

from atlasbench.analysis.gate.constants import FIRST_LEVEL
from atlasbench.analysis.gate.sign_test import estimate_more_pairs, is_above, is_below, median_interval


def tail(heads: int, tosses: int) -> float:
    """Probability of at least so many heads, by counting."""
    return float(Fraction(sum(math.comb(tosses, k) for k in range(heads, tosses + 1)), 2**tosses))


@pytest.mark.parametrize("tosses", [8, 10, 24, 600])
@pytest.mark.parametrize("level", [0.05, FIRST_LEVEL, 0.001])
def test_the_test_rejects_exactly_where_fair_coins_are_rare_enough(tosses: int, level: float) -> None:
    for heads in range(tosses + 1):
        differences = [1.0] * heads + [-1.0] * (tosses - heads)
        assert is_above(differences, 0.0, level) == (tail(heads, tosses) <= level)
        assert is_below([-d for d in differences], 0.0, level) == (tail(heads, tosses) <= level)


def test_a_look_at_ten_pairs_decides_only_if_all_of_them_agree() -> None:
    assert is_above([1.0] * 10, 0.0, FIRST_LEVEL)
    assert not is_above([1.0] * 9 + [-1.0], 0.0, FIRST_LEVEL)


def test_a_difference_that_equals_the_margin_speaks_for_neither_side() -> None:
    assert not is_above([0.5] * 100, 0.5, 0.05)
    assert not is_below([0.5] * 100, 0.5, 0.05)


def test_nothing_is_decided_without_differences() -> None:
    assert not is_above([], 0.0, 0.05)
    assert not is_below([], 0.0, 0.05)


def test_the_interval_runs_between_the_ranks_of_the_tables() -> None:
    # Ranks of the 95 % interval of a median: 2nd to 9th of 10, 6th to 15th of 20 (Conover, table A3).
    assert median_interval(range(1, 11)) == (2, 9)
    assert median_interval(range(1, 21)) == (6, 15)
    assert median_interval([3, 1, 2, 6, 5, 4]) == (1, 6)


def test_five_differences_have_no_interval() -> None:
    assert median_interval([1, 2, 3, 4, 5]) is None


def test_a_clear_majority_needs_few_more_pairs_and_a_close_one_many() -> None:
    clear = [1.0] * 20 + [-1.0] * 5
    close = [1.0] * 13 + [-1.0] * 12

    few, many = (estimate_more_pairs(differences, 0.0, FIRST_LEVEL) for differences in (clear, close))

    assert few is not None
    assert many is not None
    assert few < 25 < 1000 < many
    assert is_above(clear + [1.0] * 4 * few + [-1.0] * few, 0.0, FIRST_LEVEL)


def test_which_side_the_majority_is_on_does_not_matter() -> None:
    differences = [1.0] * 15 + [-1.0] * 10

    assert estimate_more_pairs(differences, 0.0, 0.01) == estimate_more_pairs([-d for d in differences], 0.0, 0.01)


@pytest.mark.parametrize("differences", [[], [1.0, -1.0]])
def test_what_no_number_of_pairs_would_decide_is_not_estimated(differences: list[float]) -> None:
    assert estimate_more_pairs(differences, 0.0, FIRST_LEVEL) is None
