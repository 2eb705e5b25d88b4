"""Linear layers that name their part of a model's FLOPs (`flops_part`; the innermost module decides)."""

from __future__ import annotations

from torch import Tensor, nn


class Projection(nn.Linear):
    """Query, key, value or output projection of an attention."""

    flops_part = "projections"


class Classifier(nn.Linear):
    """Features to logits."""

    flops_part = "head"


class Mlp(nn.Module):
    """C -> hidden -> C with an exact GELU between."""

    flops_part = "mlp"

    def __init__(self, dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden_dim)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(hidden_dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) to (..., C)."""
        out: Tensor = self.fc2(self.act(self.fc1(x)))
        return out
