"""About how long a sweep will take, from its counts and the protocol: for planning, never for a record."""

from __future__ import annotations

from collections.abc import Sequence

from atlasbench.analysis.gate.constants import (
    DISCARDED_S,
    LAUNCHES,
    MAX_TIME_S,
    NO_DISCARD_ABOVE_S,
    PASS_PAIRS,
    RATIO_PAIRS,
    TURN_S,
)
from atlasbench.analysis.gate.room import fit_together
from atlasbench.core.plan import Plan
from atlasbench.core.protocol import Protocol
from atlasbench.core.record import Measurement

# Share of a large matrix product's speed that whole backbones reach; from trials with Atlas, ViT and ConvNeXt.
_TYPICAL_EFFICIENCY = 0.5
_OVERHEAD_S = 2.0  # fork, build, first touch of the weights


def estimate_seconds(plan: Plan | Measurement, protocol: Protocol, flops_per_s: float) -> float:
    """Wall time of one workload; 0 for one that is already decided, and where the speed is not known.

    Args:
        plan: With the counts.
        protocol: How long warm-up and sampling go on.
        flops_per_s: Speed of a large matrix product on the device.
    """
    if isinstance(plan, Measurement) or flops_per_s <= 0:
        return 0.0
    step_s = _step_seconds(plan, flops_per_s)
    warmup_s = _warmup_seconds(step_s, protocol)
    wanted_s = max(protocol.min_time_s, protocol.min_samples * step_s)
    sampling_s = max(min(wanted_s, protocol.hard_stop_s), protocol.floor_samples * step_s)
    return min(_OVERHEAD_S + warmup_s + sampling_s + step_s, protocol.timeout_s)


def estimate_turns_seconds(sides: Sequence[Plan], protocol: Protocol, flops_per_s: float, memory_bytes: int) -> float:
    """Wall time of taking turns; 0 where the speed is not known.

    Args:
        sides: The workload and its baseline.
        protocol: How long to warm up, and to take pairs.
        flops_per_s: Speed of a large matrix product on the device.
        memory_bytes: Of the device: where the workers do not fit together, one is launched for each turn.
    """
    if flops_per_s <= 0:
        return 0.0
    steps_s = [_step_seconds(side, flops_per_s) for side in sides]
    # When it is warm, a worker looks how many iterations make a turn.
    launch_s = sum(_OVERHEAD_S + _warmup_seconds(step_s, protocol) + step_s for step_s in steps_s)
    pair_s = sum(map(_turn_seconds, steps_s))
    peaks = [side.counts.predicted_peak_bytes for side in sides if side.counts]
    launches = LAUNCHES
    if not fit_together(peaks, sides[0].workload.device_type, memory_bytes):
        launches = 1  # to see how many iterations make a turn
        pair_s += launch_s
    pairs_s = max(min(PASS_PAIRS * pair_s, protocol.hard_stop_s), RATIO_PAIRS * pair_s)
    return launches * launch_s + min(pairs_s, MAX_TIME_S)


def _step_seconds(plan: Plan, flops_per_s: float) -> float:
    flops = plan.counts.flops if plan.counts else 0  # of a model that cannot be counted, only the fixed part
    return flops * plan.workload.batch_size / (flops_per_s * _TYPICAL_EFFICIENCY)


def _turn_seconds(step_s: float) -> float:
    return step_s if step_s > NO_DISCARD_ABOVE_S else max(2 * step_s, DISCARDED_S + TURN_S)


def _warmup_seconds(step_s: float, protocol: Protocol) -> float:
    if step_s > protocol.slow_iteration_s:
        return step_s
    iterations = protocol.warmup_min_windows * protocol.warmup_window
    return min(max(iterations * step_s, protocol.warmup_min_s), protocol.warmup_max_s)


def time_left(
    weights: Sequence[float], index: int, finished_s: float, current_s: float, *, are_seconds: bool
) -> float | None:
    """Seconds that the rest of a sweep will take at the pace of what is finished.

    Args:
        weights: What each workload was thought to take, more than 0.
        index: The workload in hand.
        finished_s: What those before it took, together.
        current_s: What this one has taken so far.
        are_seconds: Whether weights are seconds, so that there is a pace before anything is finished.

    Returns:
        None where there is no pace yet.
    """
    if index == 0 and not are_seconds:
        return None
    pace = finished_s / sum(weights[:index]) if index else 1.0
    return max(pace * weights[index] - current_s, 0.0) + pace * sum(weights[index + 1 :])
