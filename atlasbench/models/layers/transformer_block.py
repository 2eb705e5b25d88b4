"""The pre-norm transformer block that ViT made standard, for any token mixer.

Legend: B batch (or batch times windows), N tokens, C channels, d channels of a head.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from atlasbench.models.layers.drop_path import DropPath
from atlasbench.models.layers.linear import Mlp, Projection


class SelfAttention(nn.Module):
    """Multi-head attention among N tokens.

    Args:
        dim: C.
        num_heads: Attention heads; divides C.

    Source: "An Image is Worth 16x16 Words" (arXiv:2010.11929).
    """

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = Projection(dim, 3 * dim)  # rows: queries, keys, values; heads contiguous in each
        self.proj = Projection(dim, dim)

    def forward(self, x: Tensor, bias: Tensor | None = None, keys_reversed: bool = False) -> Tensor:
        """Mix tokens.

        Args:
            x: (B, N, C).
            bias: Added to the scaled scores, or True where a key may be read; broadcasts to (B, heads, N, N).
            keys_reversed: Whether the bias has its keys last to first.

        Returns:
            (B, N, C).
        """
        B, N, C = x.shape
        q, k, v = self.qkv(x).view(B, N, 3, self.num_heads, C // self.num_heads).permute(2, 0, 3, 1, 4).unbind()
        if keys_reversed:
            k, v = k.flip(-2), v.flip(-2)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)  # (B, heads, N, d)
        out: Tensor = self.proj(mixed.transpose(1, 2).reshape(B, N, C))
        return out


class TransformerBlock(nn.Module):
    """x + mixer(LN(x)), then x + MLP(LN(x)).

    Args:
        dim: C.
        mixer: (B, N, C) to the same; gets what else the block is called with.
        mlp_ratio: Hidden width of the MLP, over C.
        drop_path_rate: Probability of dropping a residual branch while training.
        layer_scale: First value of a learned factor for each channel of each residual branch; no factor when None.
    """

    gamma1: nn.Parameter | None
    gamma2: nn.Parameter | None

    def __init__(
        self,
        dim: int,
        mixer: nn.Module,
        *,
        mlp_ratio: float = 4.0,
        drop_path_rate: float = 0.0,
        layer_scale: float | None = None,
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.mixer = mixer
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = Mlp(dim, int(dim * mlp_ratio))
        self.gamma1 = _layer_scale(dim, layer_scale)
        self.gamma2 = _layer_scale(dim, layer_scale)
        self.drop_path = DropPath(drop_path_rate)

    def forward(self, x: Tensor, *context: Any) -> Tensor:
        """(B, N, C) to the same; `context` goes to the mixer."""
        x = x + self.drop_path(_scaled(self.mixer(self.norm1(x), *context), self.gamma1))
        refined: Tensor = x + self.drop_path(_scaled(self.mlp(self.norm2(x)), self.gamma2))
        return refined


def _layer_scale(dim: int, value: float | None) -> nn.Parameter | None:
    return None if value is None else nn.Parameter(value * torch.ones(dim))


def _scaled(x: Tensor, factor: Tensor | None) -> Tensor:
    return x if factor is None else x * factor
