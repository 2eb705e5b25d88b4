"""What shapes FasterViT and MambaVision alike: two levels of convolutions, then two of blocks in windows."""

from __future__ import annotations

from dataclasses import dataclass

from atlasbench.core.errors import InvalidOptionError
from atlasbench.models.option_values import check_mlp_ratio, check_numbers, check_whole_numbers, read_whole_numbers

NUM_LEVELS = 4
FIRST_WINDOW_LEVEL = 2  # levels before it are convolutions
WINDOW_LEVELS = range(FIRST_WINDOW_LEVEL, NUM_LEVELS)


@dataclass(frozen=True, kw_only=True)
class HybridOptions:
    """What both have.

    Attributes:
        dim: Channels of the first level; doubled after every level but the last.
        in_dim: Channels inside the stem.
        depths: Blocks of the four levels.
        num_heads: Attention heads of the four levels; convolutional levels have none.
        window_size: Side of the square windows of the four levels, in tokens; convolutional levels have none.
        mlp_ratio: Hidden width of the MLPs, over the channels.
        drop_path_rate: Highest probability of dropping a residual branch, reached in the last block.
        layer_scale: First value of the factors on the residual branches of window blocks; no factors when None.
        layer_scale_conv: The same for convolutional blocks.
    """

    dim: int
    in_dim: int
    depths: tuple[int, ...]
    num_heads: tuple[int, ...]
    window_size: tuple[int, ...]
    mlp_ratio: float = 4.0
    drop_path_rate: float = 0.2
    layer_scale: float | None = None
    layer_scale_conv: float | None = None

    def __post_init__(self) -> None:
        check_whole_numbers(at_least=1, dim=self.dim, in_dim=self.in_dim)
        check_mlp_ratio(self.width(FIRST_WINDOW_LEVEL), self.mlp_ratio)
        check_numbers(at_least=0, below=1, drop_path_rate=self.drop_path_rate)
        scales = {"layer_scale": self.layer_scale, "layer_scale_conv": self.layer_scale_conv}
        check_numbers(**{option: value for option, value in scales.items() if value is not None})
        for level in WINDOW_LEVELS:
            heads, width = self.num_heads[level], self.width(level)
            if self.num_attentions(level) and width % heads:
                raise InvalidOptionError(
                    f"num_heads must divide the channels of every level with attention, "
                    f"got {heads} heads and {width} channels in level {level}."
                )

    def width(self, level: int) -> int:
        """Channels of one level."""
        return self.dim << level

    def num_attentions(self, level: int) -> int:
        """How many blocks of a level of windows attend."""
        return self.depths[level]


def read_levels(option: str, values: object) -> tuple[int, ...]:
    """A whole number for each of the four levels.

    Raises:
        InvalidOptionError: If these are not four whole numbers of at least 1.
    """
    return read_whole_numbers(option, values, count=NUM_LEVELS, at_least=1)
