"""Samples -> median, quartiles, an interval for the median, and how much neighbouring samples resemble each other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Samples = Sequence[float] | NDArray[np.float64]


def median(samples: Samples) -> float:
    """Middle of the samples; the mean of the two middle ones where their number is even."""
    return float(np.median(samples))


def quartiles(samples: Samples) -> tuple[float, float]:
    """First and third quartile, interpolated between neighbours."""
    first, third = np.quantile(samples, (0.25, 0.75))
    return float(first), float(third)


def lag1_autocorrelation(samples: Sequence[float]) -> float | None:
    """Correlation of each sample with the next: near 0 for independent samples, near 1 for slow drifts.

    Returns:
        The coefficient, or None below 3 samples or where all are equal.
    """
    if len(samples) < 3:
        return None
    deviations = np.asarray(samples, dtype=float) - np.mean(samples)
    power = float(deviations @ deviations)
    return float(deviations[:-1] @ deviations[1:]) / power if power > 0 else None


def interval_of_median(samples: Sequence[float], batches: int = 20, rank: int = 5) -> tuple[float, float, str]:
    """Interval of at least 95 % for the median of samples that resemble their neighbours.

    The samples are cut, in the order taken, into contiguous batches of equal size (to within one sample). The
    interval reaches from the `rank`-th smallest batch median to the `rank`-th largest. For 20 batches and rank 5 the
    true median lies inside in 98.8 % of cases if batches are independent of each other (binomial), whatever the
    distribution; an interval that takes the samples themselves as independent is far too narrow on a busy machine.

    Args:
        samples: In the order taken.
        batches: Number of batches; with fewer samples than this the interval is their range.
        rank: Which batch medians are the ends, counted from the outside, 1 for the outermost.

    Returns:
        Lower end, upper end, and how they were found: `batch_medians` or `range`.
    """
    if len(samples) < batches:
        return float(min(samples)), float(max(samples)), "range"
    medians = sorted(median(batch) for batch in np.array_split(np.asarray(samples, dtype=float), batches))
    middle = median(samples)
    # A median of batch medians need not be the median of all: the interval must hold the number it is for.
    return min(medians[rank - 1], middle), max(medians[batches - rank], middle), "batch_medians"


def relative_half_width(samples: Sequence[float], batches: int = 20, rank: int = 5) -> float:
    """Half the interval's width as a part of the median."""
    low, high, _ = interval_of_median(samples, batches, rank)
    middle = median(samples)
    return (high - low) / 2 / middle if middle > 0 else float("inf")


def is_drifting(samples: Sequence[float], tolerance: float, batches: int = 20, rank: int = 5) -> bool:
    """Whether the medians of the two halves differ by more than the tolerance, or by more than the interval is wide.

    Either is enough. The tolerance is what catches a steady trend or a step: the interval widens with those. Noise
    alone goes beyond the interval's width less than once in a hundred cases.
    """
    half = len(samples) // 2
    if half == 0:
        return False
    low, high, _ = interval_of_median(samples, batches, rank)
    difference = abs(median(samples[-half:]) - median(samples[:half]))
    return difference > min(tolerance * median(samples), high - low)
