"""Which window reads which: the index and mask tensors that Multi-Scale Attention needs at one input size.

Legend: scale l, t coarser than l; W_l windows at scale l, w_l tokens of one; s pooling stride between scales.
Masks exist only where something is padded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from atlasbench.core.errors import UnsupportedError
from atlasbench.models.layers.bottom_up_plan import BottomUpPiece, plan_bottom_up
from atlasbench.models.layers.position import window_coordinates
from atlasbench.models.layers.scale_layout import ScaleLayout, real_keys


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
    real = [real_keys(layout, device) for layout in layouts]
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
            bottom_up = plan_bottom_up(layout, layouts[scale - 1], downsample_stride, real[scale - 1], device)
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
