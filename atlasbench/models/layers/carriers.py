"""Carrier tokens of FasterViT: a few for each window, pooled from the map, that attend to each other.

Legend: B batch, C channels, H W height and width of a map in tokens, k window side, c carriers of a window per side,
M carriers of the whole map. Window order: those of one window together, row-major inside a window and between windows.
Raster order: row-major over the whole grid of carriers.
Source: FasterViT (arXiv:2306.06189).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class CarrierPool(nn.Module):
    """Depthwise 3x3 convolution of a map, then average pooling to c x c carriers for each window.

    As in the public code, cells overlap and drift away from their windows unless c divides k: the stride is k // c,
    and the kernel is as large as the rest of the map allows.

    Args:
        dim: C.
        window_size: k.
        carriers_per_side: c, at most k.
    """

    flops_part = "other"

    def __init__(self, dim: int, window_size: int, carriers_per_side: int) -> None:
        super().__init__()
        self.window_size = window_size
        self.carriers_per_side = carriers_per_side
        self.conv = nn.Conv2d(dim, dim, 3, padding=1, groups=dim)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W), H and W multiples of k, to (B, M, C) carriers in window order."""
        return pool_carriers(self.conv(x), self.window_size, self.carriers_per_side)


def pool_carriers(x: Tensor, window_size: int, carriers_per_side: int) -> Tensor:
    """The pooling of `CarrierPool` alone: (B, C, H, W), H and W multiples of k, to (B, M, C) in window order."""
    counts = (x.shape[2] // window_size, x.shape[3] // window_size)
    stride = window_size // carriers_per_side
    kernel = (
        x.shape[2] - (counts[0] * carriers_per_side - 1) * stride,
        x.shape[3] - (counts[1] * carriers_per_side - 1) * stride,
    )
    pooled = F.avg_pool2d(x, kernel, stride)
    return raster_to_windows(pooled.flatten(2).transpose(1, 2), counts, carriers_per_side)


def windows_to_raster(carriers: Tensor, counts: tuple[int, int], carriers_per_side: int) -> Tensor:
    """(B, M, C) from window order to raster order; `counts` are windows along the height and along the width."""
    B, M, C = carriers.shape
    cells = carriers.reshape(B, *counts, carriers_per_side, carriers_per_side, C)
    return cells.transpose(2, 3).reshape(B, M, C)


def raster_to_windows(carriers: Tensor, counts: tuple[int, int], carriers_per_side: int) -> Tensor:
    """Undo `windows_to_raster`."""
    B, M, C = carriers.shape
    rows, columns = counts
    cells = carriers.reshape(B, rows, carriers_per_side, columns, carriers_per_side, C)
    return cells.transpose(2, 3).reshape(B, M, C)


def spread_carriers(carriers: Tensor, carriers_per_side: int, window_size: int) -> Tensor:
    """(windows, c*c, C) to (windows, k*k, C): each token gets the carrier that lies over it."""
    nearest = torch.arange(window_size, device=carriers.device) * carriers_per_side // window_size
    cells = carriers.reshape(-1, carriers_per_side, carriers_per_side, carriers.shape[-1])
    return cells.index_select(1, nearest).index_select(2, nearest).flatten(1, 2)
