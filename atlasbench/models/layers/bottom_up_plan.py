"""Which finer window each coarse token reads in the bottom-up pass of Multi-Scale Attention.

A window of k x k fine tokens is read by the (k/s) x (k/s) coarse tokens over it: a block. Where the coarse grid is no
whole number of blocks, the remainder becomes pieces of its own, so that no query is padded further.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from atlasbench.core.scales import Grid
from atlasbench.models.layers.scale_layout import ScaleLayout


@dataclass(frozen=True)
class BottomUpPiece:
    """A rectangle of coarse tokens: a whole number of equal blocks, each over one window of the finer scale.

    Attributes:
        corner: First row and first column of the rectangle.
        block: Height and width of a block: the coarse tokens over one finer window.
        counts: Blocks along the height and along the width.
        parent: (blocks,) the finer window that each block reads; None where that is all of them in order.
        mask: (blocks, 1, 1, w) True at real keys; None where all are real.
    """

    corner: Grid
    block: Grid
    counts: Grid
    parent: Tensor | None
    mask: Tensor | None

    @property
    def rows(self) -> slice:
        """Rows of the coarse grid."""
        return slice(self.corner[0], self.corner[0] + self.block[0] * self.counts[0])

    @property
    def columns(self) -> slice:
        """Columns of the coarse grid."""
        return slice(self.corner[1], self.corner[1] + self.block[1] * self.counts[1])


def plan_bottom_up(
    layout: ScaleLayout, fine: ScaleLayout, stride: int, real: Tensor | None, device: torch.device
) -> tuple[tuple[BottomUpPiece, ...], ...]:
    """Cut a scale into pieces, row by row.

    Args:
        layout: The scale that reads.
        fine: The next finer scale, which is read.
        stride: s, pooling stride between the two.
        real: (W, w) True at real tokens of the finer scale; None where all are.
        device: Where the indices are made.
    """
    rows, columns = (_axis_blocks(layout, fine, stride, axis) for axis in (0, 1))
    return tuple(tuple(_plan_piece(row, column, fine, real, device) for column in columns) for row in rows)


@dataclass(frozen=True)
class _AxisBlocks:
    """Equal blocks along an axis: `count` of `size` tokens from `start` on, the first over window `first`."""

    start: int
    size: int
    count: int
    first: int


def _axis_blocks(layout: ScaleLayout, fine: ScaleLayout, stride: int, axis: int) -> list[_AxisBlocks]:
    """Cut an axis of a padded coarse grid into blocks over one fine window each, the last perhaps smaller.

    Queries are never padded further than to whole windows, so a remainder becomes a block of its own.
    """
    side = layout.padded[axis]
    size = side if fine.counts[axis] == 1 else fine.window[axis] // stride
    full, rest = side // size, side % size  # no divmod: torch.compile does not trace it
    blocks = [_AxisBlocks(0, size, full, 0)] if full else []
    return blocks + ([_AxisBlocks(full * size, rest, 1, full)] if rest else [])


def _plan_piece(
    row: _AxisBlocks, column: _AxisBlocks, fine: ScaleLayout, real: Tensor | None, device: torch.device
) -> BottomUpPiece:
    counts = (row.count, column.count)
    parent = None
    if counts != fine.counts:
        # Blocks wholly on padding have no window under them: they read the last one, and nobody reads them.
        axes = [
            (torch.arange(blocks.count, device=device) + blocks.first).clamp(max=limit - 1)
            for blocks, limit in zip((row, column), fine.counts, strict=True)
        ]
        parent = (axes[0][:, None] * fine.counts[1] + axes[1][None, :]).flatten()
    mask = real if real is None or parent is None else real[parent]
    return BottomUpPiece(
        corner=(row.start, column.start),
        block=(row.size, column.size),
        counts=counts,
        parent=parent,
        mask=None if mask is None else mask[:, None, None, :],
    )
