"""Which window reads which: the index and mask tensors that Multi-Scale Attention needs at one input size.

Legend: scale l, t coarser than l; W_l windows at scale l, w_l tokens of one; k side of a window, s stride.
Grids that are no whole number of windows are padded right and bottom; padded keys are masked, so padding
changes no answer. Masks exist only where something is padded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from atlasbench.core.errors import UnsupportedError
from atlasbench.core.scales import Grid, padded_grids, window_shapes
from atlasbench.models.layers.position import window_coordinates


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


@dataclass(frozen=True)
class ScalePlan:
    """What one scale reads in each pass.

    Attributes:
        layout: Its windows.
        coordinates: (height, width, 2) position coordinates inside a window.
        parents: For every coarser scale, (W_l,) which of its windows each window reads; None where it has one.
        mask: (W_l, 1, 1, keys) True at real keys of the top-down pass; None where all are real.
        bottom_up: The pieces of this scale, row by row; empty at the finest scale.
    """

    layout: ScaleLayout
    coordinates: Tensor
    parents: tuple[Tensor | None, ...]
    mask: Tensor | None
    bottom_up: tuple[tuple[BottomUpPiece, ...], ...]


def lay_out_scales(grids: Sequence[Grid], window_size: int) -> tuple[ScaleLayout, ...]:
    """Windows of every scale."""
    windows, padded = window_shapes(grids, window_size), padded_grids(grids, window_size)
    return tuple(ScaleLayout(*sides) for sides in zip(grids, windows, padded, strict=True))


def plan_scales(
    layouts: Sequence[ScaleLayout],
    downsample_stride: int,
    *,
    reads_coarser: bool,
    row_major: bool,
    device: torch.device,
) -> tuple[ScalePlan, ...]:
    """Plan every scale; a stage that has dropped scales uses the last of the plans.

    Args:
        layouts: Windows of every scale, finest first.
        downsample_stride: s.
        reads_coarser: Whether a window reads coarser scales in the top-down pass, or itself only.
        row_major: Match coarse windows by place in the list, as the public code does, not by what they cover.
        device: Where index and mask tensors are made.

    Raises:
        UnsupportedError: If windows are matched row-major and their numbers do not divide.
    """
    real = [_real_keys(layout, device) for layout in layouts]
    plans = []
    for scale, layout in enumerate(layouts):
        coarser = range(scale + 1, len(layouts)) if reads_coarser else range(0)
        parents = tuple(
            parent_windows(layout, layouts[t], downsample_stride ** (t - scale), row_major, device) for t in coarser
        )
        masks = [real[scale], *(_gather(real[t], parent) for t, parent in zip(coarser, parents, strict=True))]
        read = [layout, *(layouts[t] for t in coarser)]
        bottom_up: tuple[tuple[BottomUpPiece, ...], ...] = ()
        if scale > 0:
            bottom_up = _plan_bottom_up(layout, layouts[scale - 1], downsample_stride, real[scale - 1], device)
        plans.append(
            ScalePlan(
                layout=layout,
                coordinates=window_coordinates(*layout.window, device),
                parents=parents,
                mask=_join_masks(masks, read, layout.num_windows, device),
                bottom_up=bottom_up,
            )
        )
    return tuple(plans)


def check_row_major(layouts: Sequence[ScaleLayout]) -> None:
    """Refuse scales whose numbers of windows do not divide: the public code's matching is not defined there.

    Raises:
        UnsupportedError: If they do not.
    """
    counts = [layout.num_windows for layout in layouts]
    for fine, coarse in pairwise(counts):
        if fine % coarse:
            raise UnsupportedError(
                f"window_matching='row_major' is not defined at this size: {fine} windows are no multiple of the "
                f"{coarse} windows of the next scale. Use window_matching='covering'."
            )


def parent_windows(
    fine: ScaleLayout, coarse: ScaleLayout, stride: int, row_major: bool, device: torch.device
) -> Tensor | None:
    """(W_fine,) the coarse window that each fine window reads, both in row-major order; None if there is one.

    Args:
        fine: The finer scale.
        coarse: The coarser scale.
        stride: Tokens of the finer scale along a side of one coarse token.
        row_major: As the public code: the list of coarse windows with each entry repeated in place.
        device: Where the index is made.
    """
    if coarse.num_windows == 1:
        return None
    if row_major:
        check_row_major((fine, coarse))
        return torch.arange(fine.num_windows, device=device) // (fine.num_windows // coarse.num_windows)
    axes = [
        (torch.arange(count, device=device) // stride).clamp(max=limit - 1)
        for count, limit in zip(fine.counts, coarse.counts, strict=True)
    ]
    return (axes[0][:, None] * coarse.counts[1] + axes[1][None, :]).flatten()


def _plan_bottom_up(
    layout: ScaleLayout, fine: ScaleLayout, stride: int, real: Tensor | None, device: torch.device
) -> tuple[tuple[BottomUpPiece, ...], ...]:
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
    mask = None if real is None else _gather(real, parent)
    return BottomUpPiece(
        corner=(row.start, column.start),
        block=(row.size, column.size),
        counts=counts,
        parent=parent,
        mask=None if mask is None else mask[:, None, None, :],
    )


def _real_keys(layout: ScaleLayout, device: torch.device) -> Tensor | None:
    """(W, w) True where a window's token is real; None where all are."""
    if layout.grid == layout.padded:
        return None
    axes = [
        (torch.arange(side, device=device) < end).view(-1, window)
        for side, end, window in zip(layout.padded, layout.grid, layout.window, strict=True)
    ]
    real = axes[0][:, None, :, None] & axes[1][None, :, None, :]  # (rows, columns, height, width)
    return real.reshape(layout.num_windows, -1)


def _gather(real: Tensor | None, parent: Tensor | None) -> Tensor | None:
    return real if real is None or parent is None else real[parent]


def _join_masks(
    masks: Sequence[Tensor | None], read: Sequence[ScaleLayout], num_windows: int, device: torch.device
) -> Tensor | None:
    """Masks of all windows read, one after the other: (W, 1, 1, keys), or None if all keys are real."""
    if all(mask is None for mask in masks):
        return None
    parts = []
    for mask, layout in zip(masks, read, strict=True):
        all_real = torch.ones(1, layout.window[0] * layout.window[1], dtype=torch.bool, device=device)
        parts.append((all_real if mask is None else mask).expand(num_windows, -1))
    return torch.cat(parts, dim=1)[:, None, None, :]
