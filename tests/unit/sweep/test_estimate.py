from __future__ import annotations

import pytest
from hand_made import failed, make_counts, make_plan, make_workload

from atlasbench.core.protocol import QUICK, Protocol
from atlasbench.core.record import Status
from atlasbench.sweep.estimate import estimate_seconds, time_left

PROTOCOL = Protocol()


def seconds_of(step_s: float, protocol: Protocol = PROTOCOL, batch_size: int = 1) -> float:
    """The estimate for a step that takes this long at half the speed of 2 GFLOP/s."""
    plan = make_plan(make_workload(batch_size=batch_size), counts=make_counts(round(step_s * 1e9 / batch_size)))
    return estimate_seconds(plan, protocol, 2e9)


def test_a_short_step_takes_the_least_warm_up_and_sampling() -> None:
    assert seconds_of(1e-3) == pytest.approx(2 + PROTOCOL.warmup_min_s + PROTOCOL.min_time_s, abs=0.1)


def test_a_step_of_a_second_takes_forty_samples() -> None:
    assert seconds_of(1.0) == pytest.approx(2 + 20 + 40 + 1)


def test_a_very_long_step_takes_three_samples() -> None:
    assert seconds_of(100.0) == pytest.approx(2 + 100 + 300 + 100)


def test_no_workload_takes_longer_than_its_limit() -> None:
    assert seconds_of(10_000.0) == PROTOCOL.timeout_s


def test_the_estimate_grows_with_the_step_and_shrinks_with_the_quick_preset() -> None:
    estimates = [seconds_of(10.0**power) for power in range(-4, 3)]

    assert estimates == sorted(estimates)
    assert all(seconds_of(10.0**power, QUICK) < seconds_of(10.0**power) for power in range(-4, 2))


def test_the_whole_batch_counts() -> None:
    assert seconds_of(1.0, batch_size=8) == pytest.approx(seconds_of(1.0))


def test_what_is_decided_already_takes_no_time() -> None:
    assert estimate_seconds(failed(Status.UNSUPPORTED, "no"), PROTOCOL, 1e9) == 0


def test_there_is_no_estimate_without_a_speed() -> None:
    assert estimate_seconds(make_plan(), PROTOCOL, 0.0) == 0


def test_a_model_that_cannot_be_counted_takes_at_least_the_fixed_part() -> None:
    assert estimate_seconds(make_plan(counts=None), PROTOCOL, 1e9) == pytest.approx(2 + 0.5 + 3)


@pytest.mark.parametrize(
    ("index", "finished_s", "current_s", "expected"),
    [
        (0, 0.0, 0.0, 10.0),  # as estimated
        (0, 0.0, 0.5, 9.5),
        (0, 0.0, 60.0, 9.0),  # the one in hand is overdue; the others are not begun
        (1, 2.0, 0.0, 18.0),  # twice as slow as thought
        (2, 1.5, 1.0, 2.5),
    ],
)
def test_time_left_follows_the_pace_so_far(index: int, finished_s: float, current_s: float, expected: float) -> None:
    weights = [1.0, 2.0, 7.0]

    assert time_left(weights, index, finished_s, current_s, are_seconds=True) == pytest.approx(expected)


def test_time_left_is_not_known_before_anything_is_finished_if_nothing_was_estimated() -> None:
    assert time_left([1.0, 1.0], 0, 0.0, 5.0, are_seconds=False) is None
    assert time_left([1.0, 1.0], 1, 4.0, 1.0, are_seconds=False) == pytest.approx(3.0)
