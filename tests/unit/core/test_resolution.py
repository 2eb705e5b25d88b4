from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from atlasbench.core.errors import InvalidWorkloadError
from atlasbench.core.resolution import Resolution, parse_resolution


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1024, (1024, 1024)),
        ("1024", (1024, 1024)),
        (" 768x1536 ", (768, 1536)),
        ("768X1536", (768, 1536)),
        ((768, 1536), (768, 1536)),
        ([16, 32], (16, 32)),
        (np.int64(64), (64, 64)),
        (Resolution(1, 2), (1, 2)),
    ],
    ids=repr,
)
def test_a_resolution_is_read_as_height_and_width(value: Any, expected: tuple[int, int]) -> None:
    resolution = parse_resolution(value)

    assert (resolution.height, resolution.width) == expected


@pytest.mark.parametrize(
    "value",
    [
        "",
        "x",
        "12x",
        "x12",
        "1024px",
        "1e3",
        "-5",
        "1024.0",
        "٣",
        "12345678",
        1.5,
        True,
        None,
        (1,),
        (1, 2, 3),
        (1, "2"),
        (True, 2),
        {},
    ],
    ids=repr,
)
def test_what_is_no_resolution_is_named(value: Any) -> None:
    with pytest.raises(InvalidWorkloadError, match="is not a resolution: "):
        parse_resolution(value)


@pytest.mark.parametrize("value", [0, -1, "0", "0x5", (5, 0)], ids=repr)
def test_a_side_has_at_least_a_pixel(value: Any) -> None:
    with pytest.raises(InvalidWorkloadError, match="at least 1 pixel on each side"):
        parse_resolution(value)


def test_a_square_is_written_as_one_number() -> None:
    assert [str(Resolution(64, 64)), str(Resolution(64, 128))] == ["64", "64x128"]
