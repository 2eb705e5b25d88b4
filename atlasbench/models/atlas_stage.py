"""One stage of Atlas: blocks that work on the same scales."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from atlasbench.models.atlas_options import AtlasOptions
from atlasbench.models.conv_stem import Downsample
from atlasbench.models.layers.multiscale_attention import MultiScaleBlock
from atlasbench.models.layers.multiscale_plan import ScalePlan


class AtlasStage(nn.Module):
    """MSA blocks on the same scales.

    Args:
        options: Of the whole model.
        depth: Blocks of this stage.
        num_scales: Scales that are still there.
        downsample: Whether a convolution halves the tokens first (composition `conv`).
    """

    def __init__(self, options: AtlasOptions, depth: int, num_scales: int, *, downsample: bool = False) -> None:
        super().__init__()
        self.num_scales = num_scales
        self.downsample = TokenDownsample(options.embed_dim) if downsample else None
        self.blocks = nn.ModuleList(
            MultiScaleBlock(
                options.embed_dim,
                options.num_heads,
                num_scales,
                downsample_stride=options.downsample_stride,
                mlp_ratio=options.mlp_ratio,
                drop_path_rate=options.drop_path_rate * block / max(depth - 1, 1),
                reads_coarser=options.communication.reads_coarser,
                reads_finer=options.communication.reads_finer,
            )
            for block in range(depth)
        )
        self.grad_checkpointing = False

    def forward(self, tokens: list[Tensor], plans: Sequence[ScalePlan]) -> list[Tensor]:
        """(B, H, W, C) tokens of every scale, finest first and padded to whole windows, to the same."""
        for block in self.blocks:
            if self.grad_checkpointing and torch.is_grad_enabled():
                tokens = checkpoint(block, tokens, plans, use_reentrant=False)
            else:
                tokens = block(tokens, plans)
        return tokens


class TokenDownsample(Downsample):
    """The stem's downsampling, between the stages of composition `conv`; keeps the width."""

    flops_part = "other"

    def __init__(self, dim: int) -> None:
        super().__init__(dim, dim)
