"""Scales and their ticks: sizes of images, and quantities over many powers of ten."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter, NullLocator

from atlasbench.analysis.points import Curve
from atlasbench.core.units import format_quantity, three_digits
from atlasbench.report.figures.theme import Theme

_MOST_SIZES = 7  # that have a tick each
_PAD = 0.06  # of the range, beyond the outermost points
_ACCURACY_PAD = 0.1  # the same, of a linear range
_LEAST = 2.0  # of a range, from end to end: small differences are to look small
_LEAST_OF_SIZES = 1.2  # the same, of sizes: they are to be told apart
# Ticks within a power of ten, while the range is below so many of them.
_TICKS_WITHIN = (
    (0.9, (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0)),
    (1.5, (1.0, 2.0, 5.0)),
    (2.6, (1.0, 3.0)),
    (math.inf, (1.0,)),
)

Format = Callable[[float], str]


def set_size_axis(axes: Axes, curves: Sequence[Curve], *, more: Iterable[float] = ()) -> None:
    """The side of the image, logarithmic, with a tick at every size, or at powers of two if there are many.

    Args:
        axes: The panel.
        curves: What it shows.
        more: Sides that no curve has, in pixels.
    """
    sides = sorted({*(point.x for curve in curves for point in curve.points), *more})
    powers = [2.0**power for power in range(math.ceil(math.log2(sides[0])), math.floor(math.log2(sides[-1])) + 1)]
    ticks = powers if len(sides) > _MOST_SIZES and len(powers) > 1 else sides
    axes.set_xscale("log", base=2)
    axes.set_xlim(*_padded(sides[0], sides[-1], _LEAST_OF_SIZES))
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0f}"))
    axes.xaxis.set_minor_locator(NullLocator())
    is_square = all(
        point.resolution is None or point.resolution.height == point.resolution.width
        for curve in curves
        for point in curve.points
    )
    axes.set_xlabel("image side (px)" if is_square else "image side, √(height · width) (px)")


def set_log_axis(axes: Axes, values: Sequence[float], write: Format, *, which: str = "y") -> None:
    """A logarithmic axis around these values, its ticks written by `write`."""
    axis = axes.yaxis if which == "y" else axes.xaxis
    low, high = _padded(min(values), max(values))
    (axes.set_yscale if which == "y" else axes.set_xscale)("log")
    (axes.set_ylim if which == "y" else axes.set_xlim)(low, high)
    subs = next(ticks for decades, ticks in _TICKS_WITHIN if math.log10(high / low) < decades)
    axis.set_major_locator(LogLocator(subs=subs, numticks=12))
    axis.set_major_formatter(FuncFormatter(lambda value, _: write(value)))
    axis.set_minor_formatter(NullFormatter())
    axis.set_minor_locator(NullLocator())


def set_accuracy_axis(axes: Axes, values: Sequence[float]) -> None:
    """Percent, on a linear scale around these values."""
    pad = max(max(values) - min(values), 1.0) * _ACCURACY_PAD
    axes.set_ylim(min(values) - pad, max(values) + pad)
    axes.set_ylabel("top-1 accuracy (%)")


def set_row_axis(axes: Axes, names: Sequence[str], theme: Theme) -> None:
    """A row for each name, the first at the top."""
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(axis="y", length=0, pad=4, labelsize=theme.font_pt)


def values_of(curves: Sequence[Curve]) -> list[float]:
    """Every y of every curve, with the ends of its interval."""
    points = [point for curve in curves for point in curve.points]
    return [value for point in points for value in (point.y, point.low, point.high) if value]


def write_quantity(value: float) -> str:
    """`1 T`, `200 G`."""
    return _short(format_quantity(value))


def write_bytes(value: float) -> str:
    """`1 GB`, `200 MB`."""
    return _short(format_quantity(value, "B"))


def write_seconds(value: float) -> str:
    """`20 ms`, `5 s`."""
    for factor, unit in ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")):
        if value >= factor * 0.9995:
            return _short(f"{three_digits(value / factor)} {unit}")
    return _short(f"{three_digits(value / 1e-9)} ns")


def _short(text: str) -> str:
    """Without zeros that say nothing: `1.00 T` is `1 T`."""
    number, blank, unit = text.partition(" ")
    if "." in number:
        number = number.rstrip("0").rstrip(".")
    return f"{number}{blank}{unit}"


def _padded(low: float, high: float, least: float = _LEAST) -> tuple[float, float]:
    """A little more than the range, on a logarithmic scale, and at least this factor from end to end."""
    pad = max((high / low) ** _PAD, math.sqrt(least * low / high))
    return low / pad, high * pad
