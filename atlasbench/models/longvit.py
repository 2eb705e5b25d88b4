"""LongViT: a plain vision transformer with dilated attention, at any resolution.

Legend: B batch, N tokens, C channels, H W height and width of the image in pixels.
Source: "When an Image is Worth 1,024 x 1,024 Words" (arXiv:2312.03558); torchscale's examples/longvit (Apache-2.0).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from atlasbench.core.resolution import Resolution
from atlasbench.core.scales import check_image_size
from atlasbench.models.backbone import Backbone, drop_path_rates
from atlasbench.models.built import BuiltModel
from atlasbench.models.layers.dilated_attention import DilatedPadding
from atlasbench.models.layers.dilated_block import DilatedBlock
from atlasbench.models.longvit_names import translate_longvit_names
from atlasbench.models.longvit_options import LongViTOptions, describe_choices
from atlasbench.models.longvit_segments import SegmentRule, choose_segments
from atlasbench.models.option_values import (
    check_heads,
    check_mlp_ratio,
    check_numbers,
    check_whole_numbers,
    read_whole_numbers,
    read_word,
)

_INIT_STD = 0.02
_GRID_MARGIN = 0.1  # tokens, added to the size asked for: keeps a rounded-down grid from losing a row


class PatchEmbed(nn.Module):
    """Image to one token a patch; what is left of a side that is no multiple of the patch is cut off."""

    flops_part = "stem"

    def __init__(self, in_chans: int, dim: int, patch_size: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(in_chans, dim, patch_size, stride=patch_size)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_chans, H, W) to (B, N, C), in row-major order."""
        tokens: Tensor = self.proj(x).flatten(2).transpose(1, 2).contiguous()
        return tokens


class LongViT(Backbone):
    """LongViT backbone and classifier; takes every image size from one patch up.

    Args:
        options: Everything that shapes the model.
        num_classes: Length of the logits; 0 for features.
        in_chans: Channels of the image.
    """

    def __init__(self, options: LongViTOptions, *, num_classes: int = 100, in_chans: int = 3) -> None:
        super().__init__(num_features=options.embed_dim, num_classes=num_classes)
        self.options = options
        self.embed_dim = options.embed_dim
        rows, columns = options.grid
        self.patch_embed = PatchEmbed(in_chans, options.embed_dim, options.patch_size)
        self.pos_embed = nn.Parameter(torch.empty(1, rows * columns, options.embed_dim))
        self.blocks = nn.ModuleList(
            DilatedBlock(
                options.embed_dim,
                options.num_heads,
                options.segment_length,
                options.dilated_ratio,
                mlp_ratio=options.mlp_ratio,
                drop_path_rate=rate,
                padding=options.padding,
            )
            for rate in drop_path_rates(options.drop_path_rate, options.depth)
        )
        self.fc_norm = nn.LayerNorm(options.embed_dim)
        self.head = self.make_head()
        _init_weight(self.pos_embed)
        self.apply(self.init_layer)

    def init_layer(self, module: nn.Module) -> None:
        """Linear layers: normal, cut off at one standard deviation as in the official code; biases 0."""
        if isinstance(module, nn.Linear):
            _init_weight(module.weight)
            nn.init.zeros_(module.bias)

    def no_weight_decay(self) -> set[str]:
        """Names of parameters that weight decay leaves alone: biases, norms and positions."""
        return super().no_weight_decay() | {"pos_embed"}

    def forward_features(self, x: Tensor) -> Tensor:
        """Tokens after the last layer, which no norm follows.

        Args:
            x: (B, in_chans, H, W) images.

        Returns:
            (B, N, C), in row-major order.

        Raises:
            InvalidWorkloadError: If the image is smaller than a patch.
        """
        # A range makes torch.compile take the size as a constant: segments of an unknown size do not compile well.
        resolution = Resolution(len(range(x.shape[-2])), len(range(x.shape[-1])))
        check_image_size(resolution, self.options.patch_size)
        tokens: Tensor = self.patch_embed(x)
        tokens = tokens + self._positions(resolution)
        for block in cast("list[DilatedBlock]", list(self.blocks)):
            tokens = self.run_block(block, tokens)
        return tokens

    def pool(self, x: Tensor) -> Tensor:
        """(B, N, C) of `forward_features` to (B, C): the mean, then its norm."""
        pooled: Tensor = self.fc_norm(x.mean(dim=1))
        return pooled

    @staticmethod
    def translate_official_names(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
        """Official names to ours; see `atlasbench.models.checkpoints`."""
        return translate_longvit_names(state)

    def _positions(self, resolution: Resolution) -> Tensor:
        """(1, N, C) position embedding, resampled where the image is not of the size the table is for.

        As in the official code, by a factor and not by a size, and also for an image that is not square but has as
        many tokens.
        """
        built, (rows, columns) = self.options.resolution, self.options.grid
        height, width = (side // self.options.patch_size for side in (resolution.height, resolution.width))
        is_square = resolution.height == resolution.width
        if (height, width) == (rows, columns) and (is_square or resolution == built):
            return self.pos_embed
        table = self.pos_embed.view(1, rows, columns, -1).permute(0, 3, 1, 2)
        factors = ((height + _GRID_MARGIN) / rows, (width + _GRID_MARGIN) / columns)
        precise = table.to(torch.promote_types(table.dtype, torch.float32))
        resampled = F.interpolate(precise, scale_factor=factors, mode="bicubic", align_corners=False)
        return resampled.to(table.dtype).flatten(2).transpose(1, 2)


def _init_weight(weight: Tensor) -> None:
    nn.init.trunc_normal_(weight, std=_INIT_STD, a=-_INIT_STD, b=_INIT_STD)


def build_longvit(
    *,
    resolution: Resolution,
    num_classes: int = 100,
    patch_size: int = 32,
    embed_dim: int = 384,
    depth: int = 12,
    num_heads: int = 16,
    mlp_ratio: float = 4.0,
    drop_path_rate: float = 0.0,
    segment_length: Sequence[int] | None = None,
    dilated_ratio: Sequence[int] = (1, 2, 4, 8, 16),
    segments: str = "published",
    padding: str = "official",
    in_chans: int = 3,
) -> BuiltModel:
    """Build a LongViT whose position table has one entry for each patch at one resolution; it takes other sizes too.

    Args:
        resolution: Image size, in pixels.
        num_classes: Length of the logits; 0 for features.
        patch_size: Side of a patch, in pixels.
        embed_dim: C.
        depth: Layers.
        num_heads: Attention heads; divides C.
        mlp_ratio: Hidden width of the MLPs, over C.
        drop_path_rate: Highest drop path, of the last layer.
        segment_length: Tokens of a segment, for each branch of the attention; chosen by `segments` when None.
        dilated_ratio: Ratio of each branch.
        segments: `published` (by the side of a square image, as in the released code) or `by_tokens` (in geometric
            steps from 1024 to the number of tokens).
        padding: `official`, `aligned` or `masked`; see `DilatedPadding`.
        in_chans: Channels of the image.

    Raises:
        InvalidOptionError: If an option has a value that no LongViT has.
        InvalidWorkloadError: If the image is smaller than a patch.
    """
    check_whole_numbers(num_classes=num_classes)
    check_whole_numbers(at_least=1, patch_size=patch_size, depth=depth, in_chans=in_chans)
    check_heads(embed_dim, num_heads)
    check_mlp_ratio(embed_dim, mlp_ratio)
    check_numbers(at_least=0, below=1, drop_path_rate=drop_path_rate)
    ratios = read_whole_numbers("dilated_ratio", dilated_ratio, at_least=1)
    rule, padding_rule = read_word(SegmentRule, "segments", segments), read_word(DilatedPadding, "padding", padding)
    check_image_size(resolution, patch_size)
    tokens = (resolution.height // patch_size) * (resolution.width // patch_size)
    options = LongViTOptions(
        resolution=resolution,
        patch_size=patch_size,
        embed_dim=embed_dim,
        depth=depth,
        num_heads=num_heads,
        segment_length=choose_segments(rule, segment_length, ratios, resolution, tokens),
        dilated_ratio=ratios,
        mlp_ratio=mlp_ratio,
        drop_path_rate=drop_path_rate,
        padding=padding_rule,
    )
    model = LongViT(options, num_classes=num_classes, in_chans=in_chans)
    return BuiltModel(model=model, notes=describe_choices(options, rule if segment_length is None else None))
