"""Window-ViT: a Vision Transformer whose windows never exchange anything, the baseline of the Atlas paper.

Legend: B batch, C channels of the model, H W height and width of a token grid, k window side in tokens.
The paper states patch 16 and windows of 16 x 16 tokens. Positions, read-out and padding are as in Atlas, which is our
choice.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from atlasbench.core.resolution import Resolution
from atlasbench.core.scales import check_image_size, divide_up, format_grid, padded_grids
from atlasbench.models.backbone import Backbone, drop_path_rates
from atlasbench.models.built import BuiltModel
from atlasbench.models.layers.position import window_coordinates
from atlasbench.models.layers.window_attention import (
    WindowBlock,
    cut_windows,
    join_windows,
    lay_out_windows,
    mask_padding,
)
from atlasbench.models.option_values import check_heads, check_mlp_ratio, check_numbers, check_whole_numbers


class PatchConv(nn.Conv2d):
    """Image to tokens: one convolution over patches that do not overlap, the last of them padded with zeros.

    Args:
        in_chans: Channels of the image.
        dim: C.
        patch_size: Side of a patch, in pixels.
    """

    flops_part = "stem"

    def __init__(self, in_chans: int, dim: int, patch_size: int) -> None:
        super().__init__(in_chans, dim, patch_size, stride=patch_size)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_chans, height, width) to (B, ceil(height/patch), ceil(width/patch), C)."""
        missing_rows, missing_columns = (-side % patch for side, patch in zip(x.shape[-2:], self.stride, strict=True))
        if missing_rows or missing_columns:
            x = F.pad(x, (0, missing_columns, 0, missing_rows))
        return super().forward(x).permute(0, 2, 3, 1)


class WindowViT(Backbone):
    """Window-ViT backbone and classifier; takes every image size.

    Args:
        embed_dim: C.
        depth: Blocks.
        num_heads: Attention heads; divides C.
        patch_size: Side of a patch, in pixels.
        window_size: k.
        mlp_ratio: Hidden width of the MLPs, over C.
        drop_path_rate: Drop path of the last block; it grows linearly from 0.
        num_classes: Length of the logits; 0 for features.
        in_chans: Channels of the image.
    """

    def __init__(
        self,
        *,
        embed_dim: int,
        depth: int,
        num_heads: int,
        patch_size: int = 16,
        window_size: int = 16,
        mlp_ratio: float = 4.0,
        drop_path_rate: float = 0.0,
        num_classes: int = 100,
        in_chans: int = 3,
    ) -> None:
        super().__init__(num_features=embed_dim, num_classes=num_classes)
        self.window_size = window_size
        self.stem = PatchConv(in_chans, embed_dim, patch_size)
        self.blocks = nn.ModuleList(
            WindowBlock(embed_dim, num_heads, mlp_ratio=mlp_ratio, drop_path_rate=rate)
            for rate in drop_path_rates(drop_path_rate, depth)
        )
        self.norm = nn.LayerNorm(embed_dim)
        self.fc_norm = nn.LayerNorm(embed_dim)
        self.head = self.make_head()
        self.apply(self.init_layer)

    def forward_features(self, x: Tensor) -> Tensor:
        """(B, in_chans, height, width) images to (B, H * W, C) normalised tokens, row by row, without padding."""
        tokens = self.stem(x)
        layout = lay_out_windows(tokens, self.window_size)
        mask = mask_padding(layout, tokens.shape[0], tokens.device)
        coordinates = window_coordinates(*layout.window, tokens.device)
        windows = cut_windows(tokens, layout)  # once for all blocks: no block looks beyond a window
        for block in self.blocks:
            windows = self.run_block(block, windows, coordinates, mask)
        out: Tensor = self.norm(join_windows(windows, layout).flatten(1, 2))
        return out

    def pool(self, x: Tensor) -> Tensor:
        """(B, N, C) of `forward_features` to (B, C): the mean, then its norm."""
        pooled: Tensor = self.fc_norm(x.mean(dim=1))
        return pooled


def build_window_vit(
    *,
    resolution: Resolution,
    num_classes: int = 100,
    embed_dim: int = 384,
    depth: int = 12,
    num_heads: int = 6,
    patch_size: int = 16,
    window_size: int = 16,
    mlp_ratio: float = 4.0,
    drop_path_rate: float = 0.0,
    in_chans: int = 3,
) -> BuiltModel:
    """Build a Window-ViT; it takes every image size, and the one given decides the notes.

    Args:
        resolution: Image size, in pixels.
        num_classes: Length of the logits; 0 for features.
        embed_dim: C.
        depth: Blocks.
        num_heads: Attention heads; divides C.
        patch_size: Side of a patch, in pixels.
        window_size: k, in tokens.
        mlp_ratio: Hidden width of the MLPs, over C.
        drop_path_rate: Drop path of the last block.
        in_chans: Channels of the image.

    Raises:
        InvalidOptionError: If an option has a value that no Window-ViT has.
        InvalidWorkloadError: If the image is smaller than a patch.
    """
    check_whole_numbers(num_classes=num_classes)
    check_whole_numbers(at_least=1, depth=depth, patch_size=patch_size, window_size=window_size, in_chans=in_chans)
    check_heads(embed_dim, num_heads)
    check_mlp_ratio(embed_dim, mlp_ratio)
    check_numbers(at_least=0, below=1, drop_path_rate=drop_path_rate)
    check_image_size(resolution, patch_size)
    model = WindowViT(
        embed_dim=embed_dim,
        depth=depth,
        num_heads=num_heads,
        patch_size=patch_size,
        window_size=window_size,
        mlp_ratio=mlp_ratio,
        drop_path_rate=drop_path_rate,
        num_classes=num_classes,
        in_chans=in_chans,
    )
    return BuiltModel(model=model, notes=_describe_padding(resolution, patch_size, window_size))


def _describe_padding(resolution: Resolution, patch_size: int, window_size: int) -> tuple[str, ...]:
    notes = []
    grid = divide_up((resolution.height, resolution.width), patch_size)
    padded = Resolution(grid[0] * patch_size, grid[1] * patch_size)
    if padded != resolution:
        notes.append(f"image padded with zeros to whole patches: {resolution} to {padded} px (ours)")
    (after,) = padded_grids([grid], window_size)
    if after != grid:
        change = f"{format_grid(grid)} to {format_grid(after)}"
        notes.append(f"token grid padded to whole windows, padded keys masked: {change} (ours)")
    return tuple(notes)
