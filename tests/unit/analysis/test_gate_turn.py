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
        (0.250, 1, 1, 1),
        (0.251, 1, 0, 1),
        (5.0, 1, 0, 1),
        (20e-6, 11, 23, 46),
    ],
    ids=lambda value: f"{value}",
)
def test_a_turn_discards_5_ms_and_counts_10_ms(iteration_s: float, calls: int, discarded: int, counted: int) -> None:
    turn = Turn(calls=calls, discarded=discarded, counted=counted)

    assert plan_turns(pace(iteration_s, calls), pace(iteration_s, calls)) == (turn, turn)


def test_sides_of_a_like_pace_take_equal_turns_of_the_faster_one() -> None:
    turn = Turn(calls=1, discarded=1, counted=1)
    batched = Turn(calls=3, discarded=2, counted=4)

    assert plan_turns(pace(0.251), pace(0.249)) == plan_turns(pace(0.249), pace(0.251)) == (turn, turn)
    assert plan_turns(pace(0.001, 3), pace(0.002, 2)) == (batched, batched)


def test_sides_of_another_pace_take_turns_of_their_own() -> None:
    assert plan_turns(pace(0.001), pace(0.300)) == (
        Turn(calls=1, discarded=5, counted=10),
        Turn(calls=1, discarded=0, counted=1),
    )
