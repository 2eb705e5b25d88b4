"""Image sizes: `1024` or `768x1536` (height x width), in pixels."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

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
    if isinstance(value, bool):
        raise InvalidWorkloadError(f"{value!r} is not a resolution: write 1024 or 768x1536 (height x width).")
    if isinstance(value, int):
        return Resolution(value, value)
    if isinstance(value, str):
        match = re.fullmatch(r"(\d{1,7})(?:[xX](\d{1,7}))?", value.strip())
        if match is None:
            raise InvalidWorkloadError(f"{value!r} is not a resolution: write 1024 or 768x1536 (height x width).")
        height = int(match[1])
        return Resolution(height, int(match[2]) if match[2] else height)
    sides = list(value)
    if len(sides) != 2 or not all(isinstance(side, int) for side in sides):
        raise InvalidWorkloadError(f"{value!r} is not a resolution: give a number or (height, width).")
    return Resolution(sides[0], sides[1])
