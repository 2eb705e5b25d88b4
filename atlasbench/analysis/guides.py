"""Growth laws as lines to hold curves against: how a quantity would grow from the first point on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from atlasbench.analysis.exponent import Exponent, fit_exponent
from atlasbench.analysis.points import Curve
from atlasbench.core.resolution import Resolution
from atlasbench.core.scales import token_grids

WINDOW_TOKENS = 256  # K: 16 x 16 tokens
STRIDE_PRODUCT = 16  # S: 4 x 4 tokens become one
_PATCH = 16  # pixels; the smallest image that has a token
_STEPS = 200  # sizes at which a guide is evaluated: enough to show where a scale is added


@dataclass(frozen=True, slots=True, kw_only=True)
class Guide:
    """A law, scaled to go through the first point.

    Attributes:
        label: The law, as one writes it.
        x: Sides of the image, in pixels.
        y: In the unit of the curves.
    """

    label: str
    x: tuple[float, ...]
    y: tuple[float, ...]


def growth_guides(curves: Sequence[Curve]) -> list[Guide]:
    """N, N K log_S N with its real steps, and N^2, from the lowest of the first points; none for a single size."""
    points = [point for curve in curves for point in curve.points]
    first, last = min(point.x for point in points), max(point.x for point in points)
    if first == last or first < _PATCH:
        return []
    start = min(point.y for point in points if point.x == first)
    sides = np.geomspace(first, last, _STEPS)
    pixels = (sides / first) ** 2
    scales = np.array([_num_scales(side) for side in sides])
    laws = {"N": pixels, "N K log_S N": pixels * scales / scales[0], "N²": pixels**2}
    return [Guide(label=label, x=tuple(sides), y=tuple(start * growth)) for label, growth in laws.items()]


def fit_pixel_exponent(curve: Curve) -> Exponent | None:
    """The p of `y ~ pixels^p`; 1 is linear in the tokens, 2 is quadratic. None for a single size."""
    return fit_exponent([point.x**2 for point in curve.points], [point.y for point in curve.points])


def _num_scales(side: float) -> int:
    """L at this side: what log_S N is when a scale is whole."""
    # Rounding in the geometric row must not add a scale at a size that is exactly divided.
    whole = max(round(side), _PATCH)
    return len(token_grids(Resolution(whole, whole)))
