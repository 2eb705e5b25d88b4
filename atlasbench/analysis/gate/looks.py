"""What a look at paired differences decides: in the first pass, in its confirmation, and when time is over."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median

from atlasbench.analysis.gate.constants import CONFIRMATION_LEVEL, FIRST_LEVEL, LAUNCH_EFFECT, LAUNCHES
from atlasbench.analysis.gate.sign_test import is_above, is_below
from atlasbench.analysis.gate.verdicts import GateVerdict


def suspect(differences: Sequence[float], tolerance: float) -> GateVerdict | None:
    """Look at the first pass.

    Args:
        differences: d = ln(time of the current side / time of the base) of each pair.
        tolerance: Change of the time that still is the same, relative.

    Returns:
        `slower` and `faster` are suspicions, to be confirmed; `same` is final: changed by less than the tolerance in
        both directions. None: more pairs are needed.
    """
    margin = math.log1p(tolerance)
    if is_above(differences, margin, FIRST_LEVEL):
        return GateVerdict.SLOWER
    if is_below(differences, -margin, FIRST_LEVEL):
        return GateVerdict.FASTER
    if is_below(differences, margin, FIRST_LEVEL) and is_above(differences, -margin, FIRST_LEVEL):
        return GateVerdict.SAME
    return None


def confirm(differences: Sequence[float], tolerance: float, suspicion: GateVerdict) -> GateVerdict | None:
    """Look at the pass that measures a suspicion again.

    Args:
        differences: Of fresh workers only, that were dealt in turn.
        tolerance: As in the first pass.
        suspicion: `slower` or `faster`.

    Returns:
        The suspicion, if the test rejects and every launch shows it; `same`, if the opposite is found and it is not
        slower. None: more pairs are needed.
    """
    margin = math.log1p(tolerance)
    sign = 1 if suspicion is GateVerdict.SLOWER else -1
    mirrored = [sign * d for d in differences]
    if is_above(mirrored, margin, CONFIRMATION_LEVEL) and launches_agree(mirrored, margin):
        return suspicion
    if is_below(mirrored, margin, CONFIRMATION_LEVEL) and is_not_slower(differences, tolerance, CONFIRMATION_LEVEL):
        return GateVerdict.SAME
    return None


def conclude(differences: Sequence[float], tolerance: float, level: float) -> GateVerdict:
    """What can be said when there will be no more pairs: at least whether it is not slower."""
    return GateVerdict.SAME if is_not_slower(differences, tolerance, level) else GateVerdict.CANNOT_TELL


def is_not_slower(differences: Sequence[float], tolerance: float, level: float) -> bool:
    """Whether it did not get slower by as much as the tolerance."""
    return is_below(differences, math.log1p(tolerance), level)


def launches_agree(differences: Sequence[float], margin: float) -> bool:
    """Whether every launch by itself shows a part of the margin: one slow launch is no slow program.

    Where each pair has workers of its own, every third of them does.
    """
    groups = (differences[index::LAUNCHES] for index in range(LAUNCHES))
    return all(group and median(group) > LAUNCH_EFFECT * margin for group in groups)
