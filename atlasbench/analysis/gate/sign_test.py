"""Exact sign tests on paired differences.

A difference is d = ln(time of the current side / time of the base) of one pair of turns. Which side goes first is a
fair coin, so under equality the sign of d is fair, too, whatever the machine does; nothing else is assumed.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from scipy.stats import binom

from atlasbench.analysis.gate.constants import CONFIDENCE

_FORESEEN = 20_000  # pairs; what would take more is not worth foretelling


def is_above(differences: Sequence[float], margin: float, level: float) -> bool:
    """Whether the median difference is greater than a margin: the one-sided sign test rejects that it is not.

    Args:
        differences: d of each pair; one that equals the margin speaks against.
        margin: On the scale of d.
        level: At most this share of tests may reject by chance.
    """
    return sum(d > margin for d in differences) >= _least_count(len(differences), level)


def is_below(differences: Sequence[float], margin: float, level: float) -> bool:
    """Whether the median difference is less than a margin, as `is_above`."""
    return sum(d < margin for d in differences) >= _least_count(len(differences), level)


def median_interval(differences: Sequence[float], confidence: float = CONFIDENCE) -> tuple[float, float] | None:
    """The exact interval for the median difference, from one order statistic to another.

    Returns:
        Its ends; None with too few differences for this confidence (under 6 for 95 %).
    """
    # A value inside is one that the sign tests of both directions do not reject.
    rank = len(differences) - _least_count(len(differences), (1 - confidence) / 2)
    if rank < 0:
        return None
    ordered = sorted(differences)
    return ordered[rank], ordered[-1 - rank]


def estimate_more_pairs(differences: Sequence[float], margin: float, level: float) -> int | None:
    """About how many more pairs would decide on which side of a margin the median is, if they fall as these did.

    Returns:
        A number of pairs; None where there are no differences, or thousands would not decide.
    """
    total = len(differences)
    if not total:
        return None
    above = sum(d > margin for d in differences) / total
    share = max(above, 1 - above)
    totals = np.arange(total + 1, total + _FORESEEN)
    deciding = totals[binom.sf(np.floor(share * totals) - 1, totals, 0.5) <= level]
    return int(deciding[0]) - total if len(deciding) else None


@lru_cache(maxsize=4096)
def _least_count(total: int, level: float) -> int:
    """The fewest of this many fair coins that fall on one side with at most this probability; one more for never."""
    counts = np.arange(total + 2)
    return int(counts[binom.sf(counts - 1, total, 0.5) <= level][0])
