from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import ttest_ind

from atlasbench.analysis.gate.launches import compare_launches
from atlasbench.analysis.gate.verdicts import GateVerdict

BASE = [1.00, 1.01, 0.99, 1.02, 0.98]


def times(factor: float, base: list[float] = BASE) -> list[float]:
    return [value * factor for value in base]


@pytest.mark.parametrize(
    ("factor", "verdict"),
    [
        (1.0, GateVerdict.SAME),
        (1.05, GateVerdict.SAME),
        (1.10, GateVerdict.CANNOT_TELL),
        (1.20, GateVerdict.SLOWER),
        (1 / 1.20, GateVerdict.FASTER),
        (1 / 1.10, GateVerdict.SAME),
    ],
)
def test_launches_are_judged_against_the_tolerance(factor: float, verdict: GateVerdict) -> None:
    found = compare_launches(BASE, times(factor), 0.10)

    assert found.verdict is verdict
    assert found.change == pytest.approx(factor - 1)


@pytest.mark.parametrize("factor", [1.02, 1.11, 1.13, 1.15])
def test_the_verdict_is_that_of_welchs_test_on_logarithms(factor: float) -> None:
    current = [value * factor for value in (1.0, 1.03, 0.96, 1.01, 1.02, 0.99)]
    shifted = np.log(BASE) + np.log1p(0.10)

    slower = ttest_ind(np.log(current), shifted, equal_var=False, alternative="greater").pvalue <= 0.01
    interval = ttest_ind(np.log(current), np.log(BASE), equal_var=False).confidence_interval(0.95)

    found = compare_launches(BASE, current, 0.10)
    assert (found.verdict is GateVerdict.SLOWER) == slower
    assert found.interval == pytest.approx(np.expm1(interval))


@pytest.mark.parametrize(("base", "current"), [(4, 5), (5, 4), (1, 1)])
def test_fewer_than_five_launches_on_a_side_cannot_tell(base: int, current: int) -> None:
    found = compare_launches([1.0] * base, [2.0] * current, 0.10)

    assert found.verdict is GateVerdict.CANNOT_TELL
    assert found.change == 1.0
    assert found.interval is None


@pytest.mark.parametrize(("factor", "verdict"), [(1.0, GateVerdict.SAME), (1.5, GateVerdict.SLOWER)])
def test_launches_without_any_spread_are_judged_too(factor: float, verdict: GateVerdict) -> None:
    assert compare_launches([1.0] * 5, [factor] * 5, 0.10).verdict is verdict


def test_it_is_estimated_how_many_more_launches_would_decide() -> None:
    close, closest = (compare_launches(BASE, times(factor), 0.10).more for factor in (1.12, 1.1001))

    assert close is not None
    assert 0 < close < 50
    assert compare_launches(BASE * 10, times(1.12) * 10, 0.10).verdict is GateVerdict.SLOWER
    assert closest is None
