"""About how long a sweep will take, from its counts and the protocol: for planning, never for a record."""

from __future__ import annotations

from collections.abc import Sequence

from atlasbench.core.plan import Plan
from atlasbench.core.protocol import Protocol
from atlasbench.core.record import Measurement

# Share of a large matrix product's speed that whole backbones reach; from trials with Atlas, ViT and ConvNeXt.
_TYPICAL_EFFICIENCY = 0.5
_OVERHEAD_S = 2.0  # fork, build, first touch of the weights


def estimate_seconds(plan: Plan | Measurement, protocol: Protocol, flops_per_s: float) -> float:
    """Wall time of one workload; 0 for one that is already decided.

    Args:
        plan: With the counts.
        protocol: How long warm-up and sampling go on.
        flops_per_s: Speed of a large matrix product on the device.
    """
    if isinstance(plan, Measurement):
        return 0.0
    step_s = plan.counts.flops * plan.workload.batch_size / (flops_per_s * _TYPICAL_EFFICIENCY)
    if step_s > protocol.slow_iteration_s:
        warmup_s = step_s
    else:
        iterations = protocol.warmup_min_windows * protocol.warmup_window
        warmup_s = min(max(iterations * step_s, protocol.warmup_min_s), protocol.warmup_max_s)
    wanted_s = max(protocol.min_time_s, protocol.min_samples * step_s)
    sampling_s = max(min(wanted_s, protocol.hard_stop_s), protocol.floor_samples * step_s)
    return _OVERHEAD_S + warmup_s + sampling_s + step_s


def estimate_sweep(plans: Sequence[Plan | Measurement], protocol: Protocol, flops_per_s: float) -> list[float]:
    """Wall time of each workload, in seconds."""
    return [estimate_seconds(plan, protocol, flops_per_s) for plan in plans]
