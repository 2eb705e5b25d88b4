from __future__ import annotations

import pytest

from atlasbench.analysis.exponent import fit_exponent


@pytest.mark.parametrize("power", [0.0, 1.0, 1.5, 2.0])
def test_a_power_law_has_its_own_exponent_and_an_interval_without_width(power: float) -> None:
    sizes = [1, 4, 16, 64]

    exponent = fit_exponent(sizes, [3 * size**power for size in sizes])

    assert exponent is not None
    assert (exponent.value, exponent.low, exponent.high) == pytest.approx((power, power, power))


def test_the_interval_is_that_of_a_straight_line_through_scattered_points() -> None:
    # In log2: x = 0 1 2 3, y = 0 1 3 3, by hand: slope 1.1, residual variance 0.35, standard error sqrt(0.07),
    # and 4.3027 for t with 2 degrees of freedom.
    exponent = fit_exponent([1, 2, 4, 8], [1, 2, 8, 8])

    assert exponent is not None
    assert exponent.value == pytest.approx(1.1)
    assert exponent.high == pytest.approx(1.1 + 4.3027 * 0.07**0.5, abs=1e-4)
    assert exponent.low == pytest.approx(1.1 - 4.3027 * 0.07**0.5, abs=1e-4)


def test_two_points_have_a_slope_and_no_interval() -> None:
    exponent = fit_exponent([1, 4], [5, 80])

    assert exponent is not None
    assert exponent.value == pytest.approx(2)
    assert (exponent.low, exponent.high) == (None, None)


@pytest.mark.parametrize(
    ("sizes", "values"),
    [
        ([], []),
        ([4], [1]),
        ([4, 4, 4], [1, 2, 3]),
        ([1, 4], [0, 3]),
        ([1, 4], [-1, 3]),
        ([1, 4], [1, float("nan")]),
        ([1, 4], [1, 10**400]),
    ],
)
def test_nothing_is_fitted_to_one_size_or_to_numbers_without_a_logarithm(
    sizes: list[float], values: list[float]
) -> None:
    assert fit_exponent(sizes, values) is None
