"""Dilated attention: several branches of attention, each among a part of the tokens of a segment, added up by weight.

Legend: B batch, N tokens, H heads, d channels of a head; a branch has segments of w tokens and a ratio r.
Source: LongNet (arXiv:2307.02486), as LongViT (arXiv:2312.03558) uses it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from atlasbench.core.compat import StrEnum
from atlasbench.core.errors import InvalidOptionError
from atlasbench.models.layers.attention_with_lse import attention_with_lse
from atlasbench.models.layers.dilated_layout import BranchLayout, combine, gather, heads_together, spread
from atlasbench.models.option_values import read_whole_numbers, read_word

_NOT_COVERED = -1e8  # log-sum-exp of a branch at tokens it does not keep


class DilatedPadding(StrEnum):
    """What becomes of segments that the sequence does not fill, or that are no multiple of their ratio."""

    OFFICIAL = "official"  # padding is read as zeros, and moves the rows of later segments on where r does not divide w
    ALIGNED = "aligned"  # padding is read as zeros; rows stay where they were
    MASKED = "masked"  # padding is not read; rows stay where they were


@dataclass(frozen=True, slots=True)
class _Branch:
    segment: int
    read: BranchLayout
    write: BranchLayout


def dilated_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    segment_lengths: Sequence[int],
    dilated_ratios: Sequence[int],
    *,
    padding: str = DilatedPadding.OFFICIAL,
) -> Tensor:
    """Attention in segments, of which a branch of ratio r keeps every r-th token, other ones for other heads.

    Branches are added up by their share of the softmax denominator. As in the official code, these weights are
    constants in the backward pass.

    Args:
        q: (B, N, H, d) queries.
        k: (B, N, H, d) keys.
        v: (B, N, H, d) values.
        segment_lengths: w of each branch, in tokens; the whole sequence where that is shorter.
        dilated_ratios: r of each branch.
        padding: `official`, `aligned` or `masked`; see `DilatedPadding`.

    Returns:
        (B, N, H, d); 0 where no branch keeps a token.

    Raises:
        InvalidOptionError: If lengths and ratios are no whole numbers of at least 1, or not equally many, or `padding`
            is no such word.
        ValueError: If q, k and v are not of one shape and dtype.
    """
    lengths, ratios = read_branches(segment_lengths, dilated_ratios)
    rule = read_word(DilatedPadding, "padding", padding)
    if q.ndim != 4 or not q.shape == k.shape == v.shape or q.shape[1] == 0:
        shapes = ", ".join(str(tuple(tensor.shape)) for tensor in (q, k, v))
        raise ValueError(f"q, k and v must be of one shape (B, N, heads, head_dim), got {shapes}.")
    if not q.dtype == k.dtype == v.dtype:
        raise ValueError(f"q, k and v must be of one dtype, got {q.dtype}, {k.dtype} and {v.dtype}.")
    num_tokens = q.shape[1]
    branches = [_lay_out(num_tokens, w, r, rule) for w, r in zip(lengths, ratios, strict=True)]
    reads, writes = [branch.read for branch in branches], [branch.write for branch in branches]
    outputs, lses = [], []
    for branch, q_rows, k_rows, v_rows in zip(
        branches, gather(q, reads), gather(k, reads), gather(v, reads), strict=True
    ):
        mask = _real_keys(branch, q) if rule is DilatedPadding.MASKED else None
        output, lse = attention_with_lse(q_rows, k_rows, v_rows, mask)
        outputs.append(output)
        lses.append(lse)
    with torch.no_grad():
        weights = _branch_weights(lses, writes, num_tokens, rule)
    return combine(outputs, [weight.to(outputs[0].dtype) for weight in weights], writes, num_tokens)


def read_branches(segment_lengths: object, dilated_ratios: object) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Segment lengths and ratios, checked.

    Raises:
        InvalidOptionError: If they are no whole numbers of at least 1, or not equally many.
    """
    lengths = read_whole_numbers("segment_lengths", segment_lengths, at_least=1)
    ratios = read_whole_numbers("dilated_ratios", dilated_ratios, at_least=1)
    if len(lengths) != len(ratios):
        raise InvalidOptionError(
            f"segment_lengths and dilated_ratios must be equally many, got {len(lengths)} and {len(ratios)}."
        )
    return lengths, ratios


def _lay_out(num_tokens: int, segment: int, ratio: int, rule: DilatedPadding) -> _Branch:
    segment = min(segment, num_tokens)
    num_segments, rows = -(-num_tokens // segment), -(-segment // ratio)
    read = BranchLayout(num_segments, ratio, rows, segment)
    # The official code writes segments back one after the other with their padding.
    write = read._replace(stride=read.padded_stride) if rule is DilatedPadding.OFFICIAL else read
    return _Branch(segment, read, write)


def _branch_weights(
    lses: Sequence[Tensor], layouts: Sequence[BranchLayout], num_tokens: int, rule: DilatedPadding
) -> list[Tensor]:
    """Softmax over branches of (B * n, H, s) log-sum-exps, token by token: one (B * n, H, s, 1) a branch."""
    dense = []
    for lse, layout in zip(lses, layouts, strict=True):
        by_token = spread(lse.unsqueeze(-1), layout, num_tokens, _NOT_COVERED)
        if rule is DilatedPadding.OFFICIAL:  # takes a log-sum-exp of 0 for a token that is not covered
            by_token = by_token.masked_fill(by_token == 0, _NOT_COVERED)
        dense.append(by_token)
    shares = torch.stack(dense).softmax(dim=0)
    return [next(iter(gather(share, [layout]))) for share, layout in zip(shares, layouts, strict=True)]


def _real_keys(branch: _Branch, like: Tensor) -> Tensor | None:
    """True where a key is no padding, (B * n, H, 1, s); None where all are."""
    layout, (B, N, H, _) = branch.read, like.shape
    if layout.length == N and layout.padded_stride == layout.stride:
        return None
    device = like.device
    first = torch.arange(H, device=device)[:, None] // heads_together(H, layout.ratio)  # row, by head
    in_segment = first + layout.ratio * torch.arange(layout.rows, device=device)  # (H, s)
    start = layout.stride * torch.arange(layout.num_segments, device=device)[:, None, None]
    is_real = (in_segment < layout.stride) & (start + in_segment < N)  # (n, H, s)
    return is_real.repeat(B, 1, 1).unsqueeze(-2)
