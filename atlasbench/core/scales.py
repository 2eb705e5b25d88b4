"""Token grids, windows and scale drops of Multi-Scale Attention, and the attention FLOPs that follow.

Legend: k window side, s downsampling stride per axis, L scales, scale 1 the finest; grids are (height, width)
in tokens. Source: Atlas (arXiv:2503.12355). The paper covers grids that divide into whole windows; what happens
to the others (ceil, right and bottom padding, one window that is as small as the grid) is our choice.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from atlasbench.core.errors import InvalidOptionError, InvalidWorkloadError, ScaleDropError
from atlasbench.core.resolution import Resolution

DEFAULT_DEPTH = 12  # MSA blocks of Atlas-S and Atlas-B, over all stages
_BLOCKS_BEFORE_LAST = 2  # the paper's {2, 10} at 1024 px: two blocks for every scale but the last

Grid = tuple[int, int]


def token_grids(
    resolution: Resolution, *, patch_size: int = 16, window_size: int = 16, downsample_stride: int = 4
) -> tuple[Grid, ...]:
    """Token grid of every scale, finest first.

    The finest grid is ceil(side / patch). Each further one is ceil(side / s) of the one before, until both
    sides fit one window. The length of the result is L.

    Raises:
        InvalidWorkloadError: If a side of the image is smaller than a patch.
        InvalidOptionError: If the window is not a multiple of the stride, or the stride is below 2.
    """
    check_image_size(resolution, patch_size)
    first = (_ceil_div(resolution.height, patch_size), _ceil_div(resolution.width, patch_size))
    return coarser_grids(first, window_size=window_size, downsample_stride=downsample_stride)


def check_image_size(resolution: Resolution, patch_size: int) -> None:
    """Refuse images smaller than a patch.

    Raises:
        InvalidWorkloadError: If a side is.
    """
    if min(resolution.height, resolution.width) < patch_size:
        raise InvalidWorkloadError(
            f"{resolution} px is smaller than one patch: give at least {patch_size} px on each side."
        )


def format_grid(grid: Grid) -> str:
    """Height and width, for a note: `64x96`."""
    return f"{grid[0]}x{grid[1]}"


def divide_up(grid: Grid, divisor: int) -> Grid:
    """Both sides over the divisor, rounded up."""
    return _ceil_div(grid[0], divisor), _ceil_div(grid[1], divisor)


def coarser_grids(first: Grid, *, window_size: int, downsample_stride: int) -> tuple[Grid, ...]:
    """The grid `first` and all that are pooled from it, until both sides fit one window.

    Raises:
        InvalidOptionError: If the window is not a multiple of the stride, or the stride is below 2.
    """
    if downsample_stride < 2:
        raise InvalidOptionError(f"downsample_stride must be at least 2, got {downsample_stride}.")
    if window_size < 1 or window_size % downsample_stride:
        raise InvalidOptionError(
            f"window_size must be a multiple of downsample_stride {downsample_stride}, got {window_size}."
        )
    grids = [first]
    while max(grids[-1]) > window_size:
        height, width = grids[-1]
        grids.append((_ceil_div(height, downsample_stride), _ceil_div(width, downsample_stride)))
    return tuple(grids)


def window_shapes(grids: Sequence[Grid], window_size: int) -> tuple[Grid, ...]:
    """Window (height, width) at every grid, in tokens: k, or the side of the grid where that is less."""
    return tuple((min(window_size, height), min(window_size, width)) for height, width in grids)


def padded_grids(grids: Sequence[Grid], window_size: int) -> tuple[Grid, ...]:
    """The grids, padded right and bottom to whole windows."""
    windows = window_shapes(grids, window_size)
    return tuple(
        (_ceil_div(grid[0], window[0]) * window[0], _ceil_div(grid[1], window[1]) * window[1])
        for grid, window in zip(grids, windows, strict=True)
    )


def parse_scale_drop(text: str) -> tuple[int, ...] | None:
    """Read `2-10` as (2, 10), blocks per stage, and `none` as None: all scales in every block.

    Raises:
        ScaleDropError: If the text is neither, or a stage has no block.
    """
    text = text.strip()
    if text.lower() == "none":
        return None
    if re.fullmatch(r"[0-9]{1,4}(-[0-9]{1,4})*", text) is None:
        raise ScaleDropError(f"{text!r} is not a scale drop: write blocks per stage, 2-10 or 2-2-8, or none.")
    depths = tuple(int(part) for part in text.split("-"))
    check_depths(depths)
    return depths


def format_scale_drop(depths: Sequence[int] | None) -> str:
    """Write blocks per stage as `2-10`, and None as `none`."""
    return "none" if depths is None else "-".join(map(str, depths))


def check_depths(depths: Sequence[int]) -> None:
    """Refuse stages without blocks.

    Raises:
        ScaleDropError: If there is no stage, or one has less than one block.
    """
    if not depths or min(depths) < 1:
        raise ScaleDropError(f"{format_scale_drop(depths)!r} is not a scale drop: every stage needs at least 1 block.")


def default_scale_drop(num_scales: int, depth: int = DEFAULT_DEPTH) -> tuple[int, ...]:
    """Two blocks for each scale but the last, the rest of `depth` in the last: 12, 2-10, 2-2-8, 2-2-2-6.

    `{2, 10}` is the paper's, for two scales; the paper gives none for other numbers of scales.

    Raises:
        ScaleDropError: If nothing would be left for the last scale.
    """
    rest = depth - _BLOCKS_BEFORE_LAST * (num_scales - 1)
    if rest < 1:
        raise ScaleDropError(
            f"There is no default scale drop for {num_scales} scales: {depth} blocks do not go round. "
            f"Give one with {num_scales} entries, or none."
        )
    return (_BLOCKS_BEFORE_LAST,) * (num_scales - 1) + (rest,)


def check_scale_drop(depths: Sequence[int] | None, num_scales: int, where: str) -> None:
    """Refuse a scale drop that does not have one entry for each scale; `none` fits any number of scales.

    Args:
        depths: Blocks per stage, or None for `none`.
        num_scales: L at the resolution in hand.
        where: What has that many scales, e.g. `"atlas_s at 2048 px"`.

    Raises:
        ScaleDropError: If the number of entries is not L.
    """
    if depths is None:
        return
    check_depths(depths)
    if len(depths) != num_scales:
        raise ScaleDropError(
            f"Scale drop {format_scale_drop(depths)} has {_plural(len(depths), 'entry', 'entries')} but {where} "
            f"has {_plural(num_scales, 'scale', 'scales')}: give one entry for each scale, or none."
        )


def msa_block_attention_flops(
    grids: Sequence[Grid], window_size: int, embed_dim: int, *, communication: str = "both"
) -> int:
    """Exact attention FLOPs of one MSA block for one image: scores and weighted values, 2 per MAC.

    Top-down 4 C n_l sum_{t >= l} w_t over all scales, bottom-up 4 C n_l w_{l-1} over all but the finest. n_l
    and w_t count padded tokens, because they are computed. Projections, MLPs and the softmax are not in this
    number.

    Args:
        grids: Token grids of the block's scales, finest first.
        window_size: k, in tokens.
        embed_dim: C.
        communication: `both`, or the one pass between scales that runs (`top_down`, `bottom_up`), or `none`.
    """
    tokens = [height * width for height, width in padded_grids(grids, window_size)]
    windows = [height * width for height, width in window_shapes(grids, window_size)]
    pairs = 0
    for scale, n in enumerate(tokens):
        pairs += n * (sum(windows[scale:]) if communication in {"both", "top_down"} else windows[scale])
        if scale > 0 and communication in {"both", "bottom_up"}:
            pairs += n * windows[scale - 1]
    return 4 * embed_dim * pairs


def atlas_attention_flops(
    grids: Sequence[Grid],
    window_size: int,
    embed_dim: int,
    depths: Sequence[int],
    *,
    communication: str = "both",
) -> int:
    """Exact attention FLOPs of an Atlas for one image: stage i runs `depths[i]` blocks on scales i to L."""
    return sum(
        depth * msa_block_attention_flops(grids[stage:], window_size, embed_dim, communication=communication)
        for stage, depth in enumerate(depths)
    )


def _ceil_div(number: int, divisor: int) -> int:
    return -(-number // divisor)


def _plural(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"
