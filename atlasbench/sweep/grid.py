"""From a request (lists of models, sizes, batches ...) to its workloads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from atlasbench.core.errors import InvalidOptionError, InvalidWorkloadError, ScaleDropError
from atlasbench.core.record import workload_key
from atlasbench.core.resolution import Resolution
from atlasbench.core.scales import (
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
                    dtype=dtype,
                    device=request.device,
                    compiled=request.compiled,
                    memory_format=request.memory_format,
                    attention_backend=request.attention_backend,
                )
                workloads[workload_key(workload)] = workload
    return list(workloads.values())


def _drops_by_resolution(model: str, request: SweepRequest) -> dict[Resolution, list[str]]:
    """Scale drops to run a model with at each resolution; one empty text where none applies."""
    if not has_scales(model):
        return {resolution: [""] for resolution in request.resolutions}
    scales = {resolution: _number_of_scales(model, resolution, request.options) for resolution in request.resolutions}
    if "depths" in request.options or request.options.get("composition") == "conv":
        if request.scale_drops:
            raise ScaleDropError("--drop and the option depths (or composition=conv) exclude each other: give one.")
        return {resolution: [""] for resolution in scales}
    if not request.scale_drops:
        return {resolution: [_default_drop(count, request.options)] for resolution, count in scales.items()}
    drops = [parse_scale_drop(drop) for drop in request.scale_drops]
    _check_all_are_used(model, drops, scales)
    return {
        resolution: [format_scale_drop(drop) for drop in drops if _fits(drop, count)]
        for resolution, count in scales.items()
    }


def _check_all_are_used(model: str, drops: Sequence[Sequence[int] | None], scales: Mapping[Resolution, int]) -> None:
    """Refuse a scale drop that fits no resolution, and a resolution that none fits."""
    right = "Give one entry for each scale, or none."
    for drop in drops:
        if not any(_fits(drop, count) for count in scales.values()):
            there = ", ".join(f"{_scales(count)} at {resolution} px" for resolution, count in scales.items())
            raise ScaleDropError(f"Scale drop {format_scale_drop(drop)} does not fit: {model} has {there}. {right}")
    for resolution, count in scales.items():
        if not any(_fits(drop, count) for drop in drops):
            given = ", ".join(map(format_scale_drop, drops))
            raise ScaleDropError(
                f"{model} has {_scales(count)} at {resolution} px, and no scale drop given ({given}) fits. {right}"
            )


def _fits(drop: Sequence[int] | None, num_scales: int) -> bool:
    return drop is None or len(drop) == num_scales


def _scales(count: int) -> str:
    return f"{count} scale{'' if count == 1 else 's'}"


def _number_of_scales(model: str, resolution: Resolution, options: Mapping[str, Any]) -> int:
    entry = find_entry(model)
    arguments = {**(entry.arguments if entry else {}), **options}
    given = {name: arguments[name] for name in _SCALE_OPTIONS if name in arguments}
    for name, value in given.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise InvalidOptionError(f"{name} is a whole number of at least 1, got {value!r}.")
    try:
        return len(token_grids(resolution, **given))
    except InvalidWorkloadError as error:
        raise InvalidWorkloadError(f"{model}: {error}") from None


def _default_drop(num_scales: int, options: Mapping[str, Any]) -> str:
    return "none" if options.get("composition") == "stack" else format_scale_drop(default_scale_drop(num_scales))
