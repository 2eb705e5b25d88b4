"""Image sizes: `1024` or `768x1536` (height x width), in pixels."""

from __future__ import annotations

import operator
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import SupportsIndex

from atlasbench.core.errors import InvalidWorkloadError


@dataclass(frozen=True, slots=True, order=True)
class Resolution:
    """Height and width of an input image, in pixels."""

    height: int
    width: int

    def __post_init__(self) -> None:
        if self.height < 1 or self.width < 1:
            raise InvalidWorkloadError(f"A resolution must be at least 1 pixel on each side, got {self}.")

    def __str__(self) -> str:
        return str(self.height) if self.height == self.width else f"{self.height}x{self.width}"

    @property
    def pixels(self) -> int:
        """Number of pixels of the image."""
        return self.height * self.width


def parse_resolution(value: int | str | Sequence[int] | Resolution) -> Resolution:
    """Read a resolution from a number, a pair, or text such as `1024` or `768x1536`.

    Raises:
        InvalidWorkloadError: If the value is none of these.
    """
    if isinstance(value, Resolution):
        return value
    if isinstance(value, str):
        match = re.fullmatch(r"([0-9]{1,7})(?:[xX]([0-9]{1,7}))?", value.strip())
        if match is None:
            raise InvalidWorkloadError(f"{value!r} is not a resolution: write 1024 or 768x1536 (height x width).")
        return Resolution(int(match[1]), int(match[2] or match[1]))
    sides = list(value) if isinstance(value, Sequence) else [value, value]
    integers = [operator.index(side) for side in sides if isinstance(side, SupportsIndex) and side is not True]
    if len(sides) != 2 or len(integers) != 2:
        raise InvalidWorkloadError(f"{value!r} is not a resolution: give a whole number or (height, width).")
    return Resolution(*integers)
