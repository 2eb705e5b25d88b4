"""Stacks of one kind of block on a map of tokens, to compare token mixers without a backbone around them.

Legend: B batch, C channels, N tokens, H W height and width of the map in tokens.
Source of the set-up: Table 3 of Atlas (arXiv:2503.12355): 384 px, patch 4, 4 blocks of 12 heads and 768 channels.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from atlasbench.core.resolution import Resolution
from atlasbench.core.scales import format_grid
from atlasbench.models.backbone import Backbone
from atlasbench.models.block_kinds import KINDS, BlockPlan
from atlasbench.models.block_options import BlockOptions, map_grid
from atlasbench.models.built import BuiltModel
from atlasbench.models.option_values import check_heads

_OF_EVERY_KIND = frozenset({"patch_size", "depth", "embed_dim", "mlp_ratio"})


class BlockStack(Backbone):
    """Blocks of one kind on a map of tokens; the mean over tokens gives training something to differentiate.

    Args:
        plan: The kind of block, for the map in hand.
        depth: Blocks.
        embed_dim: C.
    """

    def __init__(self, plan: BlockPlan, depth: int, embed_dim: int) -> None:
        super().__init__(num_features=embed_dim, num_classes=0)
        self._run = plan.run
        self.blocks = nn.ModuleList(plan.make_block(index) for index in range(depth))
        self.head = self.make_head()
        self.apply(self.init_layer)

    def forward_features(self, x: Tensor) -> Tensor:
        """(B, C, H, W) tokens to (B, N, C), of all scales where there are several."""
        return self._run(x.permute(0, 2, 3, 1), self.blocks, self.run_block)

    def pool(self, x: Tensor) -> Tensor:
        """(B, N, C) of `forward_features` to the mean (B, C)."""
        return x.mean(dim=1)


def build_blocks(
    *,
    resolution: Resolution,
    kind: str,
    num_classes: int = 0,
    patch_size: int = 4,
    depth: int = 4,
    embed_dim: int = 768,
    num_heads: int = 12,
    mlp_ratio: float = 4.0,
    window_size: int = 16,
    downsample_stride: int = 8,
    ct_size: int = 2,
    segment_length: Sequence[int] = (64, 128, 256, 512, 1024),
    dilated_ratio: Sequence[int] = (1, 2, 4, 8, 16),
    scan_window: int = 0,
) -> BuiltModel:
    """Build a stack of blocks; what its kind does not use of the options is dropped, and a note says so.

    Args:
        resolution: Image size, in pixels; with the patch it gives the size of the map.
        kind: One of `KINDS`.
        num_classes: Not used: a stack has no classifier.
        patch_size: Side of a patch, in pixels.
        depth: Blocks.
        embed_dim: C.
        num_heads: Attention heads; divides C.
        mlp_ratio: Hidden width of the MLPs, over C.
        window_size: Side of a window, in tokens.
        downsample_stride: Pooling stride between scales of Multi-Scale Attention, per axis.
        ct_size: Carrier tokens along a side of a window, of hierarchical attention.
        segment_length: Tokens of a segment, for every branch of dilated attention.
        dilated_ratio: Of each branch, every how many tokens it reads.
        scan_window: Side of the windows that a Mamba mixer runs in, in tokens; 0 for all tokens in one sequence.

    Returns:
        The stack, for maps (B, C, H, W) of the size that it names.

    Raises:
        InvalidOptionError: If an option has a value that no block has.
        InvalidWorkloadError: If the image is no whole number of patches.
        UnsupportedError: If there is no such block on a map of this size.
    """
    options = BlockOptions(
        depth=depth,
        embed_dim=embed_dim,
        mlp_ratio=mlp_ratio,
        num_heads=num_heads,
        window_size=window_size,
        downsample_stride=downsample_stride,
        ct_size=ct_size,
        segment_length=segment_length,
        dilated_ratio=dilated_ratio,
        scan_window=scan_window,
    )
    used = KINDS[kind].options | _OF_EVERY_KIND
    if "num_heads" in used:
        check_heads(embed_dim, num_heads)
    grid = map_grid(resolution, patch_size)
    plan = KINDS[kind].plan(options, grid)
    tokens = f"{format_grid(grid)} tokens (patch {patch_size})"
    blocks = f"{_count(depth, 'block')} of {embed_dim} channels, MLP ratio {mlp_ratio:g}"
    given = {**vars(options), "num_classes": num_classes}
    return BuiltModel(
        model=BlockStack(plan, depth, embed_dim),
        notes=(
            f"{blocks}, on a map of {tokens}; no patch embedding, no classifier",
            *([_count(num_heads, "head")] if "num_heads" in used else []),
            *plan.notes,
            *_name_unused(f"block:{kind}", given, used),
        ),
        input_shape=(embed_dim, *grid),
        unused=frozenset(given) - used,
    )


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _name_unused(name: str, given: Mapping[str, Any], used: frozenset[str]) -> list[str]:
    """A note on the options that were given another value than their own and are not used."""
    parameters = inspect.signature(build_blocks).parameters
    changed = [option for option, value in given.items() if value != parameters[option].default]
    unused = [option for option in changed if option not in used]
    return [f"not used by {name}: {', '.join(unused)}"] if unused else []
