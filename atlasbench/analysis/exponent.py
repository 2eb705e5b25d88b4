"""How fast one number grows with another: the exponent of a power law, with its interval."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

_LEVEL = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Exponent:
    """The slope of a straight line through points in log-log.

    Attributes:
        value: Least squares.
        low: Lower end of a 95 % t interval; None with two points, whose line has nothing left to judge it by.
        high: Upper end.
    """

    value: float
    low: float | None
    high: float | None


def fit_exponent(sizes: Sequence[float], values: Sequence[float]) -> Exponent | None:
    """Fit values = constant x sizes ** exponent.

    The interval is that of a straight line with scattered points: where the curve bends it describes the bend, too.

    Args:
        sizes: Tokens, pixels ...; above 0.
        values: One for each size.

    Returns:
        None below two different sizes, or where a number is not above 0.
    """
    if len(set(sizes)) < 2 or any(not 0 < number <= sys.float_info.max for number in (*sizes, *values)):
        return None
    x, y = np.log(np.asarray(sizes, dtype=float)), np.log(np.asarray(values, dtype=float))
    centred = x - x.mean()
    spread = float(centred @ centred)
    slope = float(centred @ y) / spread
    freedom = len(x) - 2
    if freedom < 1:
        return Exponent(value=slope, low=None, high=None)
    residuals = y - y.mean() - slope * centred
    error = math.sqrt(float(residuals @ residuals) / freedom / spread)
    reach = float(stats.t.ppf((1 + _LEVEL) / 2, freedom)) * error
    return Exponent(value=slope, low=slope - reach, high=slope + reach)
