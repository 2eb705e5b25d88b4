"""One stage of Atlas: blocks that work on the same scales."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from atlasbench.models.atlas_options import AtlasOptions
from atlasbench.models.backbone import drop_path_rates
from atlasbench.models.layers.convolution import Downsample
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
                drop_path_rate=rate,
                reads_coarser=options.communication.reads_coarser,
                reads_finer=options.communication.reads_finer,
            )
            for rate in drop_path_rates(options.drop_path_rate, depth)
        )

    def forward(
        self, tokens: list[Tensor], plans: Sequence[ScalePlan], run_block: Callable[..., list[Tensor]]
    ) -> list[Tensor]:
        """Run every block.

        Args:
            tokens: (B, H, W, C) of every scale, finest first, padded to whole windows.
            plans: What each scale reads.
            run_block: Calls a block; may have it recomputed in the backward pass.

        Returns:
            The same shapes as `tokens`.
        """
        for block in self.blocks:
            tokens = run_block(block, tokens, plans)
        return tokens


class TokenDownsample(Downsample):
    """The stem's downsampling, between the stages of composition `conv`; keeps the width."""

    flops_part = "other"

    def __init__(self, dim: int) -> None:
        super().__init__(dim, dim)
