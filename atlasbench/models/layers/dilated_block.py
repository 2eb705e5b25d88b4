"""The encoder layer of LongViT: dilated attention and an MLP, each with a second norm inside (sub-LN).

Legend: B batch, N tokens, C channels.
Source: torchscale's LongNet encoder (MIT); sub-LN from "Magneto" (arXiv:2210.06423).
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from atlasbench.models.layers.dilated_attention import DilatedPadding, dilated_attention
from atlasbench.models.layers.drop_path import DropPath
from atlasbench.models.layers.linear import Mlp, Projection


class DilatedSelfAttention(nn.Module):
    """Dilated attention with its projections, and a norm before the last of them.

    Args:
        dim: C.
        num_heads: Attention heads; divides C.
        segment_lengths: Tokens of a segment, for each branch.
        dilated_ratios: Of each branch.
        padding: As for `dilated_attention`.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        segment_lengths: Sequence[int],
        dilated_ratios: Sequence[int],
        *,
        padding: str = DilatedPadding.OFFICIAL,
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.segment_lengths, self.dilated_ratios = tuple(segment_lengths), tuple(dilated_ratios)
        self.padding = padding
        self.q = Projection(dim, dim)
        self.k = Projection(dim, dim)
        self.v = Projection(dim, dim)
        self.norm = nn.LayerNorm(dim)
        self.proj = Projection(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, C) to the same."""
        q, k, v = (project(x).unflatten(-1, (self.num_heads, -1)) for project in (self.q, self.k, self.v))
        mixed = dilated_attention(q, k, v, self.segment_lengths, self.dilated_ratios, padding=self.padding)
        out: Tensor = self.proj(self.norm(mixed.flatten(2)))
        return out


class NormedMlp(Mlp):
    """An MLP with a norm after its activation."""

    def __init__(self, dim: int, hidden_dim: int) -> None:
        super().__init__(dim, hidden_dim)
        self.norm = nn.LayerNorm(hidden_dim)

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) to (..., C)."""
        out: Tensor = self.fc2(self.norm(self.act(self.fc1(x))))
        return out


class DilatedBlock(nn.Module):
    """x + attention(LN(x)), then x + MLP(LN(x)).

    Args:
        dim: C.
        num_heads: Attention heads; divides C.
        segment_lengths: Tokens of a segment, for each branch of the attention.
        dilated_ratios: Of each branch.
        mlp_ratio: Hidden width of the MLP, over C.
        drop_path_rate: Probability of dropping a residual branch while training.
        padding: As for `dilated_attention`.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        segment_lengths: Sequence[int],
        dilated_ratios: Sequence[int],
        *,
        mlp_ratio: float = 4.0,
        drop_path_rate: float = 0.0,
        padding: str = DilatedPadding.OFFICIAL,
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.attn = DilatedSelfAttention(dim, num_heads, segment_lengths, dilated_ratios, padding=padding)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = NormedMlp(dim, int(dim * mlp_ratio))
        self.drop_path = DropPath(drop_path_rate)

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, C) to the same."""
        x = x + self.drop_path(self.attn(self.norm1(x)))
        refined: Tensor = x + self.drop_path(self.mlp(self.norm2(x)))
        return refined
