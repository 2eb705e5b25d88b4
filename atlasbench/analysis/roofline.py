"""How close a step comes to what its device can do: arithmetic against memory traffic.

Source: Williams, Waterman and Patterson, "Roofline: an insightful visual performance model" (CACM 2009).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from atlasbench.analysis.points import Point, read_time_per_image
from atlasbench.core.record import Counts, Environment, Record
from atlasbench.core.workload import Dtype, Mode, Workload

# What a step moves at least, in times the weights and times the activations. Forward: weights are read, activations
# written and read. Backward: weights read and their gradients written; activations read, their gradients written and
# read. The optimizer's own traffic is not in it.
_WEIGHT_PASSES = {Mode.INFER: 1, Mode.TRAIN: 3}
_ACTIVATION_PASSES = {Mode.INFER: 2, Mode.TRAIN: 5}


@dataclass(frozen=True, slots=True, kw_only=True)
class Roof:
    """The limits of a device, measured.

    Attributes:
        flops_per_s: Of a large matrix product in the arithmetic of the step.
        bytes_per_s: Of a large copy.
        dtype: That arithmetic.
    """

    flops_per_s: float
    bytes_per_s: float
    dtype: str

    @property
    def ridge(self) -> float:
        """FLOPs per byte from which on arithmetic is the limit."""
        return self.flops_per_s / self.bytes_per_s


def find_roof(environment: Environment, dtype: Dtype) -> Roof | None:
    """The limits that hold for steps in this arithmetic; None where they were not measured."""
    flops_per_s = environment.matmul_flops_per_s.get(dtype.torch_name)
    bytes_per_s = environment.copy_bytes_per_s
    if not flops_per_s or not bytes_per_s:
        return None
    return Roof(flops_per_s=flops_per_s, bytes_per_s=bytes_per_s, dtype=dtype.torch_name)


def read_roofline(record: Record) -> Point | None:
    """x: FLOPs per byte, counted, an upper bound; y: FLOPs a second, from the measured time, with its interval."""
    time, counts = read_time_per_image(record), record.measurement.counts
    moved = 0 if counts is None else least_bytes_moved(counts, record.workload)
    if time is None or counts is None or counts.flops <= 0 or moved <= 0:
        return None
    return replace(
        time,
        x=counts.flops * record.workload.batch_size / moved,
        y=counts.flops / time.y,
        low=counts.flops / time.high if time.high else None,
        high=counts.flops / time.low if time.low else None,
    )


def least_bytes_moved(counts: Counts, workload: Workload) -> float:
    """Bytes that a step moves if nothing but weights and the counted operators' outputs leaves the caches."""
    # Autocast keeps the weights in float32.
    weight_bytes = counts.params * (2 if workload.dtype in (Dtype.PURE_BFLOAT16, Dtype.PURE_FLOAT16) else 4)
    weights = _WEIGHT_PASSES[workload.mode] * weight_bytes
    return weights + _ACTIVATION_PASSES[workload.mode] * counts.activation_bytes
