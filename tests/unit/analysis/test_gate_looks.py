from __future__ import annotations

import math

import pytest

from atlasbench.analysis.gate.looks import conclude, confirm, suspect
from atlasbench.analysis.gate.verdicts import GateVerdict

TOLERANCE = 0.03
FASTER, SAME, SLOWER, CANNOT_TELL = GateVerdict.FASTER, GateVerdict.SAME, GateVerdict.SLOWER, GateVerdict.CANNOT_TELL


def by(change: float, pairs: int = 16) -> list[float]:
    """Differences of pairs in which the current side takes this much longer."""
    return [math.log1p(change)] * pairs


@pytest.mark.parametrize(
    ("differences", "found"),
    [
        (by(0.04), SLOWER),
        (by(-0.04), FASTER),
        (by(0.02), SAME),
        (by(-0.02), SAME),
        (by(0.0), SAME),
        (by(0.04, 8) + by(0.02, 8), None),
        (by(-0.04, 8) + by(-0.02, 8), None),
        (by(0.04, 7), None),
    ],
)
def test_a_look_at_the_first_pass(differences: list[float], found: GateVerdict | None) -> None:
    assert suspect(differences, TOLERANCE) is found


def test_the_tolerance_decides_what_is_the_same() -> None:
    assert suspect(by(0.04), 0.05) is SAME
    assert suspect(by(0.04), 0.03) is SLOWER


@pytest.mark.parametrize(
    ("differences", "suspicion", "found"),
    [
        (by(0.05, 24), SLOWER, SLOWER),
        (by(0.0, 24), SLOWER, SAME),
        (by(-0.05, 24), SLOWER, SAME),
        (by(-0.05, 24), FASTER, FASTER),
        (by(0.0, 24), FASTER, SAME),
        (by(0.05, 24), FASTER, None),
        (by(0.05, 10), SLOWER, None),
    ],
    ids="{}".format,
)
def test_a_look_at_a_confirmation(differences: list[float], suspicion: GateVerdict, found: GateVerdict | None) -> None:
    assert confirm(differences, TOLERANCE, suspicion) is found


@pytest.mark.parametrize("sign", [1, -1], ids=["slower", "faster"])
def test_one_launch_that_does_not_show_it_withholds_the_verdict(sign: int) -> None:
    # Every third pair is of the third launch, which changes by less than half of the tolerance.
    differences = [sign * math.log1p(0.01 if index % 3 == 2 else 0.05) for index in range(600)]
    suspicion = SLOWER if sign == 1 else FASTER

    assert confirm(differences, TOLERANCE, suspicion) is None
    assert confirm([sign * math.log1p(0.05)] * 600, TOLERANCE, suspicion) is suspicion


@pytest.mark.parametrize(
    ("differences", "found"),
    [
        (by(-0.04, 20) + by(-0.02, 20), SAME),
        (by(0.04, 20) + by(0.02, 20), CANNOT_TELL),
        (by(0.0, 3), CANNOT_TELL),
    ],
)
def test_at_the_end_it_counts_whether_it_is_not_slower(differences: list[float], found: GateVerdict) -> None:
    assert conclude(differences, TOLERANCE, 0.05 / 11) is found
