"""Multi-Scale Attention: windows that read the coarser windows over them, then coarse tokens that read back.

Legend: B batch, C channels, d channels of a head, L scales, l a scale (1 the finest), W_l windows at scale l,
w_l tokens of one, H W height and width of a padded token grid.
Source: Atlas, Algorithm 1 and appendix C (arXiv:2503.12355).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from atlasbench.models.layers.bottom_up_plan import BottomUpPiece
from atlasbench.models.layers.drop_path import DropPath
from atlasbench.models.layers.linear import Mlp, Projection
from atlasbench.models.layers.multiscale_plan import ScalePlan
from atlasbench.models.layers.position import WindowPosition
from atlasbench.models.layers.scale_layout import ScaleLayout
from atlasbench.models.layers.windows import (
    crop_to,
    merge_query_windows,
    pad_to,
    split_key_value_windows,
    split_query_windows,
)


class ScaleBlock(nn.Module):
    """The weights of one scale of one block; both passes use the same."""

    def __init__(self, dim: int, num_heads: int, *, mlp_ratio: float, drop_path_rate: float) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.position = WindowPosition(dim)
        self.norm_q = nn.LayerNorm(dim)
        self.norm_kv = nn.LayerNorm(dim)
        self.q = Projection(dim, dim)
        self.kv = Projection(dim, 2 * dim)
        self.proj = Projection(dim, dim)
        self.norm_mlp = nn.LayerNorm(dim)
        self.mlp = Mlp(dim, int(dim * mlp_ratio))
        self.drop_path = DropPath(drop_path_rate)

    def add_position(self, x: Tensor, plan: ScalePlan) -> Tensor:
        """Add its position to every token of every window: (B, H, W, C) to the same."""
        height, width = plan.layout.window
        rows, columns = plan.layout.counts
        windows = x.view(-1, rows, height, columns, width, x.shape[-1])
        position: Tensor = self.position(plan.coordinates)  # (height, width, C)
        return (windows + position[:, None]).view(x.shape)

    def project_queries(self, x: Tensor) -> Tensor:
        """(B, H, W, C) tokens to (B, H, W, C) queries."""
        queries: Tensor = self.q(self.norm_q(x))
        return queries

    def project_keys_values(self, x: Tensor, layout: ScaleLayout) -> Tensor:
        """(B, H, W, C) tokens to (2, B, W_l, heads, w_l, d) keys and values of windows."""
        keys_values: Tensor = self.kv(self.norm_kv(x))
        return split_key_value_windows(keys_values, layout.window, self.num_heads)

    def update(self, x: Tensor, attended: Tensor) -> Tensor:
        """Add what attention found, then the MLP: (B, H, W, C) tokens and the same of values to tokens."""
        x = x + self.drop_path(self.proj(attended))
        refined: Tensor = x + self.drop_path(self.mlp(self.norm_mlp(x)))
        return refined


class MultiScaleBlock(nn.Module):
    """One block of Multi-Scale Attention.

    Keys and values of a scale are projected once per version of its tokens, and only if something reads them
    (the paper's QKV cache).

    Args:
        dim: C.
        num_heads: Attention heads; divides C.
        num_scales: Scales the block works on.
        downsample_stride: Pooling stride between scales, per axis.
        mlp_ratio: Hidden width of the MLPs, over C.
        drop_path_rate: Probability of dropping a residual branch while training.
        reads_coarser: Whether windows read the coarser scales (top-down).
        reads_finer: Whether coarse tokens pool and read the finer ones (summarise, bottom-up). That pooling
            belongs to this direction is our choice: the paper measures the passes apart without saying.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        num_scales: int,
        *,
        downsample_stride: int = 4,
        mlp_ratio: float = 4.0,
        drop_path_rate: float = 0.0,
        reads_coarser: bool = True,
        reads_finer: bool = True,
    ) -> None:
        super().__init__()
        self.downsample_stride = downsample_stride
        self.reads_coarser = reads_coarser
        self.reads_finer = reads_finer
        self.scales = nn.ModuleList(
            ScaleBlock(dim, num_heads, mlp_ratio=mlp_ratio, drop_path_rate=drop_path_rate) for _ in range(num_scales)
        )

    def forward(self, tokens: Sequence[Tensor], plans: Sequence[ScalePlan]) -> list[Tensor]:
        """Refine the tokens of every scale.

        Args:
            tokens: (B, H, W, C) of every scale, finest first, padded to whole windows.
            plans: What each scale reads; as many as `tokens`.

        Returns:
            The same shapes as `tokens`. Padded tokens hold finite values without meaning.
        """
        scales = self._scales()
        x = [scale.add_position(x, plan) for scale, x, plan in zip(scales, tokens, plans, strict=True)]
        if self.reads_finer:
            x = self._summarise(x, plans)
        x, refined = self._top_down(x, plans)
        if self.reads_finer:
            x = self._bottom_up(x, refined, plans)
        return x

    def _scales(self) -> list[ScaleBlock]:
        return cast("list[ScaleBlock]", list(self.scales))

    def _summarise(self, tokens: list[Tensor], plans: Sequence[ScalePlan]) -> list[Tensor]:
        """Add to every coarse token the maximum of the finer tokens under it."""
        x = tokens[:1]
        for scale in range(1, len(tokens)):
            real = crop_to(x[scale - 1], plans[scale - 1].layout.grid)
            pooled = max_pool(real, self.downsample_stride)
            x.append(tokens[scale] + pad_to(pooled, plans[scale].layout.padded))
        return x

    def _top_down(self, x: list[Tensor], plans: Sequence[ScalePlan]) -> tuple[list[Tensor], Tensor | None]:
        """Coarse to fine.

        Returns:
            The tokens, and keys and values of the refined finest scale if the bottom-up pass reads them.
        """
        scales, x = self._scales(), list(x)
        refined: list[Tensor] = []  # keys and values of the coarser scales after their update, finest first
        for index in reversed(range(len(x))):
            scale, plan = scales[index], plans[index]
            own = scale.project_keys_values(x[index], plan.layout)
            coarser = refined if self.reads_coarser else []
            parts = [
                _read_windows(kv, parent, plan.layout.num_windows)
                for kv, parent in zip(coarser, plan.parents, strict=True)
            ]
            keys_values = _concatenate([own, *parts], dim=4)
            window, counts = plan.layout.window, plan.layout.counts
            queries = split_query_windows(scale.project_queries(x[index]), window, scale.num_heads)
            attended = _attend(queries, keys_values, plan.mask)
            x[index] = scale.update(x[index], merge_query_windows(attended, window, counts))
            read_again = self.reads_coarser if index > 0 else self.reads_finer and len(x) > 1
            if read_again:
                refined.insert(0, scale.project_keys_values(x[index], plan.layout))
        finest = refined[0] if self.reads_finer and len(x) > 1 else None
        return x, finest

    def _bottom_up(self, x: list[Tensor], finer: Tensor | None, plans: Sequence[ScalePlan]) -> list[Tensor]:
        """Fine to coarse; `finer` holds keys and values of the finest scale."""
        scales, x = self._scales(), list(x)
        for index in range(1, len(x)):
            assert finer is not None
            scale, plan = scales[index], plans[index]
            queries = scale.project_queries(x[index])
            rows = [
                _concatenate([_attend_piece(queries, finer, piece, scale.num_heads) for piece in row], dim=2)
                for row in plan.bottom_up
            ]
            x[index] = scale.update(x[index], _concatenate(rows, dim=1))
            if index + 1 < len(x):
                finer = scale.project_keys_values(x[index], plan.layout)
        return x


def max_pool(x: Tensor, stride: int) -> Tensor:
    """(B, H, W, C) to (B, ceil(H / stride), ceil(W / stride), C), the maximum of each cell."""
    pooled = F.max_pool2d(x.permute(0, 3, 1, 2), stride, ceil_mode=True)
    return pooled.permute(0, 2, 3, 1)


def _concatenate(parts: Sequence[Tensor], dim: int) -> Tensor:
    """`torch.cat`, which would copy even a single part."""
    return parts[0] if len(parts) == 1 else torch.cat(list(parts), dim=dim)


def _attend_piece(queries: Tensor, finer: Tensor, piece: BottomUpPiece, num_heads: int) -> Tensor:
    """Blocks of coarse tokens read one finer window each.

    Args:
        queries: (B, H, W, C) of the whole scale.
        finer: (2, B, windows, heads, w, d) keys and values of the finer scale.
        piece: Which of the queries, and what they read.
        num_heads: Heads.

    Returns:
        (B, rows, columns, C) of the piece.
    """
    blocks = split_query_windows(queries[:, piece.rows, piece.columns], piece.block, num_heads)
    keys_values = finer if piece.parent is None else finer.index_select(2, piece.parent)
    return merge_query_windows(_attend(blocks, keys_values, piece.mask), piece.block, piece.counts)


def _read_windows(keys_values: Tensor, parent: Tensor | None, num_windows: int) -> Tensor:
    """(2, B, W_t, ...) windows of a coarser scale to (2, B, W_l, ...): for each window the one it reads."""
    if parent is None:
        return keys_values.expand(-1, -1, num_windows, -1, -1, -1)
    return keys_values.index_select(2, parent)


def _attend(queries: Tensor, keys_values: Tensor, mask: Tensor | None) -> Tensor:
    """Softmax attention of each window's queries.

    Args:
        queries: (B * windows, heads, queries, d).
        keys_values: (2, B, windows, heads, keys, d).
        mask: (windows, 1, 1, keys), True at keys that may be read; None for all.

    Returns:
        (B * windows, heads, queries, d).
    """
    batch_size = keys_values.shape[1]
    keys, values = keys_values.flatten(1, 2).unbind(0)
    if mask is not None:
        mask = mask.repeat(batch_size, 1, 1, 1)
    return F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask)
