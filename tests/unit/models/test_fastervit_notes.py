"""What a record says about a FasterViT at one size."""

from typing import Any

import pytest
import torch

from atlasbench.core.resolution import parse_resolution
from atlasbench.models.built import BuiltModel
from atlasbench.models.factory import build_model
from atlasbench.models.fastervit import FasterViT
from atlasbench.models.fastervit_layout import describe_layouts, lay_out_levels

FITS_WIDE = "windows fit the token grids: FasterViT any_res, which alone has carriers of a map that is not square"
FITS = "windows fit the token grids: FasterViT of one size and FasterViT any_res are the same"


def build(size: object, **options: Any) -> BuiltModel:
    with torch.device("meta"):
        return build_model("fastervit", resolution=parse_resolution(size), options=options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("size", "options", "notes"),
    [
        (224, {}, [FITS, "level 2: 2x2 windows of 7, 16 carriers"]),
        (
            1024,
            {},
            [
                "token grids padded to whole windows: 64x64 to 70x70, 32x32 to 35x35; padding is not masked "
                "(FasterViT any_res)",
                "level 2: 10x10 windows of 7, 400 carriers",
                "level 3: 5x5 windows of 7 that never exchange anything",
            ],
        ),
        (
            (576, 960),
            {},
            [
                "token grids padded to whole windows: 36x60 to 42x63, 18x30 to 21x35; padding is not masked "
                "(FasterViT any_res)",
                "level 2: 6x9 windows of 7, 216 carriers without positions, a bias for the last 196 "
                "(as in the public code)",
                "level 3: 3x5 windows of 7 that never exchange anything",
                "carriers return to other windows than their own, as in the public code (carrier_order official)",
            ],
        ),
        (
            (224, 448),
            {"carrier_order": "ordered"},
            [
                FITS_WIDE,
                "level 2: 2x4 windows of 7, 32 carriers without positions, a bias for the last 25 "
                "(as in the public code)",
                "level 3: 1x2 windows of 7 that never exchange anything",
                "carriers return to windows of their own (the public code deals them out to others)",
            ],
        ),
        (
            112,
            {},
            [
                "token grids padded to whole windows: 4x4 to 7x7; padding is not masked (FasterViT any_res)",
                "level 2: one window, so no carriers",
            ],
        ),
        (
            120,
            {},
            [
                "token grids padded to whole windows: 8x8 to 14x14, 4x4 to 7x7; padding is not masked "
                "(FasterViT any_res)",
                "level 2: 2x2 windows of 7 that never exchange anything, as in the public code, which rounds the map "
                "down to one",
            ],
        ),
        (
            230,
            {"hat": (False, False, True, True)},
            [
                "token grids padded to whole windows: 15x15 to 21x21, 8x8 to 14x14; padding is not masked "
                "(FasterViT any_res)",
                "level 2: 3x3 windows of 7, 36 carriers",
                "level 2: the public code cannot run this size, it expects 2x2 windows",
                "level 3: 2x2 windows of 7 that never exchange anything, as in the public code, which rounds the map "
                "down to one",
            ],
        ),
        (
            (112, 224),
            {"ct_size": 1},
            [
                "token grids padded to whole windows: 4x7 to 7x7; padding is not masked (FasterViT any_res)",
                "level 2: 1x2 windows of 7, 2 carriers without positions, a bias for the last 1 "
                "(as in the public code)",
                "level 2: the public code divides 0 by 0 where a position has one place; taken as 0 (ours)",
            ],
        ),
        (224, {"window_size": (7, 7, 14, 7), "hat": (False,) * 4}, [FITS]),
        (
            32,
            {"window_size": (7, 7, 2, 1)},
            [
                FITS,
                "level 2: one window, so no carriers",
                "level 3: the public code divides 0 by 0 where a position has one place; taken as 0 (ours)",
            ],
        ),
    ],
    ids=str,
)
def test_notes_say_which_rule_holds_and_how_far_tokens_see(
    size: object, options: dict[str, Any], notes: list[str]
) -> None:
    assert list(build(size, **options).notes) == notes


@pytest.mark.parametrize(
    ("size", "options", "kept"),
    [
        (224, {"carrier_order": "ordered"}, {}),
        ((224, 448), {"carrier_order": "ordered"}, {"carrier_order": "ordered"}),
        ((224, 448), {"carrier_order": "ordered", "ct_size": 1}, {"ct_size": 1}),
        ((224, 448), {"carrier_order": "official"}, {}),
        ((112, 112), {"carrier_order": "ordered"}, {}),
    ],
    ids=str,
)
def test_the_order_of_carriers_is_recorded_only_where_it_matters(
    size: object, options: dict[str, Any], kept: dict[str, Any]
) -> None:
    assert build(size, **options).options == kept


def test_sizes_that_the_public_code_runs_are_not_said_to_fail() -> None:
    """With windows of 7 the public code fails at sides strictly between 112 j and 112 j + 16, from j = 2 on."""
    model = build(224).model
    assert isinstance(model, FasterViT)
    failing = set()
    for side in range(200, 480):
        notes = describe_layouts(model.options, lay_out_levels(model.options, side, side))
        if any("cannot run" in note for note in notes):
            failing.add(side)
    assert failing == {112 * j + rest for j in (2, 3, 4) for rest in range(1, 16)}
