from __future__ import annotations

import numpy as np
import pytest

from atlasbench.measure.statistics import (
    interval_of_median,
    is_drifting,
    lag1_autocorrelation,
    median,
    quartiles,
    relative_half_width,
)

RUNS = 1500
TRUE_MEDIAN = 1.0


def independent_noise(count: int, rng: np.random.Generator) -> np.ndarray:
    return TRUE_MEDIAN + 0.05 * rng.standard_normal(count)


def skewed_noise(count: int, rng: np.random.Generator) -> np.ndarray:
    return TRUE_MEDIAN * np.exp(0.1 * rng.standard_normal(count))


def autocorrelated_noise(count: int, rng: np.random.Generator, coefficient: float = 0.6) -> np.ndarray:
    shocks = rng.standard_normal(count)
    values = np.empty(count)
    values[0] = shocks[0] / np.sqrt(1 - coefficient**2)  # starts in its stationary distribution
    for index in range(1, count):
        values[index] = coefficient * values[index - 1] + shocks[index]
    return TRUE_MEDIAN + 0.02 * values


def coverage(noise, count: int, interval) -> float:
    rng = np.random.default_rng(20240)
    hits = 0
    for _ in range(RUNS):
        low, high = interval(noise(count, rng))
        hits += low <= TRUE_MEDIAN <= high
    return hits / RUNS


@pytest.mark.parametrize("noise", [independent_noise, skewed_noise, autocorrelated_noise])
@pytest.mark.parametrize("count", [100, 400])
def test_the_interval_holds_the_true_median_in_95_of_100_cases(noise, count: int) -> None:
    assert coverage(noise, count, lambda samples: interval_of_median(samples)[:2]) >= 0.95


@pytest.mark.parametrize("noise", [independent_noise, skewed_noise])
def test_the_interval_holds_the_true_median_with_the_fewest_samples_a_measurement_takes(noise) -> None:
    assert coverage(noise, 40, lambda samples: interval_of_median(samples)[:2]) >= 0.95


def test_an_interval_of_independent_order_statistics_would_miss_autocorrelated_noise() -> None:
    def order_statistics(samples: np.ndarray) -> tuple[float, float]:
        ordered, half = np.sort(samples), 1.96 * np.sqrt(len(samples)) / 2
        return float(ordered[int(len(samples) / 2 - half)]), float(ordered[int(len(samples) / 2 + half)])

    assert coverage(autocorrelated_noise, 400, order_statistics) < 0.85


def test_the_interval_is_the_5th_to_the_16th_of_20_contiguous_batch_medians() -> None:
    batch_medians = [7, 3, 11, 19, 1, 16, 9, 13, 5, 20, 2, 18, 10, 6, 14, 4, 8, 12, 17, 15]
    samples = [value + offset for value in batch_medians for offset in (-0.4, 0.0, 0.4)]
    assert interval_of_median(samples) == (5.0, 16.0, "batch_medians")


def test_with_fewer_than_20_samples_the_interval_is_the_range() -> None:
    samples = [3.0, 1.0, *[2.0] * 16, 9.0]
    assert len(samples) == 19
    assert interval_of_median(samples) == (1.0, 9.0, "range")
    assert interval_of_median([*samples, 2.0])[2] == "batch_medians"


def test_the_interval_always_holds_the_median_it_is_for() -> None:
    samples = [1.0, 1.0, 5.0] * 17 + [9.0, 9.0, 9.0] * 3
    shuffled = [*[5.0, 5.0, 1.0] * 4, *[1.0, 1.0, 9.0] * 16]
    for values in (samples, shuffled):
        low, high, _ = interval_of_median(values)
        assert low <= median(values) <= high


def test_batch_count_and_rank_can_be_chosen() -> None:
    assert interval_of_median([float(value) for value in range(10)], batches=10, rank=2) == (1.0, 8.0, "batch_medians")


def test_median_and_quartiles_interpolate() -> None:
    assert median([4.0, 1.0, 2.0, 3.0]) == 2.5
    assert quartiles([1.0, 2.0, 3.0, 4.0, 5.0]) == (2.0, 4.0)


def test_autocorrelation_of_known_series() -> None:
    assert lag1_autocorrelation([1.0, -1.0] * 500) == pytest.approx(-0.999)
    assert lag1_autocorrelation(list(np.linspace(0, 1, 1000))) == pytest.approx(0.997, abs=0.001)
    rng = np.random.default_rng(3)
    assert lag1_autocorrelation(list(autocorrelated_noise(20_000, rng))) == pytest.approx(0.6, abs=0.02)
    assert lag1_autocorrelation(list(rng.standard_normal(20_000))) == pytest.approx(0.0, abs=0.02)


def test_autocorrelation_is_unknown_below_3_samples_and_without_variation() -> None:
    assert lag1_autocorrelation([1.0, 2.0]) is None
    assert lag1_autocorrelation([2.0, 2.0, 2.0]) is None


def test_half_width_is_relative_to_the_median() -> None:
    samples = [value for value in range(1, 21) for _ in range(2)]
    assert relative_half_width(samples) == pytest.approx((16 - 5) / 2 / 10.5)


@pytest.mark.parametrize("rise", [0.0, 0.015])
def test_noise_and_small_differences_are_no_drift(rise: float) -> None:
    rng = np.random.default_rng(5)
    assert not is_drifting(np.linspace(1, 1 + rise, 100) + 0.001 * rng.standard_normal(100), 0.02)


@pytest.mark.parametrize("samples", [np.linspace(1, 1.06, 100), [*[1.0] * 50, *[1.03] * 50], [1.0, 1.1, 1.2]])
def test_halves_that_differ_by_more_than_the_tolerance_are_drift(samples) -> None:
    assert is_drifting(samples, 0.02)
    assert is_drifting(list(samples)[::-1], 0.02)
    assert not is_drifting(samples, 0.2)


def test_halves_that_differ_by_more_than_the_interval_are_drift() -> None:
    first_half = [1.0, 1.001, 1.001, 1.001] + [1.0, 1.001, 1.001, 1.0] * 9  # 21 of 40: its median is 1.001
    low, high, _ = interval_of_median([*first_half, *[1.0] * 40])
    assert (low, high) == (1.0, 1.0005)
    assert is_drifting([*first_half, *[1.0] * 40], 0.02)


def test_independent_noise_is_called_drift_less_than_once_in_a_hundred_cases() -> None:
    rng = np.random.default_rng(11)
    assert sum(is_drifting(independent_noise(100, rng), 1.0) for _ in range(RUNS)) <= 0.01 * RUNS


def test_one_sample_cannot_drift() -> None:
    assert not is_drifting([1.0], 0.02)
