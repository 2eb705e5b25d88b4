"""How the windows of a FasterViT lie at one image size, and what a record says about them.

Legend: k window side, c carriers of a window per side, M carriers of a level.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from atlasbench.core.compat import StrEnum
from atlasbench.core.scales import Grid, divide_up, format_grid
from atlasbench.models.fastervit_options import FasterViTOptions
from atlasbench.models.hybrid_options import WINDOW_LEVELS
from atlasbench.models.hybrid_windows import describe_padding, lay_out_level, level_stride
from atlasbench.models.layers.hierarchical_attention import CarrierOrder
from atlasbench.models.layers.scale_layout import ScaleLayout


class Carriers(StrEnum):
    """What a level has, and so which parameters; the image's size decides."""

    NONE = "no carriers"
    POSITIONED = "carriers with positions"
    UNPOSITIONED = "carriers without positions"  # the public code places them only on a square of windows


@dataclass(frozen=True, kw_only=True, slots=True)
class LevelLayout:
    """The windows and carriers of one level at one image size.

    Attributes:
        level: Which level, from 0.
        windows: How the feature map lies in windows.
        expected_counts: Windows along the height and along the width by the public code's constructor, which rounds
            sides down where convolutions round up.
        carriers: What the level has.
    """

    level: int
    windows: ScaleLayout
    expected_counts: Grid
    carriers: Carriers


def lay_out_levels(options: FasterViTOptions, height: int, width: int) -> tuple[LevelLayout, ...]:
    """The windows of every level that has some, for an image of this height and width in pixels."""
    return tuple(_lay_out(options, level, height, width) for level in WINDOW_LEVELS)


def _lay_out(options: FasterViTOptions, level: int, height: int, width: int) -> LevelLayout:
    """A level has carriers where the public code gives it their parameters: by its constructor's count of windows."""
    k, stride = options.window_size[level], level_stride(level)
    windows = lay_out_level(level, height, width, (k, k))
    expected = divide_up((height // stride, width // stride), k)
    carriers = Carriers.NONE
    if options.hat[level] and expected[0] * expected[1] > 1:
        rows, columns = windows.counts
        carriers = Carriers.POSITIONED if rows == columns else Carriers.UNPOSITIONED
    return LevelLayout(level=level, windows=windows, expected_counts=expected, carriers=carriers)


def order_matters(options: FasterViTOptions, layouts: tuple[LevelLayout, ...]) -> bool:
    """Whether the public code's order of carriers is another than their own somewhere."""
    return options.ct_size > 1 and any(layout.carriers is Carriers.UNPOSITIONED for layout in layouts)


def describe_layouts(options: FasterViTOptions, layouts: tuple[LevelLayout, ...]) -> tuple[str, ...]:
    """What a reader of a record must know: which rule holds, what is padded, how far tokens see, and what is ours."""
    notes = describe_padding([each.windows for each in layouts], "FasterViT any_res")
    if not notes:
        notes.append(
            "windows fit the token grids: FasterViT any_res, which alone has carriers of a map that is not square"
            if any(each.carriers is Carriers.UNPOSITIONED for each in layouts)
            else "windows fit the token grids: FasterViT of one size and FasterViT any_res are the same"
        )
    for layout in layouts:
        notes += _describe_level(options, layout)
    if order_matters(options, layouts):
        notes.append(
            "carriers return to windows of their own (the public code deals them out to others)"
            if options.carrier_order is CarrierOrder.ORDERED
            else "carriers return to other windows than their own, as in the public code (carrier_order official)"
        )
    return tuple(notes)


def _describe_level(options: FasterViTOptions, layout: LevelLayout) -> list[str]:
    level, counts, k = f"level {layout.level}", layout.windows.counts, options.window_size[layout.level]
    has_carriers = layout.carriers is not Carriers.NONE
    num_carriers = layout.windows.num_windows * options.ct_size**2
    side = math.isqrt(num_carriers)
    notes = _describe_windows(options, layout)
    if has_carriers:
        notes[0] += f", {num_carriers} carriers"
    if layout.carriers is Carriers.UNPOSITIONED:
        notes[0] += f" without positions, a bias for the last {side**2} (as in the public code)"
    if has_carriers and counts != layout.expected_counts:
        expected = format_grid(layout.expected_counts)
        notes.append(f"{level}: the public code cannot run this size, it expects {expected} windows")
    elif k == 1 or (has_carriers and side == 1):
        notes.append(f"{level}: the public code divides 0 by 0 where a position has one place; taken as 0 (ours)")
    return notes


def _describe_windows(options: FasterViTOptions, layout: LevelLayout) -> list[str]:
    """How many windows, and whether they are on their own; nothing on one window where that was asked for."""
    level, k, hat = f"level {layout.level}", options.window_size[layout.level], options.hat[layout.level]
    windows = f"{level}: {format_grid(layout.windows.counts)} windows of {k}"
    if layout.carriers is not Carriers.NONE:
        return [windows]
    if layout.windows.num_windows == 1:
        return [f"{level}: one window, so no carriers"] if hat else []
    reason = ", as in the public code, which rounds the map down to one" if hat else ""
    return [f"{windows} that never exchange anything{reason}"]
