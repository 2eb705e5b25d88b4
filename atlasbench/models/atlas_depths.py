"""How many blocks each stage of an Atlas has: from a scale drop, from depths, or from the default."""

from __future__ import annotations

from collections.abc import Sequence

from atlasbench.core.errors import InvalidOptionError, ScaleDropError
from atlasbench.core.scales import (
    DEFAULT_DEPTH,
    check_depths,
    check_scale_drop,
    default_scale_drop,
    format_scale_drop,
    parse_scale_drop,
)
from atlasbench.models.atlas_options import Composition

_CONV_DEPTHS = (3, 3, 3, 3)  # Table 5 of the paper


def choose_depths(
    composition: Composition,
    scale_drop: str | Sequence[int] | None,
    depths: Sequence[int] | None,
    num_scales: int,
    where: str,
) -> tuple[Composition, tuple[int, ...]]:
    """Blocks of every stage, and `stack` for the scale drop `none`.

    Args:
        composition: As asked for.
        scale_drop: Text, blocks per stage, or None for the default.
        depths: Blocks per stage, perhaps fewer than scales; None if not given.
        num_scales: L at the resolution in hand.
        where: What has that many scales, for messages.

    Raises:
        ScaleDropError: If the blocks do not fit the scales.
        InvalidOptionError: If the composition has no scale drop.
    """
    if scale_drop is not None and depths is not None:
        raise ScaleDropError(f"Give scale_drop or depths, not both; {where} has {num_scales} scales.")
    blocks = None if depths is None else _read_blocks(depths)
    if composition is Composition.CONV:
        if scale_drop is not None:
            raise InvalidOptionError("composition 'conv' has one scale in every stage: give depths, no scale_drop.")
        return composition, blocks or _CONV_DEPTHS
    if scale_drop is not None:
        dropped = parse_scale_drop(scale_drop) if isinstance(scale_drop, str) else _read_blocks(scale_drop)
        check_scale_drop(dropped, num_scales, where)
        if dropped is None:
            return Composition.STACK, (DEFAULT_DEPTH,)
        if composition is Composition.STACK and num_scales > 1:
            raise InvalidOptionError(
                f"composition 'stack' keeps all scales: leave scale_drop {format_scale_drop(dropped)} out."
            )
        return composition, dropped
    if composition is Composition.STACK:
        if blocks is not None and len(blocks) > 1:
            raise ScaleDropError(f"composition 'stack' has one stage, but depths has {len(blocks)} entries.")
        return composition, blocks or (DEFAULT_DEPTH,)
    if blocks is not None and len(blocks) > num_scales:
        raise ScaleDropError(f"depths has {len(blocks)} entries, but {where} has {num_scales} scales.")
    return composition, blocks or default_scale_drop(num_scales)


def _read_blocks(depths: Sequence[int]) -> tuple[int, ...]:
    blocks = (depths,) if isinstance(depths, int) else tuple(depths)
    for block in blocks:
        if not isinstance(block, int) or isinstance(block, bool):
            raise ScaleDropError(f"Blocks of a stage must be a whole number, got {block!r}.")
    check_depths(blocks)
    return blocks
