"""Levels of FasterViT: convolutional blocks, or blocks of attention in windows; then half the sides.

Legend: B batch, C channels, H W height and width of a feature map, k window side, M carriers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn

from atlasbench.models.fastervit_layout import Carriers, LevelLayout
from atlasbench.models.fastervit_options import FasterViTOptions
from atlasbench.models.hybrid_options import NUM_LEVELS
from atlasbench.models.layers.carriers import CarrierPool
from atlasbench.models.layers.convolution import Downsample, ResidualConvBlock
from atlasbench.models.layers.hierarchical_attention import HierarchicalAttentionBlock, WindowAttentionBlock
from atlasbench.models.layers.window_attention import cut_windows, join_windows
from atlasbench.models.layers.windows import pad_to

RunBlock = Callable[..., Any]


class ConvLevel(nn.Module):
    """Convolutional blocks at one size of the feature map.

    Args:
        options: Of the whole model.
        level: Which level this is, from 0.
        drop_path_rates: Of each block.
    """

    def __init__(self, options: FasterViTOptions, level: int, drop_path_rates: Sequence[float]) -> None:
        super().__init__()
        width = options.width(level)
        self.blocks = nn.ModuleList(
            ResidualConvBlock(width, drop_path_rate=rate, layer_scale=options.layer_scale_conv)
            for rate in drop_path_rates
        )
        self.downsample = Downsample(width, 2 * width)

    def forward(self, x: Tensor, run_block: RunBlock) -> Tensor:
        """(B, C, H, W) to (B, 2 C, ceil(H/2), ceil(W/2)); `run_block` calls a block."""
        for block in self.blocks:
            x = run_block(block, x)
        out: Tensor = self.downsample(x)
        return out


class WindowLevel(nn.Module):
    """Blocks of attention in windows at one size of the feature map.

    Args:
        options: Of the whole model.
        level: Which level this is, from 0.
        carriers: What it has.
        drop_path_rates: Of each block.
    """

    def __init__(
        self, options: FasterViTOptions, level: int, carriers: Carriers, drop_path_rates: Sequence[float]
    ) -> None:
        super().__init__()
        width, window_size = options.width(level), options.window_size[level]
        self.carrier_pool: CarrierPool | None = None
        if carriers is not Carriers.NONE:
            self.carrier_pool = CarrierPool(width, window_size, options.ct_size)
        last = len(drop_path_rates) - 1
        self.blocks = nn.ModuleList(
            _make_block(options, level, carriers, rate, is_last=index == last)
            for index, rate in enumerate(drop_path_rates)
        )
        self.downsample = Downsample(width, 2 * width) if level < NUM_LEVELS - 1 else nn.Identity()

    def forward(self, x: Tensor, layout: LevelLayout, run_block: RunBlock) -> Tensor:
        """Run every block, then halve the sides.

        Args:
            x: (B, C, H, W).
            layout: Of a map of this height and width; has the carriers that the level was made for.
            run_block: Calls a block; may have it recomputed in the backward pass.

        Returns:
            (B, 2 C, ceil(H/2), ceil(W/2)); (B, C, H, W) from the last level.
        """
        windows = layout.windows
        padded = pad_to(x.permute(0, 2, 3, 1), windows.padded)
        tokens = cut_windows(padded, windows)  # (B * windows, k*k, C)
        if self.carrier_pool is None:
            for block in self.blocks:
                tokens = run_block(block, tokens)
        else:
            carriers = self.carrier_pool(padded.permute(0, 3, 1, 2))  # (B, M, C)
            for block in self.blocks:
                tokens, carriers = run_block(block, tokens, carriers, windows.counts)
        out: Tensor = self.downsample(join_windows(tokens, windows).permute(0, 3, 1, 2))
        return out


def _make_block(
    options: FasterViTOptions, level: int, carriers: Carriers, drop_path_rate: float, *, is_last: bool
) -> nn.Module:
    width, heads, window_size = options.width(level), options.num_heads[level], options.window_size[level]
    if carriers is Carriers.NONE:
        return WindowAttentionBlock(
            width,
            heads,
            window_size,
            mlp_ratio=options.mlp_ratio,
            drop_path_rate=drop_path_rate,
            layer_scale=options.layer_scale,
        )
    return HierarchicalAttentionBlock(
        width,
        heads,
        window_size,
        options.ct_size,
        mlp_ratio=options.mlp_ratio,
        drop_path_rate=drop_path_rate,
        layer_scale=options.layer_scale,
        has_carrier_position=carriers is Carriers.POSITIONED,
        propagates=is_last and options.do_propagation,
        carrier_order=options.carrier_order,
    )
