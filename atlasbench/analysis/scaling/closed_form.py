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
from atlasbench.registry import ModelEntry, find_claim, find_entry

# Defaults of the two builders, for what neither the registry's arguments nor the options say.
_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "atlas": {"embed_dim": 384, "patch_size": 16, "downsample_stride": 4},
    "blocks": {"embed_dim": 768, "patch_size": 4, "downsample_stride": 8, "depth": 4},
}
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
    try:
        return _evaluate(workload, entry)
    except (AtlasBenchError, TypeError, ValueError):
        return None


def _evaluate(workload: Workload, entry: ModelEntry) -> ClosedForm:
    options = {"window_size": 16, "communication": "both", **_DEFAULTS[entry.family], **entry.arguments}
    options |= workload.options
    window = options["window_size"]
    grids = token_grids(
        workload.resolution,
        patch_size=options["patch_size"],
        window_size=window,
        downsample_stride=options["downsample_stride"],
    )
    flops = atlas_attention_flops(
        grids,
        window,
        options["embed_dim"],
        _depths(options, workload.scale_drop, len(grids)),
        communication=options["communication"],
    )
    flops *= _TRAINING if workload.mode is Mode.TRAIN else 1
    height, width = window_shapes(grids, window)[0]
    nominal = flops * window**2 / (height * width) if len(grids) == 1 else float(flops)
    return ClosedForm(flops=flops, nominal_flops=nominal, num_scales=len(grids), tokens=grids[0][0] * grids[0][1])


def _depths(options: Mapping[str, Any], scale_drop: str, num_scales: int) -> tuple[int, ...]:
    """Blocks of every stage; one stage is what keeps all scales."""
    if "depth" in options:
        return (int(options["depth"]),)
    if scale_drop:
        return parse_scale_drop(scale_drop) or (DEFAULT_DEPTH,)
    if (depths := options.get("depths")) is not None:
        return tuple(depths) if isinstance(depths, (list, tuple)) else (depths,)
    return (DEFAULT_DEPTH,) if options.get("composition") == "stack" else default_scale_drop(num_scales)
