"""How the feature maps of FasterViT and MambaVision lie in windows: padded right and bottom, and not masked."""

from __future__ import annotations

from collections.abc import Iterable

from atlasbench.core.scales import Grid, divide_up, format_grid
from atlasbench.models.layers.scale_layout import ScaleLayout

_FIRST_STRIDE = 4  # of the stem; doubled after every level but the last


def level_stride(level: int) -> int:
    """Pixels along a token of one level."""
    return _FIRST_STRIDE << level


def lay_out_level(level: int, height: int, width: int, window: Grid | None) -> ScaleLayout:
    """Windows of one level for an image of this height and width in pixels; None for one window of the whole map."""
    grid = divide_up((height, width), level_stride(level))  # what halving and rounding up, again and again, gives
    window = window or grid
    rows, columns = (-(-side // length) for side, length in zip(grid, window, strict=True))
    return ScaleLayout(grid=grid, window=window, padded=(rows * window[0], columns * window[1]))


def describe_padding(layouts: Iterable[ScaleLayout], rule: str) -> list[str]:
    """A note on the maps that are padded, with the rule that is followed; none where windows fit."""
    changes = [f"{format_grid(its.grid)} to {format_grid(its.padded)}" for its in layouts if its.grid != its.padded]
    note = f"token grids padded to whole windows: {', '.join(changes)}; padding is not masked ({rule})"
    return [note] if changes else []
