"""Levels of MambaVision: convolutional blocks, or blocks of scans and attention in windows; then half the sides.

Legend: B batch, C channels, H W height and width of a feature map.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from atlasbench.models.hybrid_options import FIRST_WINDOW_LEVEL, NUM_LEVELS
from atlasbench.models.layers.convolution import Downsample, ResidualConvBlock
from atlasbench.models.layers.mamba_mixer import MambaMixer
from atlasbench.models.layers.scale_layout import ScaleLayout
from atlasbench.models.layers.transformer_block import SelfAttention, TransformerBlock
from atlasbench.models.layers.window_attention import cut_windows, join_windows
from atlasbench.models.mambavision_options import MambaVisionOptions

RunBlock = Callable[[nn.Module, Tensor], Tensor]


class MambaVisionLevel(nn.Module):
    """Blocks at one size of the feature map.

    Args:
        options: Of the whole model.
        level: Which level this is, from 0.
        drop_path_rates: Of each block.
    """

    def __init__(self, options: MambaVisionOptions, level: int, drop_path_rates: Sequence[float]) -> None:
        super().__init__()
        width, depth = options.width(level), options.depths[level]
        self.blocks = nn.ModuleList(
            _make_conv_block(options, level, rate)
            if level < FIRST_WINDOW_LEVEL
            else _make_window_block(options, level, rate, scans=index < depth - options.num_attentions(level))
            for index, rate in enumerate(drop_path_rates)
        )
        self.downsample = Downsample(width, 2 * width, norm=False) if level < NUM_LEVELS - 1 else nn.Identity()

    def forward(self, x: Tensor, layout: ScaleLayout | None, run_block: RunBlock) -> Tensor:
        """Run every block, then halve the sides.

        Args:
            x: (B, C, H, W).
            layout: How H and W are cut into windows; None for convolutional blocks.
            run_block: Calls a block; may have it recomputed in the backward pass.

        Returns:
            (B, 2 C, ceil(H/2), ceil(W/2)); (B, C, H, W) from the last level.
        """
        x = self._run_blocks(x, run_block) if layout is None else self._run_in_windows(x, layout, run_block)
        out: Tensor = self.downsample(x)
        return out

    def _run_in_windows(self, x: Tensor, layout: ScaleLayout, run_block: RunBlock) -> Tensor:
        """(B, C, H, W) to the same; padded once, and the blocks treat padding like any other token."""
        tokens = self._run_blocks(cut_windows(x.permute(0, 2, 3, 1), layout), run_block)
        return join_windows(tokens, layout).permute(0, 3, 1, 2)

    def _run_blocks(self, x: Tensor, run_block: RunBlock) -> Tensor:
        for block in self.blocks:
            x = run_block(block, x)
        return x


def _make_conv_block(options: MambaVisionOptions, level: int, drop_path_rate: float) -> ResidualConvBlock:
    return ResidualConvBlock(
        options.width(level), drop_path_rate=drop_path_rate, layer_scale=options.layer_scale_conv, gelu="tanh"
    )


def _make_window_block(
    options: MambaVisionOptions, level: int, drop_path_rate: float, *, scans: bool
) -> TransformerBlock:
    """A block on (B * windows, w, C): stochastic depth drops single windows, as in the official code."""
    width = options.width(level)
    return TransformerBlock(
        width,
        MambaMixer(width) if scans else SelfAttention(width, options.num_heads[level]),
        mlp_ratio=options.mlp_ratio,
        drop_path_rate=drop_path_rate,
        layer_scale=options.layer_scale,
    )
