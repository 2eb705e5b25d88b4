"""What shapes a LongViT, and what a record has to say about it."""

from __future__ import annotations

from dataclasses import dataclass

from atlasbench.core.resolution import Resolution
from atlasbench.models.layers.dilated_attention import DilatedPadding
from atlasbench.models.longvit_segments import SegmentRule, describe_rule, describe_segments


@dataclass(frozen=True, kw_only=True)
class LongViTOptions:
    """Everything that shapes a LongViT, apart from the classifier.

    Attributes:
        resolution: Image size that the position table is made for, in pixels.
        patch_size: Side of a patch, in pixels.
        embed_dim: C.
        depth: Layers.
        num_heads: Attention heads; divides C.
        segment_length: Tokens of a segment, for each branch of the attention.
        dilated_ratio: Of each branch.
        mlp_ratio: Hidden width of the MLPs, over C.
        drop_path_rate: Highest probability of dropping a residual branch, reached in the last layer.
        padding: What becomes of segments that are not full.
    """

    resolution: Resolution
    patch_size: int
    embed_dim: int
    depth: int
    num_heads: int
    segment_length: tuple[int, ...]
    dilated_ratio: tuple[int, ...]
    mlp_ratio: float = 4.0
    drop_path_rate: float = 0.0
    padding: DilatedPadding = DilatedPadding.OFFICIAL

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of the position table."""
        return self.resolution.height // self.patch_size, self.resolution.width // self.patch_size


def describe_choices(options: LongViTOptions, rule: SegmentRule | None) -> tuple[str, ...]:
    """What a reader of a record must know.

    Args:
        options: Of the model.
        rule: How its segments were chosen; None where they were given.
    """
    rows, columns = options.grid
    tokens = rows * columns
    notes = [f"position table made for {options.resolution} px: {tokens * options.embed_dim:,} parameters"]
    used = Resolution(rows * options.patch_size, columns * options.patch_size)
    if used != options.resolution:
        notes.append(f"image of {options.resolution} px cropped to whole patches, {used} px, as in the official code")
    source = "as given" if rule is None else describe_rule(rule, options.resolution)
    notes += describe_segments(options.segment_length, options.dilated_ratio, tokens, options.padding, source)
    return tuple(notes)
