"""How the tokens of a scale lie in windows, and which of them are real.

Grids that are no whole number of windows are padded right and bottom; padded keys are masked, so padding changes no
answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from atlasbench.core.scales import Grid, padded_grids, window_shapes


@dataclass(frozen=True)
class ScaleLayout:
    """How the tokens of one scale lie in windows; heights and widths in tokens.

    Attributes:
        grid: Real tokens.
        window: One window.
        padded: Real and padded tokens: a whole number of windows.
    """

    grid: Grid
    window: Grid
    padded: Grid

    @property
    def counts(self) -> Grid:
        """Windows along the height and along the width."""
        return self.padded[0] // self.window[0], self.padded[1] // self.window[1]

    @property
    def num_windows(self) -> int:
        """Windows of the scale, W_l."""
        rows, columns = self.counts
        return rows * columns


def lay_out_scales(grids: Sequence[Grid], window_size: int) -> tuple[ScaleLayout, ...]:
    """Windows of every scale."""
    windows, padded = window_shapes(grids, window_size), padded_grids(grids, window_size)
    return tuple(ScaleLayout(*sides) for sides in zip(grids, windows, padded, strict=True))


def real_keys(layout: ScaleLayout, device: torch.device) -> Tensor | None:
    """(W, w) True where a window's token is real; None where all are."""
    if layout.grid == layout.padded:
        return None
    axes = [
        (torch.arange(side, device=device) < end).view(-1, window)
        for side, end, window in zip(layout.padded, layout.grid, layout.window, strict=True)
    ]
    real = axes[0][:, None, :, None] & axes[1][None, :, None, :]  # (rows, columns, height, width)
    return real.reshape(layout.num_windows, -1)
