"""How each kind of block is run on a map of tokens: in which sequences or windows, and what is read out.

Every function takes a map (B, H, W, C), the blocks, and what calls one of them; it gives the real tokens (B, N, C).
Legend: B batch, H W height and width of the map in tokens, C channels, N tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from atlasbench.models.layers.carriers import pool_carriers
from atlasbench.models.layers.multiscale_attention import max_pool
from atlasbench.models.layers.multiscale_plan import plan_scales
from atlasbench.models.layers.scale_layout import lay_out_scales
from atlasbench.models.layers.window_attention import (
    cut_windows,
    join_windows,
    lay_out_full_windows,
    lay_out_windows,
    mask_padding,
)
from atlasbench.models.layers.windows import crop_to, pad_to

RunBlock = Callable[..., Any]
Run = Callable[[Tensor, Iterable[nn.Module], RunBlock], Tensor]


def run_on_sequence(x: Tensor, blocks: Iterable[nn.Module], run_block: RunBlock) -> Tensor:
    """All tokens as one sequence, in raster order."""
    x = x.flatten(1, 2)
    for block in blocks:
        x = run_block(block, x)
    return x


def run_on_map(x: Tensor, blocks: Iterable[nn.Module], run_block: RunBlock) -> Tensor:
    """Blocks that take the map as it is."""
    for block in blocks:
        x = run_block(block, x)
    return x.flatten(1, 2)


def run_in_masked_windows(x: Tensor, blocks: Iterable[nn.Module], run_block: RunBlock, *, window_size: int) -> Tensor:
    """Windows as sequences of their own, cut once; padded keys are masked, as in Atlas."""
    layout = lay_out_windows(x, window_size)
    mask = mask_padding(layout, x.shape[0], x.device)
    windows = cut_windows(x, layout)
    for block in blocks:
        windows = run_block(block, windows, mask)
    return join_windows(windows, layout).flatten(1, 2)


def run_in_full_windows(x: Tensor, blocks: Iterable[nn.Module], run_block: RunBlock, *, window_size: int) -> Tensor:
    """Windows as sequences of their own, cut once; padding is a token like any other, as in MambaVision."""
    layout = lay_out_full_windows(x, window_size)
    windows = cut_windows(x, layout)
    for block in blocks:
        windows = run_block(block, windows)
    return join_windows(windows, layout).flatten(1, 2)


def run_with_carriers(
    x: Tensor, blocks: Iterable[nn.Module], run_block: RunBlock, *, window_size: int, carriers_per_side: int
) -> Tensor:
    """Windows and their carrier tokens; padding is a token like any other, as in FasterViT."""
    layout = lay_out_full_windows(x, window_size)
    x = pad_to(x, layout.padded)
    carriers = pool_carriers(x.permute(0, 3, 1, 2), window_size, carriers_per_side)
    windows = cut_windows(x, layout)
    for block in blocks:
        windows, carriers = run_block(block, windows, carriers, layout.counts)
    return join_windows(windows, layout).flatten(1, 2)


def run_on_scales(
    x: Tensor, blocks: Iterable[nn.Module], run_block: RunBlock, *, num_scales: int, window_size: int, stride: int
) -> Tensor:
    """The map and what is max-pooled from it; the tokens of all scales, finest first."""
    tokens = [x]
    for _ in range(num_scales - 1):
        tokens.append(max_pool(tokens[-1], stride))
    grids = [(len(range(scale.shape[1])), len(range(scale.shape[2]))) for scale in tokens]
    layouts = lay_out_scales(grids, window_size)
    plans = plan_scales(layouts, stride, reads_coarser=True, row_major=False, device=x.device)
    tokens = [pad_to(scale, layout.padded) for scale, layout in zip(tokens, layouts, strict=True)]
    for block in blocks:
        tokens = run_block(block, tokens, plans)
    real = [crop_to(scale, layout.grid).flatten(1, 2) for scale, layout in zip(tokens, layouts, strict=True)]
    return torch.cat(real, dim=1)
