"""Welch's t test on launches: what two files of records can say about a time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median, variance

from scipy.stats import t as student

from atlasbench.analysis.gate.constants import CONFIDENCE, FILE_LAUNCHES, FILE_LEVEL
from atlasbench.analysis.gate.verdicts import GateVerdict

_FORESEEN = 200  # launches a side; what would take more is better judged in turns


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchComparison:
    """Two groups of launches, compared.

    Attributes:
        verdict: Of the current side.
        change: Of the time, relative: over 0 is slower.
        interval: Of 95 % for the change; None with fewer launches than it takes to judge.
        more: About how many more launches a side would decide; None where not known.
    """

    verdict: GateVerdict
    change: float
    interval: tuple[float, float] | None = None
    more: int | None = None


def compare_launches(base_s: Sequence[float], current_s: Sequence[float], tolerance: float) -> LaunchComparison:
    """Tell whether the current launches are slower by more than the tolerance.

    Launches are samples, iterations are not: those of one launch share what is particular to it.

    Args:
        base_s: Median time of a step of each launch of the base, in seconds.
        current_s: Of the current side.
        tolerance: Change of the time that still is the same, relative.

    Returns:
        `cannot tell` with fewer than 5 launches on a side.
    """
    if min(len(base_s), len(current_s)) < FILE_LAUNCHES:
        return LaunchComparison(verdict=GateVerdict.CANNOT_TELL, change=median(current_s) / median(base_s) - 1)
    base, current = ([math.log(value) for value in side] for side in (base_s, current_s))
    difference = fmean(current) - fmean(base)
    error, freedom = _welch(base, current)
    margin = math.log1p(tolerance)
    needed = float(student.isf(FILE_LEVEL, freedom)) * error
    reach = float(student.isf((1 - CONFIDENCE) / 2, freedom)) * error
    if difference - margin > needed:
        verdict = GateVerdict.SLOWER
    elif -difference - margin > needed:
        verdict = GateVerdict.FASTER
    elif margin - difference > needed:
        verdict = GateVerdict.SAME
    else:
        verdict = GateVerdict.CANNOT_TELL
    return LaunchComparison(
        verdict=verdict,
        change=math.expm1(difference),
        interval=(math.expm1(difference - reach), math.expm1(difference + reach)),
        more=_estimate_more(base, current, margin) if verdict is GateVerdict.CANNOT_TELL else None,
    )


def _welch(base: Sequence[float], current: Sequence[float]) -> tuple[float, float]:
    """Standard error of the difference of two means, and its degrees of freedom (Welch-Satterthwaite)."""
    shares = [variance(side) / len(side) for side in (base, current)]
    if not sum(shares):
        return 0.0, 1.0
    freedom = sum(shares) ** 2 / sum(
        share**2 / (len(side) - 1) for share, side in zip(shares, (base, current), strict=True)
    )
    return math.sqrt(sum(shares)), freedom


def _estimate_more(base: Sequence[float], current: Sequence[float], margin: float) -> int | None:
    """Launches a side that would decide on which side of the margin the change is, if they fall as these did."""
    distance = abs(fmean(current) - fmean(base) - margin)
    spread = math.sqrt(variance(base) + variance(current))
    fewest = min(len(base), len(current))
    for launches in range(fewest + 1, _FORESEEN):
        if distance > student.isf(FILE_LEVEL, 2 * (launches - 1)) * spread / math.sqrt(launches):
            return launches - fewest
    return None
