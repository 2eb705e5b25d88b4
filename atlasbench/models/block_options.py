"""What shapes a stack of blocks, checked once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from atlasbench.core.errors import InvalidOptionError, InvalidWorkloadError
from atlasbench.core.resolution import Resolution
from atlasbench.core.scales import Grid
from atlasbench.models.option_values import check_mlp_ratio, check_whole_numbers, read_whole_numbers


@dataclass(frozen=True, kw_only=True)
class BlockOptions:
    """Everything that shapes a stack of blocks of any kind; each kind uses some of it.

    Attributes:
        depth: Blocks.
        embed_dim: C.
        num_heads: Attention heads; divides C.
        mlp_ratio: Hidden width of the MLPs, over C.
        window_size: k, in tokens.
        downsample_stride: s, pooling stride between scales of Multi-Scale Attention, per axis.
        ct_size: Carrier tokens along a side of a window, of hierarchical attention.
        segment_length: Tokens of a segment, for every branch of dilated attention.
        dilated_ratio: Of each branch, every how many tokens it reads.
        scan_window: Side of the windows that a Mamba mixer runs in, in tokens; 0 for all tokens in one sequence.
    """

    depth: int
    embed_dim: int
    num_heads: int
    mlp_ratio: float
    window_size: int
    downsample_stride: int
    ct_size: int
    segment_length: Sequence[int]
    dilated_ratio: Sequence[int]
    scan_window: int

    def __post_init__(self) -> None:
        check_whole_numbers(
            at_least=1,
            depth=self.depth,
            embed_dim=self.embed_dim,
            num_heads=self.num_heads,
            window_size=self.window_size,
            downsample_stride=self.downsample_stride,
            ct_size=self.ct_size,
        )
        check_whole_numbers(scan_window=self.scan_window)
        check_mlp_ratio(self.embed_dim, self.mlp_ratio)
        lengths = read_whole_numbers("segment_length", self.segment_length, at_least=1)
        ratios = read_whole_numbers("dilated_ratio", self.dilated_ratio, at_least=1)
        if len(lengths) != len(ratios):
            raise InvalidOptionError(
                f"segment_length and dilated_ratio must be equally many, got {len(lengths)} and {len(ratios)}."
            )


def map_grid(resolution: Resolution, patch_size: int) -> Grid:
    """Height and width of the map of tokens, one for each patch of an image.

    Raises:
        InvalidOptionError: If the patch is no whole number of pixels.
        InvalidWorkloadError: If a side of the image is no whole number of patches.
    """
    check_whole_numbers(at_least=1, patch_size=patch_size)
    if resolution.height % patch_size or resolution.width % patch_size:
        raise InvalidWorkloadError(
            f"{resolution} px is no whole number of {patch_size} px patches: give multiples of {patch_size}, "
            "or another patch."
        )
    return resolution.height // patch_size, resolution.width // patch_size
