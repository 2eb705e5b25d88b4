from __future__ import annotations

import pytest
from hand_made import make_counts, make_plan

from atlasbench.core.plan import Plan
from atlasbench.core.protocol import QUICK, Protocol
from atlasbench.sweep.estimate import estimate_turns_seconds

PROTOCOL = Protocol()
PEAK = 100
ROOM = round(1.3 * 3 * 2 * PEAK)  # for three workers of each side, and what their allocators hold beside tensors


def side(step_s: float) -> Plan:
    """A plan whose step takes this long at half the speed of 2 GFLOP/s."""
    return make_plan(counts=make_counts(round(step_s * 1e9), predicted_peak_bytes=PEAK))


def seconds_of(step_s: float, baseline_s: float, protocol: Protocol = PROTOCOL, memory_bytes: int = ROOM) -> float:
    return estimate_turns_seconds((side(step_s), side(baseline_s)), protocol, 2e9, memory_bytes)


def test_short_steps_take_six_launches_and_24_pairs_of_short_turns() -> None:
    assert seconds_of(1e-3, 1e-3) == pytest.approx(6 * (2 + PROTOCOL.warmup_min_s + 0.001) + 24 * 2 * 0.015)


def test_steps_of_a_second_take_the_time_of_the_protocol() -> None:
    launches_s = 3 * ((2 + 20 + 1) + (2 + 30 + 2))

    assert seconds_of(1.0, 2.0) == pytest.approx(launches_s + PROTOCOL.hard_stop_s)
    assert seconds_of(0.4, 0.1, QUICK) == pytest.approx(3 * ((2 + 4 + 0.4) + (2 + 1 + 0.1)) + 12)


def test_long_steps_take_six_pairs_within_half_an_hour() -> None:
    assert seconds_of(20.0, 30.0) == pytest.approx(3 * (42 + 62) + 6 * 50)
    assert seconds_of(200.0, 300.0) == pytest.approx(3 * (402 + 602) + 1800)


def test_where_the_workers_do_not_fit_together_every_turn_warms_up() -> None:
    assert seconds_of(20.0, 30.0, memory_bytes=ROOM - 1) == pytest.approx((42 + 62) + 6 * (42 + 62 + 50))


def test_models_that_cannot_be_counted_take_at_least_the_fixed_part() -> None:
    sides = (make_plan(counts=None), make_plan(counts=None))

    assert estimate_turns_seconds(sides, PROTOCOL, 2e9, 0) == pytest.approx(6 * 2.5 + 24 * 0.03)


def test_there_is_no_estimate_without_a_speed() -> None:
    assert estimate_turns_seconds((side(1.0), side(1.0)), PROTOCOL, 0.0, ROOM) == 0
