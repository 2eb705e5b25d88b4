"""Attention in windows that every other block shifts by half their side, with a learned bias for relative positions.

Legend: B batch, H W height and width of a token grid, C channels, k window side, W_n windows, w tokens of a window.
Source: Swin Transformer (arXiv:2103.14030).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from atlasbench.models.layers.scale_layout import ScaleLayout
from atlasbench.models.layers.transformer_block import SelfAttention
from atlasbench.models.layers.window_attention import cut_windows, join_windows, lay_out_windows
from atlasbench.models.layers.windows import crop_to, pad_to

NOT_NEIGHBOURS = -100.0  # added to the scores of tokens that the shift has brought together


class ShiftedWindowAttention(nn.Module):
    """Attention in windows, the mixer of a Swin block; blocks with and without a shift take turns.

    Grids that are no whole number of windows are padded with zeros, after the block's norm, and padded keys are not
    masked, as in Swin's own code for detection. An axis that one window covers is not shifted; a window that is
    smaller than k uses the middle of the table.

    Args:
        dim: C.
        num_heads: Attention heads; divides C.
        window_size: k.
        shifted: Whether the windows are shifted by k // 2.
    """

    def __init__(self, dim: int, num_heads: int, window_size: int, *, shifted: bool) -> None:
        super().__init__()
        self.window_size = window_size
        self.shifted = shifted
        self.relative_position_bias_table = nn.Parameter(torch.empty((2 * window_size - 1) ** 2, num_heads))
        self.attn = SelfAttention(dim, num_heads)
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) to the same: every token reads those of its window."""
        layout = lay_out_windows(x, self.window_size)
        whole = ScaleLayout(layout.padded, layout.window, layout.padded)
        shifts = [
            side // 2 if self.shifted and count > 1 else 0
            for side, count in zip(layout.window, layout.counts, strict=True)
        ]
        x = _roll(pad_to(x, layout.padded), [-shift for shift in shifts])
        windows = self.attn(cut_windows(x, whole), self._bias(whole, shifts, x.shape[0], x.device))
        return crop_to(_roll(join_windows(windows, whole), shifts), layout.grid)

    def _bias(self, layout: ScaleLayout, shifts: list[int], batch_size: int, device: torch.device) -> Tensor:
        """(1 or B * W_n, heads, w, w) to be added to the scores."""
        index = relative_index(layout.window, self.window_size, device)
        bias = self.relative_position_bias_table[index].permute(2, 0, 1).unsqueeze(0)
        if not any(shifts):
            return bias
        strangers = find_strangers(layout, shifts, device)  # (W_n, w, w)
        masked = bias + NOT_NEIGHBOURS * strangers.unsqueeze(1).to(bias.dtype)
        return masked.repeat(batch_size, 1, 1, 1)


def _roll(x: Tensor, shifts: list[int]) -> Tensor:
    """Move the rows and columns of (B, H, W, C) in a circle."""
    return x.roll(shifts, (1, 2)) if any(shifts) else x


def relative_index(window: tuple[int, int], window_size: int, device: torch.device) -> Tensor:
    """(w, w) row of the table for every pair of a window's tokens: query minus key, rows first.

    Args:
        window: Height and width of the window; at most `window_size`.
        window_size: k; the table has (2k - 1)^2 rows.
        device: Where the index is made.
    """
    offsets = []
    for side in window:
        tokens = torch.arange(side, device=device)
        offsets.append(tokens[:, None] - tokens[None, :] + window_size - 1)
    rows, columns = offsets
    index = rows[:, None, :, None] * (2 * window_size - 1) + columns[None, :, None, :]
    return index.reshape(window[0] * window[1], -1)


def find_strangers(layout: ScaleLayout, shifts: list[int], device: torch.device) -> Tensor:
    """(W_n, w, w) True for pairs of a shifted grid's window that come from opposite edges."""
    edges = []
    for side, shift in zip(layout.padded, shifts, strict=True):
        edges.append(torch.arange(side, device=device) >= side - shift)  # rolled in from the other edge
    region = edges[0][:, None] * 2 + edges[1][None, :].long()
    regions = cut_windows(region[None, :, :, None], layout).squeeze(-1)  # (W_n, w)
    return regions[:, :, None] != regions[:, None, :]
