from __future__ import annotations

from dataclasses import replace

import pytest

from atlasbench.analysis.gate.counted import compare_counted
from atlasbench.analysis.gate.verdicts import GateResult, GateVerdict, NewWorkload, WorkloadVerdict

FASTER, SAME, SLOWER, CANNOT_TELL = GateVerdict.FASTER, GateVerdict.SAME, GateVerdict.SLOWER, GateVerdict.CANNOT_TELL


def judged(*verdicts: GateVerdict) -> GateResult:
    return GateResult(
        workloads=tuple(
            WorkloadVerdict(label="vit_b", model="vit_b", verdict=verdict, method="paired turns")
            for verdict in verdicts
        )
    )


@pytest.mark.parametrize(
    ("verdicts", "whole", "is_bad", "is_bad_if_strict"),
    [
        ((SAME, SAME), SAME, False, False),
        ((SAME, FASTER), FASTER, False, False),
        ((SAME, FASTER, CANNOT_TELL), CANNOT_TELL, False, True),
        ((SAME, FASTER, CANNOT_TELL, SLOWER), SLOWER, True, True),
        ((), CANNOT_TELL, False, True),
    ],
)
def test_the_worst_workload_is_the_whole(
    verdicts: tuple[GateVerdict, ...], whole: GateVerdict, is_bad: bool, is_bad_if_strict: bool
) -> None:
    result = judged(*verdicts)

    assert result.verdict is whole
    assert result.is_bad() is is_bad
    assert result.is_bad(strict=True) is is_bad_if_strict


def test_a_workload_that_is_gone_is_no_silent_pass() -> None:
    result = replace(judged(SAME), only_base=("atlas_s",))

    assert result.verdict is CANNOT_TELL
    assert not result.is_bad()
    assert result.is_bad(strict=True)
    assert not replace(judged(SAME), only_current=(NewWorkload(label="a", model="a"),)).is_bad(strict=True)


def test_what_was_not_compared_is_no_silent_pass() -> None:
    result = replace(judged(SAME), gaps=("of the base, 2 unreadable lines skipped",))

    assert result.verdict is CANNOT_TELL
    assert result.is_bad(strict=True)


def test_a_workload_that_runs_no_longer_is_bad_whatever_its_time_was() -> None:
    (item,) = judged(CANNOT_TELL).workloads

    assert GateResult(workloads=(replace(item, is_broken=True),)).is_bad()


def test_a_counted_quantity_that_grew_is_bad_whatever_the_time_says() -> None:
    (item,) = judged(FASTER).workloads
    counted = compare_counted({"params": 100, "flops": 100}, {"params": 100, "flops": 101})

    assert GateResult(workloads=(replace(item, counted=counted),)).is_bad()


@pytest.mark.parametrize(
    ("name", "current", "is_worse"),
    [
        ("params", 1001, True),
        ("params", 999, False),
        ("flops", 1001, True),
        ("flops", 1000, False),
        ("predicted_peak_bytes", 1010, False),
        ("predicted_peak_bytes", 1011, True),
        ("peak_allocated_bytes", 1020, False),
        ("peak_allocated_bytes", 1021, True),
    ],
)
def test_each_quantity_has_a_tolerance_of_its_own(name: str, current: int, is_worse: bool) -> None:
    (change,) = compare_counted({name: 1000}, {name: current, "other": 1})

    assert change.is_worse is is_worse
    assert change.change == pytest.approx(current / 1000 - 1)


def test_tolerances_can_be_set() -> None:
    (change,) = compare_counted({"params": 1000}, {"params": 1100}, {"params": 0.2})

    assert change.tolerance == 0.2
    assert not change.is_worse
