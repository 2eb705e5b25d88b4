"""Which segments a LongViT attends in, and what is said about them."""

from typing import Any

import pytest
import torch

from atlasbench.core.errors import InvalidOptionError
from atlasbench.core.resolution import Resolution, parse_resolution
from atlasbench.models.longvit import build_longvit
from atlasbench.models.longvit_segments import count_isolated_groups, segments_by_tokens

RATIOS = (1, 2, 4, 8, 16)
OTHERS = (64, 128, 256, 512, 1024)
EVERY_SIZE = (
    "segments of 64, 128, 256, 512, 1024 tokens at ratios 1, 2, 4, 8, 16: "
    + "published for sizes without segments of their own"
)


def build(resolution: int | str, **options: Any) -> tuple[tuple[int, ...], tuple[str, ...]]:
    with torch.device("meta"):
        built = build_longvit(resolution=parse_resolution(resolution), depth=1, **options)
    return built.model.options.segment_length, built.notes


@pytest.mark.parametrize(
    ("resolution", "lengths"),
    [
        (224, OTHERS),
        (1024, OTHERS),
        (4095, OTHERS),
        (4096, (1024, 2048, 4096, 8192, 16384)),
        ("4096x8192", OTHERS),
        (8192, (1024, 4096, 8192, 16384, 65536)),
        (16384, (1024, 4096, 16384, 65536, 262144)),
        (32768, (1024, 4096, 32768, 262144, 1048576)),
    ],
)
@pytest.mark.parametrize("patch_size", [16, 32])
def test_published_segments_follow_the_side_of_a_square_image_alone(
    resolution: int | str, lengths: tuple[int, ...], patch_size: int
) -> None:
    assert build(resolution, patch_size=patch_size)[0] == lengths


@pytest.mark.parametrize(
    ("tokens", "lengths"),
    [
        (1 << 20, (1024, 5792, 32768, 185360, 1048576)),
        (16384, (1024, 2048, 4096, 8192, 16384)),
        (9216, (1024, 1774, 3072, 5320, 9216)),
        (1025, (1024, 1024, 1024, 1024, 1025)),
        (1024, (1024,) * 5),
        (1000, (1000,) * 5),
        (1, (1,) * 5),
    ],
)
def test_segments_by_tokens_grow_geometrically_to_the_whole_sequence(tokens: int, lengths: tuple[int, ...]) -> None:
    assert segments_by_tokens(tokens, RATIOS) == lengths
    assert all(length % ratio == 0 or length == tokens for length, ratio in zip(lengths, RATIOS, strict=True))


def test_one_ratio_is_one_segment_by_tokens() -> None:
    assert segments_by_tokens(5000, (2,)) == (5000,)


def test_segments_by_tokens_are_for_the_resolution_of_the_model() -> None:
    lengths, notes = build(2048, patch_size=16, segments="by_tokens")
    assert lengths == (1024, 2048, 4096, 8192, 16384)
    assert notes[1] == (
        "segments of 1024, 2048, 4096, 8192, 16384 tokens at ratios 1, 2, 4, 8, 16: by the number of tokens (ours)"
    )
    assert len(notes) == 2


@pytest.mark.parametrize(
    ("tokens", "lengths", "groups"),
    [
        (4096, OTHERS, 4),
        (16384, OTHERS, 16),
        (9216, OTHERS, 9),
        (1024, OTHERS, 1),
        (100, OTHERS, 1),
        (1025, OTHERS, 2),
        (96, (8, 12), 4),  # a segment of 12 joins two of 8, but nothing crosses 24
    ],
)
def test_groups_lie_between_common_boundaries_of_all_branches(
    tokens: int, lengths: tuple[int, ...], groups: int
) -> None:
    assert count_isolated_groups(tokens, lengths) == groups


def test_the_notes_say_what_a_reader_must_know() -> None:
    assert build("1040x1000", patch_size=16)[1] == (
        "position table made for 1040x1000 px: 1,547,520 parameters",
        "image of 1040x1000 px cropped to whole patches, 1040x992 px, as in the official code",
        EVERY_SIZE,
        "4030 tokens in 4 groups that never meet before the final mean",
        "segments that 4030 tokens do not fill are padded; the padding is read as zeros, which dilutes attention",
    )


def test_nothing_is_said_of_what_does_not_happen() -> None:
    assert build(1024)[1] == ("position table made for 1024 px: 393,216 parameters", EVERY_SIZE)
    assert build(4096)[1][1].endswith("published for 4096 px")


@pytest.mark.parametrize(
    ("padding", "expected"),
    [
        (
            "official",
            [
                "segments of 5 at ratio 4: not a multiple, so rows are written back to later tokens, "
                "as in the official code",
                "segments that 64 tokens do not fill are padded; the padding is read as zeros, which dilutes attention",
            ],
        ),
        (
            "aligned",
            [
                "64 tokens in 7 groups that never meet before the final mean",
                "segments that 64 tokens do not fill are padded; the padding is read as zeros, which dilutes attention",
            ],
        ),
        (
            "masked",
            [
                "64 tokens in 7 groups that never meet before the final mean",
                "segments that 64 tokens do not fill are padded; the padding is masked",
            ],
        ),
    ],
)
def test_padding_rules_are_told_apart(padding: str, expected: list[str]) -> None:
    notes = build(256, segment_length=(10, 5), dilated_ratio=(1, 4), padding=padding)[1]
    assert notes[1] == "segments of 10, 5 tokens at ratios 1, 4: as given"
    assert list(notes[2:]) == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"segment_length": (64, 128)}, "segment_length and dilated_ratio must be equally many, got 2 and 5"),
        (
            {"dilated_ratio": (1, 2)},
            "segment_length and dilated_ratio must be equally many, got 5 and 2; give segment_length.",
        ),
        ({"segment_length": (64, 0), "dilated_ratio": (1, 2)}, "segment_length must be a list of whole numbers of at"),
        ({"dilated_ratio": 2}, "dilated_ratio must be a list of whole numbers of at least 1, got 2."),
        ({"segments": "long"}, "segments must be one of published, by_tokens, got 'long'."),
        ({"padding": "none"}, "padding must be one of official, aligned, masked, got 'none'."),
        (
            {"segments": "by_tokens", "segment_length": (64,), "dilated_ratio": (1,)},
            "segment_length gives the segments: leave segments=by_tokens out.",
        ),
    ],
    ids=str,
)
def test_options_that_make_no_segments_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidOptionError) as error:
        build_longvit(resolution=Resolution(64, 64), **options)
    assert str(error.value).startswith(message)
