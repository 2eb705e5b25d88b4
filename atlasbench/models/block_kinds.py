"""The kinds of blocks that the Atlas paper compares (Table 3): how one is made, how a stack is run, what to say of it.

The paper gives the map (96 x 96 tokens), 4 blocks, 12 heads and 768 channels, and no window, segment or carrier
tokens: those are options, and every record says them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

from torch import nn

from atlasbench.core.errors import InvalidOptionError, UnsupportedError
from atlasbench.core.scales import Grid, coarser_grids, divide_up, format_grid, padded_grids, window_shapes
from atlasbench.models import block_runs
from atlasbench.models.block_options import BlockOptions
from atlasbench.models.block_runs import Run
from atlasbench.models.layers.dilated_block import DilatedBlock
from atlasbench.models.layers.hierarchical_attention import HierarchicalAttentionBlock
from atlasbench.models.layers.mamba_mixer import MambaMixer
from atlasbench.models.layers.multiscale_attention import MultiScaleBlock
from atlasbench.models.layers.shifted_windows import ShiftedWindowAttention
from atlasbench.models.layers.transformer_block import SelfAttention, TransformerBlock


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockPlan:
    """One kind of block with its options, for one map of tokens.

    Attributes:
        make_block: The block of an index, from 0.
        run: Runs a stack of them.
        notes: Every setting that matters to the kind, and its rule for padding where something is padded.
    """

    make_block: Callable[[int], nn.Module]
    run: Run
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BlockKind:
    """One kind of block.

    Attributes:
        plan: Plans it for a map of tokens; may refuse the size or an option.
        options: Which options it uses, beside those that every kind does.
    """

    plan: Callable[[BlockOptions, Grid], BlockPlan]
    options: frozenset[str]


def _plan_vit(options: BlockOptions, grid: Grid) -> BlockPlan:
    return BlockPlan(make_block=lambda _: _attention_block(options), run=block_runs.run_on_sequence)


def _plan_window_vit(options: BlockOptions, grid: Grid) -> BlockPlan:
    k = options.window_size
    return BlockPlan(
        make_block=lambda _: _attention_block(options),
        run=partial(block_runs.run_in_masked_windows, window_size=k),
        notes=(
            f"{_windows(k, grid)} that never exchange anything",
            *_padding(grid, k, "padded keys are masked (ours)"),
        ),
    )


def _plan_shifted_window(options: BlockOptions, grid: Grid) -> BlockPlan:
    k = options.window_size
    rule = "after the norm, padded keys are not masked (Swin's rule for detection)"
    shift = "shifted by half in every second block"
    if max(grid) <= k or options.depth == 1:
        shift = f"never shifted: {'one covers the map' if max(grid) <= k else 'every second block would be'}"

    def make_block(index: int) -> nn.Module:
        mixer = ShiftedWindowAttention(options.embed_dim, options.num_heads, k, shifted=index % 2 == 1)
        return TransformerBlock(options.embed_dim, mixer, mlp_ratio=options.mlp_ratio)

    return BlockPlan(
        make_block=make_block,
        run=block_runs.run_on_map,
        notes=(f"{_windows(k, grid)}, {shift}", *_padding(grid, k, rule)),
    )


def _plan_hierarchical_attention(options: BlockOptions, grid: Grid) -> BlockPlan:
    k, c = options.window_size, options.ct_size
    if c > k:
        raise InvalidOptionError(f"ct_size must be at most window_size {k}, got {c}.")
    rows, columns = divide_up(grid, k)
    if rows * columns == 1:
        raise UnsupportedError(
            f"Hierarchical attention needs more than one window: {format_grid(grid)} tokens are one of "
            f"{format_grid((k, k))}. Give smaller windows, or more tokens."
        )
    notes = [
        f"{_windows(k)} with {format_grid((c, c))} carrier tokens each, averaged from the map without the stage's "
        "depthwise convolution; no propagation, no layer scale"
    ]
    if rows != columns:
        notes.append("unequal numbers of windows per axis: carriers without positions, order of the public code")
    padded = (rows * k, columns * k)
    if padded != grid:
        notes.append(f"{format_grid(grid)} tokens padded to {format_grid(padded)}, not masked (FasterViT's rule)")

    def make_block(_: int) -> nn.Module:
        return HierarchicalAttentionBlock(
            options.embed_dim,
            options.num_heads,
            k,
            c,
            mlp_ratio=options.mlp_ratio,
            has_carrier_position=rows == columns,
        )

    run = partial(block_runs.run_with_carriers, window_size=k, carriers_per_side=c)
    return BlockPlan(make_block=make_block, run=run, notes=tuple(notes))


def _plan_dilated_attention(options: BlockOptions, grid: Grid) -> BlockPlan:
    lengths, ratios = tuple(options.segment_length), tuple(options.dilated_ratio)
    tokens = grid[0] * grid[1]
    notes = [f"segments of {_list(lengths)} tokens, dilated ratios {_list(ratios)}"]
    longest = max(lengths)
    nested = all(longest % length == 0 for length in lengths)
    if nested and longest < tokens:
        notes.append(f"{-(-tokens // longest)} groups of {longest} tokens that never exchange anything")
    if any(tokens % min(length, tokens) for length in lengths):
        notes.append(f"{tokens} tokens padded to whole segments, not masked (the official rule)")
    return BlockPlan(
        make_block=lambda _: DilatedBlock(
            options.embed_dim, options.num_heads, lengths, ratios, mlp_ratio=options.mlp_ratio
        ),
        run=block_runs.run_on_sequence,
        notes=tuple(notes),
    )


def _plan_mambavision_mixer(options: BlockOptions, grid: Grid) -> BlockPlan:
    k = options.scan_window
    run: Run = block_runs.run_on_sequence
    notes = [f"one scan over all {grid[0] * grid[1]} tokens, row by row: a token reaches those after it; no attention"]
    if k:
        run = partial(block_runs.run_in_full_windows, window_size=k)
        notes = [f"scans inside {_windows(k)}, row by row: a token reaches those after it; no attention"]
        rows, columns = (side * k for side in divide_up(grid, k))
        if (rows, columns) != grid:
            notes.append(
                f"{format_grid(grid)} tokens padded to {format_grid((rows, columns))}, not masked (MambaVision's rule)"
            )

    def make_block(_: int) -> nn.Module:
        return TransformerBlock(options.embed_dim, MambaMixer(options.embed_dim), mlp_ratio=options.mlp_ratio)

    return BlockPlan(make_block=make_block, run=run, notes=tuple(notes))


def _plan_msa(options: BlockOptions, grid: Grid) -> BlockPlan:
    k, s = options.window_size, options.downsample_stride
    grids = coarser_grids(grid, window_size=k, downsample_stride=s)
    scales = "one scale"
    if len(grids) > 1:
        scales = f"max-pooled scales of {_list(map(format_grid, grids))} tokens, all of them in the mean"
    padding = [note for scale in grids for note in _padding(scale, k, "padded keys are masked (ours)")]

    def make_block(_: int) -> nn.Module:
        return MultiScaleBlock(
            options.embed_dim, options.num_heads, len(grids), downsample_stride=s, mlp_ratio=options.mlp_ratio
        )

    return BlockPlan(
        make_block=make_block,
        run=partial(block_runs.run_on_scales, num_scales=len(grids), window_size=k, stride=s),
        notes=(f"{_windows(k, grid)}, stride {s}: {scales}", *padding),
    )


def _attention_block(options: BlockOptions) -> nn.Module:
    mixer = SelfAttention(options.embed_dim, options.num_heads)
    return TransformerBlock(options.embed_dim, mixer, mlp_ratio=options.mlp_ratio)


def _padding(grid: Grid, window_size: int, rule: str) -> tuple[str, ...]:
    (padded,) = padded_grids([grid], window_size)
    return () if padded == grid else (f"{format_grid(grid)} tokens padded to {format_grid(padded)}, {rule}",)


def _windows(window_size: int, grid: Grid | None = None) -> str:
    """Windows of a size; on a map of `grid`, no larger than that."""
    sides = (window_size, window_size)
    ((rows, columns),) = window_shapes([grid or sides], window_size)
    asked = "" if (rows, columns) == sides else f" (all of an axis where window_size {window_size} is more)"
    return f"windows of {format_grid((rows, columns))} tokens{asked}"


def _list(values: Iterable[object]) -> str:
    return ", ".join(map(str, values))


KINDS = {
    "msa": BlockKind(_plan_msa, frozenset({"num_heads", "window_size", "downsample_stride"})),
    "vit": BlockKind(_plan_vit, frozenset({"num_heads"})),
    "window_vit": BlockKind(_plan_window_vit, frozenset({"num_heads", "window_size"})),
    "shifted_window": BlockKind(_plan_shifted_window, frozenset({"num_heads", "window_size"})),
    "hierarchical_attention": BlockKind(
        _plan_hierarchical_attention, frozenset({"num_heads", "window_size", "ct_size"})
    ),
    "dilated_attention": BlockKind(
        _plan_dilated_attention, frozenset({"num_heads", "segment_length", "dilated_ratio"})
    ),
    "mambavision_mixer": BlockKind(_plan_mambavision_mixer, frozenset({"scan_window"})),
}
