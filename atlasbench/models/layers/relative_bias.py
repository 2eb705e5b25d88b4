"""Attention bias as a small MLP of how far a key is from a query: it depends on no resolution.

Legend: s side of a square of tokens, h heads, L all tokens of an attention.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from atlasbench.models.layers.position import WindowPosition

_HIGHEST = 16.0
_LOG_SCALE = 8.0
_LOG_DIVISOR = 3.0  # log2(8): what Swin V2 divides by


class RelativeBias(nn.Module):
    """16 * sigmoid(MLP(r)) for every pair of tokens of a square, r the logarithmic offset from key to query.

    Nothing is kept between forward passes: a table of all offsets is computed and spread over the pairs.

    Args:
        num_heads: h.

    Source: FasterViT (arXiv:2306.06189), after Swin V2 (arXiv:2111.09883).
    """

    flops_part = "other"

    def __init__(self, num_heads: int) -> None:
        super().__init__()
        self.mlp = WindowPosition(num_heads)

    def forward(self, side: int, num_others: int, device: torch.device) -> Tensor:
        """Bias of an attention among `num_others` tokens without a place and then s x s tokens in row-major order.

        Args:
            side: s; 1 gives one offset, 0 (ours: the formula would divide by zero).
            num_others: Tokens before the square; the bias of every pair with one of them is 0.
            device: Where to compute.

        Returns:
            (1, h, L, L) with L = num_others + s * s: queries first to last, keys last to first.
        """
        table = _HIGHEST * torch.sigmoid(self.mlp(query_minus_key_offsets(side, device)))  # (2s-1, 2s-1, h)
        return spread_over_pairs(table.permute(2, 0, 1), num_others)[None]


def query_minus_key_offsets(side: int, device: torch.device) -> Tensor:
    """(2s-1, 2s-1, 2) logarithmic offsets, row first; entry (i, j) is for queries i - s + 1 rows below their key."""
    offsets = torch.arange(1 - side, side, device=device, dtype=torch.float32)
    scaled = torch.sign(offsets) * torch.log2(1 + offsets.abs() * (_LOG_SCALE / max(side - 1, 1))) / _LOG_DIVISOR
    return torch.stack([scaled[:, None].expand(-1, len(offsets)), scaled.expand(len(offsets), -1)], dim=-1)


def spread_over_pairs(table: Tensor, num_others: int) -> Tensor:
    """A table of offsets to all pairs of an s x s square, and zeros for the tokens before it.

    With keys last to first, what a query reads is a window of the table, and the bias is made in one copy of a view:
    an index of every pair would take as much memory as the bias of two heads, and turning the keys around a second
    bias.

    Args:
        table: (h, 2s-1, 2s-1); entry (i, j) is for queries i - s + 1 rows and j - s + 1 columns after their key.
        num_others: Tokens before the square.

    Returns:
        (h, L, L) with L = num_others + s * s: queries first to last, keys last to first.
    """
    num_heads, offsets, _ = table.shape
    side = (offsets + 1) // 2
    square = (side, side)
    length = num_others + side * side
    bias = table.new_zeros(num_heads, length, length)
    pairs = bias[:, num_others:, : side * side].unflatten(2, square).unflatten(1, square)
    pairs.copy_(table.unfold(1, side, 1).unfold(2, side, 1))
    return bias
