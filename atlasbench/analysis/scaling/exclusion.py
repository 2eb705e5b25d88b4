"""Which faster growth the samples rule out, and how many larger sizes would."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from atlasbench.analysis.scaling.fits import LawFit, fit_laws, fit_rows, refusal_limit
from atlasbench.analysis.scaling.samples import Samples
from atlasbench.core.laws import Law

_MOST_LARGER = 3  # sizes looked ahead
_PLANNED = 2  # times the misfit that rules out, so that noise is not likely to undo a plan


def possible_laws(
    samples: Samples, fits: Mapping[Law, LawFit], allowed: Sequence[Law], share: float, margin: float = 1
) -> Iterator[Law]:
    """Laws faster than the allowed ones that may make up this share of the largest size, in order of growth.

    A share is ruled out when the best curve that has it, with whatever the allowed laws add, misfits by more than
    chance beyond the best curve that is free (a profile likelihood).

    Args:
        samples: What was fitted.
        fits: Of every law.
        allowed: Laws that may hold.
        share: Of the largest value, above 0.
        margin: Times the misfit that is needed.
    """
    fastest = max(law.growth for law in allowed)
    largest = _best(fits, allowed).predicted[-1]
    rows = np.vstack([samples.base, *(samples.growth[law] for law in allowed if law in samples.growth)])
    for law in fits:
        if law.growth > fastest:
            row = samples.growth[law]
            _, free = fit_rows(np.vstack([rows, row]), samples)
            _, held = fit_rows(rows, samples, samples.values - share * largest * row / row[-1])
            if held - free <= margin * refusal_limit(1):
                yield law


def larger_sizes_needed(samples: Samples, fits: Mapping[Law, LawFit], allowed: Sequence[Law], share: float) -> int:
    """How many more sizes, each of twice the side of the one before, would rule faster growth out; 0 if 3 do not."""
    best = _best(fits, allowed)
    longer = samples.with_values(best.predicted)
    for count in range(1, _MOST_LARGER + 1):
        longer = longer.with_larger()
        longer = longer.with_values(best.coefficients @ longer.rows(best.law))
        if not outgrowing(possible_laws(longer, fit_laws(longer), allowed, share, _PLANNED)):
            return count
    return 0


def outgrowing(laws: Iterator[Law] | Sequence[Law]) -> list[Law]:
    """Those that outgrow a logarithm: what a claim is held to."""
    return [law for law in laws if law.growth > Law.LINEAR_LOG.growth]


def mean_error(samples: Samples) -> float:
    """Typical relative error of a size."""
    return float(np.sqrt(np.mean(samples.errors**2)))


def _best(fits: Mapping[Law, LawFit], allowed: Sequence[Law]) -> LawFit:
    return min((fits[law] for law in allowed), key=lambda fit: fit.misfit)
