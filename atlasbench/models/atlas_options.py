"""What shapes an Atlas, checked once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from atlasbench.core.compat import StrEnum
from atlasbench.core.scales import Grid, format_grid, format_scale_drop, padded_grids
from atlasbench.models.option_values import check_heads, check_numbers


class Communication(StrEnum):
    """What scales tell each other (Table 4 of the paper)."""

    NONE = "none"
    BOTTOM_UP = "bottom_up"
    TOP_DOWN = "top_down"
    BOTH = "both"

    @property
    def reads_coarser(self) -> bool:
        """Whether windows read the coarser windows over them."""
        return self in {Communication.TOP_DOWN, Communication.BOTH}

    @property
    def reads_finer(self) -> bool:
        """Whether coarse tokens pool and read the finer tokens under them."""
        return self in {Communication.BOTTOM_UP, Communication.BOTH}


class Composition(StrEnum):
    """How blocks make a backbone (Table 5 of the paper)."""

    DROP = "drop"  # each stage drops the finest scale
    STACK = "stack"  # all scales in every block
    CONV = "conv"  # one scale, halved by a convolution between stages


class WindowMatching(StrEnum):
    """Which coarse window a fine window reads."""

    COVERING = "covering"  # the one that covers it, as in the paper's Eq. 2 and Figure 4
    ROW_MAJOR = "row_major"  # by place in the list, as the public code does


@dataclass(frozen=True, kw_only=True)
class AtlasOptions:
    """Everything that shapes an Atlas, apart from the number of scales and the classifier.

    Attributes:
        embed_dim: C, the width of every stage.
        num_heads: Attention heads; divides C.
        depths: Blocks of every stage.
        patch_size: Stride of the stem, in pixels.
        window_size: k, in tokens.
        downsample_stride: s, pooling stride between scales, per axis.
        mlp_ratio: Hidden width of the MLPs, over C.
        communication: What scales tell each other.
        composition: How the stages differ.
        window_matching: Which coarse window a fine window reads.
        drop_path_rate: Highest probability of dropping a residual branch, reached in each stage's last block.
    """

    embed_dim: int
    num_heads: int
    depths: tuple[int, ...]
    patch_size: int = 16
    window_size: int = 16
    downsample_stride: int = 4
    mlp_ratio: float = 4.0
    communication: Communication = Communication.BOTH
    composition: Composition = Composition.DROP
    window_matching: WindowMatching = WindowMatching.COVERING
    drop_path_rate: float = 0.0

    def __post_init__(self) -> None:
        check_heads(self.embed_dim, self.num_heads)
        check_numbers(above=0, mlp_ratio=self.mlp_ratio)
        check_numbers(at_least=0, below=1, drop_path_rate=self.drop_path_rate)


def describe_choices(options: AtlasOptions, grids: Sequence[Grid], is_default_drop: bool) -> tuple[str, ...]:
    """What a reader of a record must know: padding, and choices that are ours and not the paper's.

    Args:
        options: Of the model.
        grids: Token grids of every scale at the resolution in hand, finest first.
        is_default_drop: Whether nobody asked for these depths.
    """
    notes = []
    if options.composition is Composition.CONV:
        grids = _halved_grids(grids[0], len(options.depths))
    padded = padded_grids(grids, options.window_size)
    changes = [
        f"{format_grid(before)} to {format_grid(after)}"
        for before, after in zip(grids, padded, strict=True)
        if before != after
    ]
    if changes:
        notes.append(f"token grids padded to whole windows: {', '.join(changes)} (ours)")
    if options.patch_size != 16:
        notes.append(f"patch {options.patch_size}: the paper's stem, cut short (ours)")
    if options.composition is Composition.DROP and is_default_drop and len(options.depths) > 2:
        notes.append(f"scale drop {format_scale_drop(options.depths)} is ours: the paper gives one for 2 scales")
    if len(grids) > 1 and options.composition is not Composition.CONV:
        if not options.communication.reads_finer:
            notes.append(f"communication {options.communication}: no pooling between scales either (ours)")
        if options.window_matching is WindowMatching.ROW_MAJOR:
            notes.append("coarse windows matched row-major, as in the public code")
    return tuple(notes)


def _halved_grids(first: Grid, stages: int) -> list[Grid]:
    grids = [first]
    for _ in range(stages - 1):
        height, width = grids[-1]
        grids.append(((height + 1) // 2, (width + 1) // 2))
    return grids
