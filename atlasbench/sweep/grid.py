"""From a request (lists of models, sizes, batches ...) to its workloads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from atlasbench.core.errors import InvalidWorkloadError, ScaleDropError
from atlasbench.core.record import workload_key
from atlasbench.core.resolution import Resolution
from atlasbench.core.scales import (
    check_scale_drop,
    default_scale_drop,
    format_scale_drop,
    parse_scale_drop,
    token_grids,
)
from atlasbench.core.workload import AttentionBackend, Dtype, MemoryFormat, Mode, Workload
from atlasbench.registry import find_entry, has_scales

_SCALE_OPTIONS = ("patch_size", "window_size", "downsample_stride")


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepRequest:
    """A grid of workloads: every combination of the lists is one.

    Attributes:
        models: Names as typed.
        resolutions: Input sizes.
        batch_sizes: Images per step.
        scale_drops: For models with scales; empty for their default. Each is used where it fits.
        modes: Inference, training, or both.
        dtypes: Arithmetic; `auto` is resolved by the device.
        device: `cpu`, `cuda:0` or `meta`.
        compiled: Whether to compile.
        memory_format: Layout of 4-dimensional tensors.
        attention_backend: Which scaled-dot-product kernel may run.
        options: Arguments of every model that differ from its defaults.
    """

    models: Sequence[str]
    resolutions: Sequence[Resolution]
    batch_sizes: Sequence[int] = (1,)
    scale_drops: Sequence[str] = ()
    modes: Sequence[Mode] = (Mode.INFER,)
    dtypes: Sequence[Dtype] = (Dtype.AUTO,)
    device: str = "cpu"
    compiled: bool = False
    memory_format: MemoryFormat = MemoryFormat.CONTIGUOUS
    attention_backend: AttentionBackend = AttentionBackend.AUTO
    options: Mapping[str, Any] = field(default_factory=dict)


def expand_request(request: SweepRequest) -> list[Workload]:
    """Every workload of a request, in the order of its lists, models outermost; duplicates are dropped.

    Raises:
        InvalidWorkloadError: If a value can never be measured.
        ScaleDropError: If a scale drop fits no resolution, a resolution is left with none, or no model has scales.
    """
    if not request.models:
        raise InvalidWorkloadError("Name at least one model. See `atlasbench models`.")
    if request.scale_drops and not any(map(has_scales, request.models)):
        raise ScaleDropError(
            f"--drop applies to models with scales (atlas*), and {', '.join(request.models)} has none: leave it out."
        )
    workloads: dict[tuple[Any, ...], Workload] = {}
    for model in request.models:
        drops = _drops_by_resolution(model, request)
        for resolution, batch_size, mode, dtype in product(
            request.resolutions, request.batch_sizes, request.modes, request.dtypes
        ):
            for drop in drops[resolution]:
                workload = Workload(
                    model=model,
                    resolution=resolution,
                    options=dict(request.options),
                    scale_drop=drop,
                    batch_size=batch_size,
                    mode=mode,
                    dtype=resolve_dtype(dtype, request.device),
                    device=request.device,
                    compiled=request.compiled,
                    memory_format=request.memory_format,
                    attention_backend=request.attention_backend,
                )
                workloads[workload_key(workload)] = workload
    return list(workloads.values())


def resolve_dtype(dtype: Dtype, device: str) -> Dtype:
    """What `auto` stands for: bfloat16 autocast on an accelerator, float32 on a CPU and when only counting."""
    if dtype is not Dtype.AUTO:
        return dtype
    return Dtype.FLOAT32 if device.partition(":")[0] in ("cpu", "meta") else Dtype.BFLOAT16


def _drops_by_resolution(model: str, request: SweepRequest) -> dict[Resolution, list[str]]:
    """Scale drops to run a model with at each resolution; one empty text where it has no scales."""
    fixed = "depths" in request.options or request.options.get("composition") == "conv"
    if not has_scales(model) or fixed:
        for resolution in request.resolutions:
            if has_scales(model):
                _number_of_scales(model, resolution, request.options)
        if fixed and request.scale_drops:
            raise ScaleDropError("--drop and the option depths (or composition=conv) exclude each other: give one.")
        return {resolution: [""] for resolution in request.resolutions}
    scales = {resolution: _number_of_scales(model, resolution, request.options) for resolution in request.resolutions}
    if not request.scale_drops:
        return {resolution: [_default_drop(count, request.options)] for resolution, count in scales.items()}
    parsed = [parse_scale_drop(drop) for drop in request.scale_drops]
    chosen = {
        resolution: [format_scale_drop(drop) for drop in parsed if drop is None or len(drop) == count]
        for resolution, count in scales.items()
    }
    for drop in parsed:
        if not any(format_scale_drop(drop) in drops for drops in chosen.values()):
            resolution, count = next(iter(scales.items()))
            check_scale_drop(drop, count, f"{model} at {resolution} px")
    for resolution, drops in chosen.items():
        if not drops:
            check_scale_drop(parsed[0], scales[resolution], f"{model} at {resolution} px")
    return chosen


def _number_of_scales(model: str, resolution: Resolution, options: Mapping[str, Any]) -> int:
    entry = find_entry(model)
    arguments = {**(entry.arguments if entry else {}), **options}
    given = {name: int(arguments[name]) for name in _SCALE_OPTIONS if name in arguments}
    return len(token_grids(resolution, **given))


def _default_drop(num_scales: int, options: Mapping[str, Any]) -> str:
    return "none" if options.get("composition") == "stack" else format_scale_drop(default_scale_drop(num_scales))
