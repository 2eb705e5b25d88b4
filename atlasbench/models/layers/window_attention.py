"""Windows of tokens as one batch of short sequences, for blocks that never look beyond a window.

Legend: B batch, H W height and width of a token grid, C channels, W_n windows of a grid, w tokens of a window.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from atlasbench.models.layers.position import WindowPosition
from atlasbench.models.layers.scale_layout import ScaleLayout, lay_out_scales, real_keys
from atlasbench.models.layers.transformer_block import SelfAttention, TransformerBlock
from atlasbench.models.layers.windows import crop_to, merge_query_windows, pad_to, split_query_windows


def lay_out_windows(x: Tensor, window_size: int) -> ScaleLayout:
    """Windows of a grid of tokens (B, H, W, C); on an axis that is shorter than a window, as long as the axis."""
    # A range makes torch.compile take the size as a constant: windows of an unknown size never finish compiling.
    (layout,) = lay_out_scales([(len(range(x.shape[1])), len(range(x.shape[2])))], window_size)
    return layout


def lay_out_full_windows(x: Tensor, window_size: int) -> ScaleLayout:
    """Windows of a grid of tokens (B, H, W, C), of full size also where the grid is smaller."""
    grid = len(range(x.shape[1])), len(range(x.shape[2]))
    rows, columns = (-(-side // window_size) * window_size for side in grid)
    return ScaleLayout(grid, (window_size, window_size), (rows, columns))


def cut_windows(x: Tensor, layout: ScaleLayout) -> Tensor:
    """Pad a grid with zeros to whole windows and cut it: (B, H, W, C) to (B * W_n, w, C), in row-major order."""
    return split_query_windows(pad_to(x, layout.padded), layout.window, 1).squeeze(1)


def join_windows(x: Tensor, layout: ScaleLayout) -> Tensor:
    """Undo `cut_windows`: (B * W_n, w, C) to (B, H, W, C), padding cut off."""
    return crop_to(merge_query_windows(x.unsqueeze(1), layout.window, layout.counts), layout.grid)


def mask_padding(layout: ScaleLayout, batch_size: int, device: torch.device) -> Tensor | None:
    """(B * W_n, 1, 1, w) True at keys that are real tokens; None where all are."""
    real = real_keys(layout, device)
    return None if real is None else real[:, None, None, :].repeat(batch_size, 1, 1, 1)


class WindowBlock(nn.Module):
    """A ViT block among the tokens of a window, which first get their positions in it.

    Args:
        dim: C.
        num_heads: Attention heads; divides C.
        mlp_ratio: Hidden width of the MLP, over C.
        drop_path_rate: Probability of dropping a residual branch of a window while training.
    """

    def __init__(self, dim: int, num_heads: int, *, mlp_ratio: float = 4.0, drop_path_rate: float = 0.0) -> None:
        super().__init__()
        self.position = WindowPosition(dim)
        self.block = TransformerBlock(
            dim, SelfAttention(dim, num_heads), mlp_ratio=mlp_ratio, drop_path_rate=drop_path_rate
        )

    def forward(self, x: Tensor, coordinates: Tensor, mask: Tensor | None) -> Tensor:
        """Mix the tokens of every window.

        Args:
            x: (B * W_n, w, C).
            coordinates: (height, width, 2) of a window's tokens.
            mask: (B * W_n, 1, 1, w) True at keys that may be read; None for all.

        Returns:
            (B * W_n, w, C). Padded tokens hold finite values without meaning.
        """
        position: Tensor = self.position(coordinates)
        out: Tensor = self.block(x + position.flatten(0, 1), mask)
        return out
