"""Attention FLOPs of an Atlas from its options alone, to hold the counted ones to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from atlasbench.core.errors import AtlasBenchError
from atlasbench.core.laws import Law
from atlasbench.core.record import Record
from atlasbench.core.scales import (
    DEFAULT_DEPTH,
    atlas_attention_flops,
    default_scale_drop,
    parse_scale_drop,
    token_grids,
    window_shapes,
)
from atlasbench.core.workload import Mode, Workload
from atlasbench.registry import find_claim, find_entry

# Defaults of the two builders, for what neither the registry's arguments nor the options say.
_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "atlas": {"embed_dim": 384, "patch_size": 16, "downsample_stride": 4},
    "blocks": {"embed_dim": 768, "patch_size": 4, "downsample_stride": 8, "depth": 4},
}
_NUMBERS = ("patch_size", "window_size", "downsample_stride", "embed_dim")
_TRAINING = 3  # times the forward pass: the gradient of a product of two activations is two products


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosedForm:
    """What the formula gives for one record.

    Attributes:
        flops: Attention FLOPs of one image.
        nominal_flops: The same if the finest window had its nominal size, where the whole grid is smaller.
        num_scales: L.
        tokens: Of the finest grid, padding left out.
    """

    flops: int
    nominal_flops: float
    num_scales: int
    tokens: int


def closed_form(record: Record) -> ClosedForm | None:
    """Evaluate `core.scales.atlas_attention_flops`.

    Returns:
        None for what is no Multi-Scale Attention, claims another law, or has options that no Atlas takes.
    """
    workload = record.workload
    entry = find_entry(workload.model)
    if entry is None or find_claim(workload.model, workload.options) is not Law.MULTI_SCALE:
        return None
    options = {"window_size": 16, "communication": "both", **_DEFAULTS[entry.family], **entry.arguments}
    try:
        return _evaluate({**options, **workload.options}, workload)
    except (AtlasBenchError, TypeError, OverflowError):
        return None


def _evaluate(options: Mapping[str, Any], workload: Workload) -> ClosedForm | None:
    patch, window, stride, width = numbers = [options[name] for name in _NUMBERS]
    if not all(map(_is_positive, numbers)):
        return None
    grids = token_grids(workload.resolution, patch_size=patch, window_size=window, downsample_stride=stride)
    depths = _depths(options, workload.scale_drop, len(grids))
    if not depths or not all(map(_is_positive, depths)):
        return None
    flops = atlas_attention_flops(grids, window, width, depths, communication=options["communication"])
    flops *= _TRAINING if workload.mode is Mode.TRAIN else 1
    height, width = window_shapes(grids, window)[0]
    nominal = flops * window**2 / (height * width) if len(grids) == 1 else float(flops)
    return ClosedForm(flops=flops, nominal_flops=nominal, num_scales=len(grids), tokens=grids[0][0] * grids[0][1])


def _is_positive(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _depths(options: Mapping[str, Any], scale_drop: str, num_scales: int) -> tuple[int, ...]:
    """Blocks of every stage; one stage is what keeps all scales."""
    if "depth" in options:
        return (options["depth"],)
    if scale_drop:
        return parse_scale_drop(scale_drop) or (DEFAULT_DEPTH,)
    if (depths := options.get("depths")) is not None:
        return tuple(depths) if isinstance(depths, (list, tuple)) else (depths,)
    return (DEFAULT_DEPTH,) if options.get("composition") == "stack" else default_scale_drop(num_scales)
