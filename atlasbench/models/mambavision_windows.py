"""How the last levels of a MambaVision cut their feature maps into windows, and what a record says about it."""

from __future__ import annotations

from atlasbench.core.resolution import Resolution
from atlasbench.core.scales import format_grid
from atlasbench.models.hybrid_options import WINDOW_LEVELS
from atlasbench.models.hybrid_windows import describe_padding, lay_out_level
from atlasbench.models.layers.scale_layout import ScaleLayout
from atlasbench.models.mambavision_options import MambaVisionOptions


def lay_out_levels(options: MambaVisionOptions, height: int, width: int) -> tuple[ScaleLayout, ...]:
    """Windows of every level that has some, for an image of this height and width in pixels."""
    sides = {level: options.window_size[level] for level in WINDOW_LEVELS}
    return tuple(
        lay_out_level(level, height, width, None if options.global_window else (side, side))
        for level, side in sides.items()
    )


def describe_windows(options: MambaVisionOptions, resolution: Resolution) -> tuple[str, ...]:
    """What a reader of a record must know: what is padded, how far tokens see, and what is ours."""
    layouts = lay_out_levels(options, resolution.height, resolution.width)
    notes = describe_padding(layouts, "as published")
    windows = ", ".join(f"{its.num_windows} of {format_grid(its.window)}" for its in layouts)
    if options.global_window:
        notes.append(f"windows as large as the feature maps (ours): {windows} tokens")
    elif any(its.num_windows > 1 for its in layouts):
        notes.append(f"scans and attention stay in their window, only convolutions cross: {windows} tokens")
    return tuple(notes)
