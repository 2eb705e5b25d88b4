"""The quantities that growth laws are about: how each is read from a record, and how strictly it is judged."""

from __future__ import annotations

import math
from collections.abc import Sequence

from atlasbench.analysis.scaling.decision import Rules
from atlasbench.core.compat import StrEnum
from atlasbench.core.laws import Law
from atlasbench.core.record import Record, Status
from atlasbench.core.workload import AttentionBackend
from atlasbench.registry import find_claim, find_entry


class Quantity(StrEnum):
    """What grows."""

    ATTENTION = "attention"  # FLOPs of attention and scans
    TOTAL = "total"  # FLOPs
    MEMORY = "memory"  # peak
    LATENCY = "latency"  # of one step

    @property
    def is_counted(self) -> bool:
        """Whether it follows from the shapes, on whatever machine."""
        return self in (Quantity.ATTENTION, Quantity.TOTAL)


# Laws are about tokens; levels that are padded by unequal shares, and mix windows of unequal size, bend them by less
# than this in every model of the registry (tests/unit/analysis/test_scaling_models.py).
COUNT_TOLERANCE = 0.01

# The step's peak moves from layer to layer as the image grows, and allocators round.
MEMORY_TOLERANCE = {"predicted": 0.03, "allocated": 0.03, "resident_growth": 0.1}

# Launches of one program differ by one or two percent (docs/measurement.md), and kernels gain or lose efficiency as
# tensors grow: together, beside a record's own interval.
LATENCY_TOLERANCE = 0.03
# A row that did not settle is known half as well as its interval says.
UNSETTLED = 2.0
_INTERVAL_REACH = 1.96  # standard deviations to each end of an interval of 95 %

# Kernels that lose a quarter of their speed between the smallest and the largest size look like a quarter of N^1.5,
# and maps that are smaller than a window or a segment like a sixth of N log N: neither is held against a claim.
RULES = {
    Quantity.ATTENTION: Rules(is_exact=True, is_strict=True, ruled_out=0.2, failing=0.2, least_sizes=3),
    Quantity.TOTAL: Rules(is_exact=True, is_strict=False, ruled_out=0.2, failing=0.2, least_sizes=3),
    Quantity.MEMORY: Rules(is_exact=False, is_strict=False, ruled_out=1 / 2, failing=1 / 3, least_sizes=4),
    Quantity.LATENCY: Rules(is_exact=False, is_strict=False, ruled_out=1 / 2, failing=1 / 3, least_sizes=4),
}


def read_value(record: Record, quantity: Quantity) -> float | None:
    """The value of a quantity, or None where the record has none; FLOPs that could not all be counted are none."""
    measurement = record.measurement
    if quantity.is_counted:
        counts = measurement.counts
        if counts is None or counts.uncounted:
            return None
        return counts.flops if quantity is Quantity.TOTAL else counts.flops_by_part.get("attention", 0)
    if measurement.status is not Status.OK:
        return None
    if quantity is Quantity.MEMORY:
        return measurement.memory.peak_bytes if measurement.memory else None
    return measurement.timing.latency_s if measurement.timing else None


def read_error(record: Record, quantity: Quantity) -> float:
    """Relative standard deviation to be expected of a value around its law."""
    if quantity.is_counted:
        return COUNT_TOLERANCE
    measurement = record.measurement
    if quantity is Quantity.MEMORY:
        method = measurement.memory.method if measurement.memory else ""
        return MEMORY_TOLERANCE.get(method, max(MEMORY_TOLERANCE.values()))
    timing = measurement.timing
    if timing is None:
        return math.inf
    noise = (timing.latency_high_s - timing.latency_low_s) / (2 * _INTERVAL_REACH * timing.latency_s)
    return math.hypot(noise * (1 if timing.converged else UNSETTLED), LATENCY_TOLERANCE)


def find_claim_on(records: Sequence[Record], quantity: Quantity) -> Law | None:
    """What the registry's claim about the model of a series says about a quantity.

    FLOPs and time follow attention. Memory claims less where fused attention keeps no scores, at any of the sizes.
    """
    workload = records[0].workload
    entry, claim = find_entry(workload.model), find_claim(workload.model, workload.options)
    if entry is None or claim is None or quantity is not Quantity.MEMORY:
        return claim
    keeps_scores = workload.attention_backend is AttentionBackend.MATH or any(map(_ran_math, records))
    return claim if keeps_scores or claim.growth < entry.memory_claim.growth else entry.memory_claim


def _ran_math(record: Record) -> bool:
    """Whether a kernel that keeps scores ran, alone or beside others."""
    return "math" in record.measurement.kernels.get("attention", "").split("+")
