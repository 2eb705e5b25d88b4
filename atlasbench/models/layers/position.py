"""Position inside a window, as a small MLP of the coordinates: it depends on no resolution."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_HIDDEN_DIM = 512


class WindowPosition(nn.Module):
    """Position MLP 2 -> 512 -> ReLU -> C, without a bias on the last layer.

    Source: FasterViT's position embedding (arXiv:2306.06189), as Atlas uses it.
    """

    flops_part = "other"

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(2, _HIDDEN_DIM)
        self.act = nn.ReLU()
        self.fc2 = nn.Linear(_HIDDEN_DIM, dim, bias=False)

    def forward(self, coordinates: Tensor) -> Tensor:
        """(..., 2) coordinates to (..., C)."""
        out: Tensor = self.fc2(self.act(self.fc1(coordinates.to(self.fc1.weight.dtype))))
        return out


def window_coordinates(height: int, width: int, device: torch.device) -> Tensor:
    """(height, width, 2) coordinates (index - n//2) / (n//2) of a window's tokens, row first.

    An axis of one token has coordinate 0 (ours: the formula would divide by zero).
    """
    rows, columns = (_axis_coordinates(n, device) for n in (height, width))
    return torch.stack([rows[:, None].expand(-1, width), columns[None, :].expand(height, -1)], dim=-1)


def _axis_coordinates(n: int, device: torch.device) -> Tensor:
    half = n // 2
    return (torch.arange(n, device=device, dtype=torch.float32) - half) / max(half, 1)
