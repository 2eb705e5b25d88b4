"""Where the rows of one branch of dilated attention lie in the sequence, and how they are moved there and back.

A branch cuts the sequence into segments; of each segment a head keeps every r-th row, from a first row that depends
on the head. Rows are read and written through strided views, so that only what a branch keeps is moved.

Legend: B batch, N tokens, H heads, d channels of a head; n segments of w tokens, ratio r, s = ceil(w / r) rows kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F


class BranchLayout(NamedTuple):
    """Rows of one branch.

    Attributes:
        num_segments: n.
        ratio: r.
        rows: s, of each head in each segment.
        stride: Tokens from the start of a segment to the start of the next; at most s * r.
    """

    num_segments: int
    ratio: int
    rows: int
    stride: int

    @property
    def padded_stride(self) -> int:
        """Tokens of a segment in which every head has all of its rows."""
        return self.rows * self.ratio

    @property
    def length(self) -> int:
        """Tokens that the segments span, those beyond the sequence included."""
        return self.num_segments * self.stride


def heads_together(num_heads: int, ratio: int) -> int:
    """Neighbouring heads that keep the same rows: the first so many keep the first row, the next so many the second."""
    return -(-num_heads // ratio)


def gather(x: Tensor, layouts: Sequence[BranchLayout]) -> Iterable[Tensor]:
    """Rows that each branch keeps: (B, N, H, d) to one (B * n, H, s, d) a branch; zeros beyond the sequence."""
    if torch.is_grad_enabled() and x.requires_grad:
        pieces: tuple[Tensor, ...] = _Gather.apply(x, tuple(layouts))  # type: ignore[no-untyped-call]
        return pieces
    return _gather(x, layouts)


def combine(
    outputs: Sequence[Tensor], weights: Sequence[Tensor], layouts: Sequence[BranchLayout], num_tokens: int
) -> Tensor:
    """Weighted sum of branches: (B * n, H, s, d) and constant (B * n, H, s, 1) a branch to (B, N, H, d).

    Rows beyond the sequence are left out; tokens that no branch keeps are 0.
    """
    if torch.is_grad_enabled() and any(output.requires_grad for output in outputs):
        combined: Tensor = _Combine.apply(  # type: ignore[no-untyped-call]
            tuple(layouts), num_tokens, *weights, *outputs
        )
        return combined
    return _combine(outputs, weights, layouts, num_tokens)


def spread(rows: Tensor, layout: BranchLayout, num_tokens: int, fill: float) -> Tensor:
    """One branch over the sequence: (B * n, H, s, d) to (B, N, H, d), with `fill` where a head keeps no token."""
    out = _new(rows, (layout,), num_tokens, fill)
    for view, part in _views_and_parts(out, layout, rows):
        view.copy_(part)
    return out[:, :num_tokens]


class _Gather(torch.autograd.Function):
    """`gather` whose gradient is summed in one dense tensor, and not in one for each branch."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layouts: tuple[BranchLayout, ...]) -> tuple[Tensor, ...]:
        ctx.layouts, ctx.num_tokens = layouts, x.shape[1]
        return tuple(_gather(x, layouts))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        out = _new(grads[0], ctx.layouts, ctx.num_tokens, 0.0)
        for grad, layout in zip(grads, ctx.layouts, strict=True):
            for view, part in _views_and_parts(out, layout, grad):
                view.add_(part)
        return out[:, : ctx.num_tokens], None


class _Combine(torch.autograd.Function):
    """`combine` in place: no branch is ever spread over the whole sequence."""

    @staticmethod
    def forward(ctx: Any, layouts: tuple[BranchLayout, ...], num_tokens: int, *pieces: Tensor) -> Tensor:
        weights, outputs = pieces[: len(layouts)], pieces[len(layouts) :]
        ctx.layouts = layouts
        ctx.save_for_backward(*weights)
        return _combine(outputs, weights, layouts, num_tokens)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        weights = ctx.saved_tensors
        grads = [rows * weight for rows, weight in zip(_gather(grad, ctx.layouts), weights, strict=True)]
        return (None, None, *(None for _ in weights), *grads)


def _combine(
    outputs: Sequence[Tensor], weights: Sequence[Tensor], layouts: Sequence[BranchLayout], num_tokens: int
) -> Tensor:
    out = _new(outputs[0], layouts, num_tokens, 0.0)
    for output, weight, layout in zip(outputs, weights, layouts, strict=True):
        for view, part, factor in _views_and_parts(out, layout, output, weight):
            view.addcmul_(part, factor)
    return out[:, :num_tokens]


def _gather(x: Tensor, layouts: Sequence[BranchLayout]) -> Iterator[Tensor]:
    longest = max(layout.length for layout in layouts)
    if longest > x.shape[1]:
        x = F.pad(x, (0, 0, 0, 0, 0, longest - x.shape[1]))
    return (_gather_branch(x, layout) for layout in layouts)


def _gather_branch(x: Tensor, layout: BranchLayout) -> Tensor:
    segments = _split(x, layout)
    if layout.stride < layout.padded_stride:
        segments = F.pad(segments, (0, 0, 0, 0, 0, layout.padded_stride - layout.stride))
    views = [view.flatten(2, 3).flatten(0, 1) for view, _, _ in _kept_rows(segments, layout.ratio)]
    return views[0] if len(views) == 1 else torch.cat(views, dim=1)


def _new(like: Tensor, layouts: Sequence[BranchLayout], num_tokens: int, fill: float) -> Tensor:
    """(B, tokens that every layout spans, H, d), for branches (B * n, H, s, d)."""
    _, num_heads, _, head_dim = like.shape
    longest = max(num_tokens, *(layout.length for layout in layouts))
    return like.new_full((like.shape[0] // layouts[0].num_segments, longest, num_heads, head_dim), fill)


def _split(x: Tensor, layout: BranchLayout) -> Tensor:
    """View of (B, at least n * stride, H, d) as (B, n, stride, H, d)."""
    segments: Tensor = x[:, : layout.length].unflatten(1, (layout.num_segments, layout.stride))
    return segments


def _views_and_parts(out: Tensor, layout: BranchLayout, *pieces: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Views of (B, at least n * stride, H, d), each with the part of every (B * n, H, s, d) that belongs there."""
    for view, heads, rows in _kept_rows(_split(out, layout), layout.ratio):
        yield view, *(piece[:, heads, rows].reshape(*view.shape[:5], -1) for piece in pieces)


def _kept_rows(segments: Tensor, ratio: int) -> Iterator[tuple[Tensor, slice, slice]]:
    """Views (B, n, groups, heads of a group, rows, d) of (B, n, tokens, H, d), with the heads and rows that each holds.

    Heads of a group keep the same rows. Where the ratio does not divide the tokens, the last row is a view of its own:
    only some heads have it.
    """
    tokens = int(segments.shape[2])  # tracers give a tensor
    whole, rest = tokens // ratio, tokens % ratio
    if whole:
        rows = segments[:, :, : whole * ratio].unflatten(2, (whole, ratio))
        yield from _by_group(rows, ratio, slice(0, whole))
    if rest:
        rows = segments[:, :, whole * ratio :].unflatten(2, (1, rest))
        yield from _by_group(rows, ratio, slice(whole, whole + 1))


def _by_group(rows: Tensor, ratio: int, which: slice) -> Iterator[tuple[Tensor, slice, slice]]:
    """Views of (B, n, rows, tokens of a row, H, d): group g keeps token g of a row."""
    tokens, num_heads = rows.shape[3:5]
    together = heads_together(num_heads, ratio)
    full = num_heads // together
    groups = min(full, tokens)
    grouped = rows[..., : groups * together, :].unflatten(4, (groups, together))
    yield grouped.diagonal(dim1=3, dim2=4).permute(0, 1, 5, 3, 2, 4), slice(0, groups * together), which
    if full < tokens and full * together < num_heads:  # the last group has fewer heads
        last = slice(full * together, num_heads)
        yield rows[:, :, :, full, last].permute(0, 1, 3, 2, 4).unsqueeze(2), last, which
