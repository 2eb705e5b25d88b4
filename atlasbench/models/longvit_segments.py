"""Which segments a LongViT attends in, and what a reader of a record must know about them.

Legend: N tokens; a branch of dilated attention has segments of w tokens and a ratio r.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from atlasbench.core.compat import StrEnum
from atlasbench.core.errors import InvalidOptionError
from atlasbench.core.resolution import Resolution
from atlasbench.models.layers.dilated_attention import DilatedPadding
from atlasbench.models.option_values import read_whole_numbers

# By side of a square image, in pixels; from the released code.
PUBLISHED_SEGMENTS: Mapping[int, tuple[int, ...]] = MappingProxyType(
    {
        4096: (1024, 2048, 4096, 8192, 16384),
        8192: (1024, 4096, 8192, 16384, 65536),
        16384: (1024, 4096, 16384, 65536, 262144),
        32768: (1024, 4096, 32768, 262144, 1048576),
    }
)
OTHER_SEGMENTS = (64, 128, 256, 512, 1024)
_SHORTEST_BY_TOKENS = 1024


class SegmentRule(StrEnum):
    """How segment lengths are chosen where none are given."""

    PUBLISHED = "published"  # by the size of the image alone, whatever the patch
    BY_TOKENS = "by_tokens"  # in geometric steps up to the number of tokens


def choose_segments(
    rule: SegmentRule, segment_length: Sequence[int] | None, ratios: Sequence[int], resolution: Resolution, tokens: int
) -> tuple[int, ...]:
    """Segment length of each branch.

    Args:
        rule: How to choose.
        segment_length: The lengths themselves, in place of a choice.
        ratios: r of each branch.
        resolution: Image size.
        tokens: N at that size.

    Raises:
        InvalidOptionError: If the lengths are no whole numbers of at least 1, not as many as the ratios, or given
            together with a rule.
    """
    if segment_length is not None:
        if rule is not SegmentRule.PUBLISHED:
            raise InvalidOptionError(f"segment_length gives the segments: leave segments={rule} out.")
        lengths = read_whole_numbers("segment_length", segment_length, at_least=1)
    elif rule is SegmentRule.BY_TOKENS:
        lengths = segments_by_tokens(tokens, ratios)
    else:
        is_square = resolution.height == resolution.width
        lengths = PUBLISHED_SEGMENTS.get(resolution.height, OTHER_SEGMENTS) if is_square else OTHER_SEGMENTS
    if len(lengths) != len(ratios):
        hint = "" if segment_length is not None else "; give segment_length"
        raise InvalidOptionError(
            f"segment_length and dilated_ratio must be equally many, got {len(lengths)} and {len(ratios)}{hint}."
        )
    return lengths


def segments_by_tokens(tokens: int, ratios: Sequence[int]) -> tuple[int, ...]:
    """Segment lengths in geometric steps from 1024 tokens to all of them, as many as there are ratios.

    Length i of b is 1024 (N / 1024)^(i / (b - 1)), rounded to the nearest multiple of its ratio, so that no segment
    but the last needs padding; the last is N. Up to 1024 tokens every segment is the whole sequence.

    Source: the rule of Prov-GigaPath's slide encoder, which takes N from the largest slide and rounds down.
    """
    if tokens <= _SHORTEST_BY_TOKENS:
        return (tokens,) * len(ratios)
    steps = len(ratios) - 1
    growth = tokens / _SHORTEST_BY_TOKENS
    lengths = [_SHORTEST_BY_TOKENS * growth ** (step / steps) for step in range(steps)]
    rounded = [max(ratio, round(length / ratio) * ratio) for length, ratio in zip(lengths, ratios, strict=False)]
    return (*rounded, tokens)


def describe_rule(rule: SegmentRule, resolution: Resolution) -> str:
    """In words, where the segments at one resolution are from."""
    if rule is SegmentRule.BY_TOKENS:
        return "by the number of tokens (ours)"
    is_listed = resolution.height == resolution.width and resolution.height in PUBLISHED_SEGMENTS
    return f"published for {resolution} px" if is_listed else "published for sizes without segments of their own"


def count_isolated_groups(tokens: int, lengths: Sequence[int]) -> int:
    """Groups of tokens that no branch brings together in any layer: every branch has a boundary between them."""
    return -(-tokens // math.lcm(*(min(length, tokens) for length in lengths)))


def describe_segments(
    lengths: Sequence[int], ratios: Sequence[int], tokens: int, padding: DilatedPadding, source: str
) -> list[str]:
    """Notes for a record.

    Args:
        lengths: w of each branch.
        ratios: r of each branch.
        tokens: N.
        padding: What becomes of segments that are not full.
        source: Where the lengths are from, in words.
    """
    notes = [f"segments of {_join(lengths)} tokens at ratios {_join(ratios)}: {source}"]
    used = [(min(length, tokens), ratio) for length, ratio in zip(lengths, ratios, strict=True)]
    moved = [f"{w} at ratio {r}" for w, r in used if w % r and w < tokens]
    groups = count_isolated_groups(tokens, lengths)
    if moved and padding is DilatedPadding.OFFICIAL:
        notes.append(
            f"segments of {_join(moved)}: not a multiple, so rows are written back to later tokens, as in the official "
            "code"
        )
    elif groups > 1:
        notes.append(f"{tokens} tokens in {groups} groups that never meet before the final mean")
    if any(tokens % w or w % r for w, r in used):
        words = "is masked" if padding is DilatedPadding.MASKED else "is read as zeros, which dilutes attention"
        notes.append(f"segments that {tokens} tokens do not fill are padded; the padding {words}")
    return notes


def _join(values: Sequence[object]) -> str:
    return ", ".join(map(str, values))
