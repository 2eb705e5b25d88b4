from __future__ import annotations

import pytest

from atlasbench.analysis.gate.turn import Pace, Turn, plan_turns


def pace(iteration_s: float, calls: int = 1) -> Pace:
    return Pace(iteration_s=iteration_s, calls=calls)


@pytest.mark.parametrize(
    ("iteration_s", "calls", "discarded", "counted"),
    [
        (0.001, 1, 5, 10),
        (0.003, 1, 2, 4),
        (0.006, 1, 1, 2),
        (0.010, 1, 1, 1),
        (0.050, 1, 1, 1),
        (0.051, 1, 0, 1),
        (5.0, 1, 0, 1),
        (20e-6, 11, 23, 46),
    ],
    ids=lambda value: f"{value}",
)
def test_a_turn_discards_5_ms_and_counts_10_ms(iteration_s: float, calls: int, discarded: int, counted: int) -> None:
    turn = Turn(calls=calls, discarded=discarded, counted=counted)

    assert plan_turns(pace(iteration_s, calls), pace(iteration_s, calls), are_alike=True) == (turn, turn)


def test_sides_that_are_alike_take_equal_turns_of_the_faster_pace() -> None:
    turn = Turn(calls=3, discarded=1, counted=1)

    assert plan_turns(pace(0.051, 1), pace(0.015, 3), are_alike=True) == (turn, turn)
    assert plan_turns(pace(0.015, 3), pace(0.051, 1), are_alike=True) == (turn, turn)


def test_other_models_take_turns_of_their_own_pace() -> None:
    assert plan_turns(pace(0.001), pace(0.100), are_alike=False) == (
        Turn(calls=1, discarded=5, counted=10),
        Turn(calls=1, discarded=0, counted=1),
    )
