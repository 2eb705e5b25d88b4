"""Laws fitted to samples: non-negative least squares on relative errors, and the tests that can refuse a law."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import optimize, stats

from atlasbench.analysis.scaling.samples import Samples, Vector
from atlasbench.core.laws import Law

REFUSAL_LEVEL = 0.005  # of each of the three tests: a law that holds is refused in about one trial of a hundred
_HELD_OUT_SHARE = 3  # one size of three is held out, the largest
_NOTHING = 1e-9  # of the largest size: coefficients that give less count as 0
_TINY = 1e-300


@dataclass(frozen=True, slots=True, kw_only=True)
class LawFit:
    """One law, fitted.

    Attributes:
        law: Which.
        coefficients: (p,) or (p + 1,) of the rows, none below 0.
        predicted: (n,) the curve.
        misfit: Sum of squared relative residuals over their errors.
        freedom: Sizes less coefficients above 0.
        share: Part of the curve at the largest size that is the law's own term; 0 for N.
        worst: Observed less curve over observed, where that is farthest from 0.
        held_out: The same for the largest sizes, as a fit of the smaller ones predicts them.
        is_acceptable: Whether residuals, held-out sizes, and what a faster law would add are within what errors allow.
    """

    law: Law
    coefficients: Vector
    predicted: Vector
    misfit: float
    freedom: int
    share: float
    worst: float
    held_out: float
    is_acceptable: bool


def fit_laws(samples: Samples) -> Mapping[Law, LawFit]:
    """Fit every law of which the samples have a row, in order of growth."""
    return {law: fit_law(samples, law) for law in Law if law is Law.LINEAR or law in samples.growth}


def fit_law(samples: Samples, law: Law) -> LawFit:
    """Fit one law to all sizes, and again without the largest.

    Three tests can refuse it: the misfit of all sizes; its growth when the largest sizes come in, which for least
    squares are the squared recursive residuals (Brown, Durbin and Evans, 1975), so that errors of the prediction are
    accounted for; and how much less it is with the row of a faster law beside, which sees slow bends best.
    """
    rows = samples.rows(law)
    coefficients, misfit = fit_rows(rows, samples)
    predicted = coefficients @ rows
    used = int(np.count_nonzero(coefficients * rows[:, -1] > _NOTHING * predicted[-1]))
    freedom = samples.count - used
    held = max(1, samples.count // _HELD_OUT_SHARE)
    smaller = samples.without_last(held)
    first, first_misfit = fit_rows(rows[:, :-held], smaller)
    foretold = (first @ rows)[-held:]
    return LawFit(
        law=law,
        coefficients=coefficients,
        predicted=predicted,
        misfit=misfit,
        freedom=freedom,
        share=0.0 if law is Law.LINEAR else float(coefficients[-1] * rows[-1, -1] / predicted[-1]),
        worst=_largest(1 - predicted / samples.values),
        held_out=_largest(1 - foretold / samples.values[-held:]),
        is_acceptable=(
            freedom > 0
            and misfit <= refusal_limit(freedom)
            and misfit - first_misfit <= refusal_limit(min(held, freedom))
            and misfit - _least_misfit_with_faster(rows, law, samples) <= refusal_limit(1)
        ),
    )


def _least_misfit_with_faster(rows: Vector, law: Law, samples: Samples) -> float:
    faster = (row for other, row in samples.growth.items() if other.growth > law.growth)
    return min((fit_rows(np.vstack([rows, row]), samples)[1] for row in faster), default=math.inf)


def refusal_limit(freedom: int) -> float:
    """Misfit above which a law is refused."""
    return float(stats.chi2.isf(REFUSAL_LEVEL, freedom))


def fit_rows(rows: Vector, samples: Samples, target: Vector | None = None) -> tuple[Vector, float]:
    """Non-negative least squares on relative errors.

    Args:
        rows: (p, n).
        samples: Values and their relative errors, which are the weights.
        target: (n,) what the rows are to sum to, in place of the values.

    Returns:
        Coefficients (p,), none below 0, and the misfit.
    """
    scale = samples.values * samples.errors
    weighted = rows / scale
    lengths = np.maximum(weighted.max(axis=1), _TINY)  # the solver wants rows of like size
    wanted = samples.values if target is None else target
    solution, norm = optimize.nnls((weighted / lengths[:, None]).T, wanted / scale)
    return solution / lengths, float(norm) ** 2


def _largest(errors: Vector) -> float:
    return float(errors[np.argmax(np.abs(errors))])
