"""From a request (lists of models, sizes, batches ...) to its workloads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

from atlasbench.core.errors import InvalidOptionError, InvalidWorkloadError, ScaleDropError
from atlasbench.core.recipe import ModelChoice, SweepRequest
from atlasbench.core.record import workload_key
from atlasbench.core.resolution import Resolution
from atlasbench.core.scales import (
    default_scale_drop,
    format_scale_drop,
    parse_scale_drop,
    token_grids,
)
from atlasbench.core.workload import Workload
from atlasbench.registry import find_entry, has_scales

_SCALE_OPTIONS = ("patch_size", "window_size", "downsample_stride")


def expand_request(request: SweepRequest) -> list[Workload]:
    """Every workload of a request, in the order of its lists, models outermost; duplicates are dropped.

    Raises:
        InvalidWorkloadError: If a value can never be measured.
        ScaleDropError: If a scale drop fits no resolution, a resolution is left with none, or no model has scales.
    """
    if not request.models:
        raise InvalidWorkloadError("Name at least one model. See `atlasbench models`.")
    _check_has_scales(request)
    workloads: dict[tuple[Any, ...], Workload] = {}
    for choice in request.choices:
        _check_drops(choice, request.resolutions)
        for resolution, batch_size, mode, dtype in product(
            request.resolutions, request.batch_sizes, request.modes, request.dtypes
        ):
            for drop in _drops_at(choice, resolution):
                workload = Workload(
                    model=choice.name,
                    resolution=resolution,
                    options=choice.options,
                    scale_drop=drop,
                    batch_size=batch_size,
                    mode=mode,
                    dtype=dtype,
                    device=request.device,
                    compiled=request.compiled,
                    memory_format=request.memory_format,
                    attention_backend=request.attention_backend,
                )
                workloads.setdefault(workload_key(workload), workload)
    return list(workloads.values())


def find_label(request: SweepRequest, workload: Workload) -> str:
    """What a request calls one of its workloads; the model's name where it has no word for it."""
    for choice in request.choices:
        is_same_model = choice.name == workload.model and choice.options == workload.options
        if is_same_model and workload.scale_drop in _drops_at(choice, workload.resolution):
            return choice.label or choice.name
    return workload.model


def _drops_at(choice: ModelChoice, resolution: Resolution) -> list[str]:
    """Scale drops to run a model with at a resolution; one empty text where none applies."""
    if not has_scales(choice.name) or _has_fixed_stages(choice):
        return [""]
    count = _number_of_scales(choice, resolution)
    if not choice.scale_drops:
        return [_default_drop(count, choice.options)]
    drops = map(parse_scale_drop, choice.scale_drops)
    return [format_scale_drop(drop) for drop in drops if _fits(drop, count)]


def _check_has_scales(request: SweepRequest) -> None:
    """Refuse scale drops where no model has scales."""
    names = [choice.name for choice in request.choices]
    if request.scale_drops and not any(map(has_scales, names)):
        raise ScaleDropError(
            f"--drop applies to models with scales (atlas*), and {', '.join(names)} has none: leave it out."
        )
    for model in request.models:
        if isinstance(model, ModelChoice) and model.scale_drops and not has_scales(model.name):
            raise ScaleDropError(f"{model.name} has no scales: leave its scale_drops out.")


def _check_drops(choice: ModelChoice, resolutions: Sequence[Resolution]) -> None:
    """Refuse a scale drop that fits no resolution, and a resolution that none fits."""
    if not has_scales(choice.name):
        return
    scales = {resolution: _number_of_scales(choice, resolution) for resolution in resolutions}
    drops = [parse_scale_drop(drop) for drop in choice.scale_drops]
    if drops and _has_fixed_stages(choice):
        raise ScaleDropError("A scale drop and the option depths (or composition=conv) exclude each other: give one.")
    right = "Give one entry for each scale, or none."
    for drop in drops:
        if not any(_fits(drop, count) for count in scales.values()):
            there = ", ".join(f"{_scales(count)} at {resolution} px" for resolution, count in scales.items())
            raise ScaleDropError(
                f"Scale drop {format_scale_drop(drop)} does not fit: {choice.name} has {there}. {right}"
            )
    for resolution, count in scales.items():
        if drops and not any(_fits(drop, count) for drop in drops):
            given = ", ".join(map(format_scale_drop, drops))
            raise ScaleDropError(
                f"{choice.name} has {_scales(count)} at {resolution} px, and no scale drop given ({given}) fits. "
                f"{right}"
            )


def _has_fixed_stages(choice: ModelChoice) -> bool:
    """Whether the options say how many blocks each stage has."""
    return "depths" in choice.options or choice.options.get("composition") == "conv"


def _fits(drop: Sequence[int] | None, num_scales: int) -> bool:
    return drop is None or len(drop) == num_scales


def _scales(count: int) -> str:
    return f"{count} scale{'' if count == 1 else 's'}"


def _number_of_scales(choice: ModelChoice, resolution: Resolution) -> int:
    entry = find_entry(choice.name)
    arguments = {**(entry.arguments if entry else {}), **choice.options}
    given = {name: arguments[name] for name in _SCALE_OPTIONS if name in arguments}
    for name, value in given.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise InvalidOptionError(f"{name} is a whole number of at least 1, got {value!r}.")
    try:
        return len(token_grids(resolution, **given))
    except InvalidWorkloadError as error:
        raise InvalidWorkloadError(f"{choice.name}: {error}") from None


def _default_drop(num_scales: int, options: Mapping[str, Any]) -> str:
    return "none" if options.get("composition") == "stack" else format_scale_drop(default_scale_drop(num_scales))
