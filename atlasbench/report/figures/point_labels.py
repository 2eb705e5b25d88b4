"""Names beside points of a plane: the nearest free place, with a thin line where that is not next to the point."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.text import Text
from numpy.typing import NDArray

from atlasbench.report.figures.canvas import POINTS
from atlasbench.report.figures.labels import EndLabel, shorten
from atlasbench.report.figures.theme import Theme

_GAPS_PT = (3.5, 7.0, 12.0, 18.0, 25.0, 33.0, 43.0, 55.0, 70.0, 90.0)  # between a point and its name
_DIRECTIONS = (0, 180, 90, 270, 45, 315, 135, 225, 20, 340, 160, 200)  # degrees; right first, as one reads
_NEAR_PT = 7.0  # up to here a name needs no line to its point
_MARK_PT = 5.0  # room that a mark takes
_LINE_PT = 1.5  # room that a place on a line takes
_VEIL = 0.7  # how much of a line is hidden behind a name that has no other place
_ON_NAMES, _OUTSIDE, _ON_MARKS, _ON_LINES = 50.0, 20.0, 10.0, 1.0  # what is worse to cover, per area
_FAR = 0.2  # what a point of distance is as bad as, in the same measure: a line crossed is about thirty

Outline = Sequence[tuple[float, float]]
_Boxes = NDArray[np.float64]  # (N, 4): left, bottom, right, top, in points


class _Taken:
    """Places that names had better not cover, and how bad it is if they do."""

    def __init__(self) -> None:
        self._boxes: _Boxes = np.empty((0, 4))
        self._weights: NDArray[np.float64] = np.empty(0)

    def add(self, boxes: _Boxes, weight: float) -> None:
        self._boxes = np.concatenate([self._boxes, boxes])
        self._weights = np.concatenate([self._weights, np.full(len(boxes), weight)])

    def harm(self, box: _Boxes) -> float:
        """Area that a box, (1, 4), shares with each place, times its weight."""
        return float(_shared_areas(box, self._boxes) @ self._weights)

    def harm_of_line(self, line: _Boxes) -> float:
        """Area that a row of boxes shares with names, times the weight of a mark."""
        names = self._boxes[self._weights == _ON_NAMES]
        return _ON_MARKS * sum(float(_shared_areas(box[None], names).sum()) for box in line)


def add_point_labels(
    axes: Axes, labels: Sequence[EndLabel], curves: Sequence[Outline], lines: Sequence[Outline], theme: Theme
) -> None:
    """Write names into a panel whose place is final; a name covers no other, and no mark or line if it can.

    Args:
        axes: The panel, with its limits.
        labels: The names; the first has the choice of place.
        curves: Lines with a mark at each of their points, in data.
        lines: Lines without marks, in data.
        theme: Sizes.
    """
    taken = _Taken()
    for line in (*curves, *lines):
        taken.add(_boxes_around(_along(_to_points(axes, line)), _LINE_PT, _LINE_PT), _ON_LINES)
    for curve in curves:
        taken.add(_boxes_around(_to_points(axes, curve), _MARK_PT, _MARK_PT), _ON_MARKS)
    frame = np.array([axes.get_window_extent().extents]) * POINTS / axes.figure.dpi
    for label in labels:
        _add_label(axes, label, frame, taken, theme)


def _add_label(axes: Axes, label: EndLabel, frame: _Boxes, taken: _Taken, theme: Theme) -> None:
    """The name at its first place that is free, or else where it does least harm; the place is then taken."""
    name = shorten(label.text)
    width, height = _measure(axes, name, theme)
    point = _to_points(axes, [(label.x, label.y)])
    chosen, least = (0.0, 0.0, 0.0), math.inf
    for gap, dx, dy in _places(width, height):
        if least <= _FAR * gap:
            break
        centre = point + np.array([dx, dy])
        box = _boxes_around(centre, width, height)
        outside = width * height - float(_shared_areas(box, frame)[0])
        harm = _FAR * gap + _OUTSIDE * outside + taken.harm(box)
        if gap > _NEAR_PT:
            harm += taken.harm_of_line(_boxes_around(_along(np.concatenate([point, centre])), _LINE_PT, _LINE_PT))
        if harm < least - 1e-6:
            chosen, least = (gap, dx, dy), harm
    gap, dx, dy = chosen
    taken.add(_boxes_around(point + np.array([dx, dy]), width, height), _ON_NAMES)
    line = {"arrowstyle": "-", "color": label.color, "linewidth": 0.4, "shrinkA": 1.0, "shrinkB": 2.5}
    axes.annotate(
        name,
        xy=(label.x, label.y),
        xytext=(dx, dy),
        textcoords="offset points",
        ha="center",
        va="center",
        color=label.color,
        annotation_clip=False,
        bbox={"facecolor": theme.background, "edgecolor": "none", "alpha": _VEIL, "pad": 0.5},
        arrowprops=line if gap > _NEAR_PT else None,
    )


def _places(width: float, height: float) -> Iterator[tuple[float, float, float]]:
    """The gap to the point, and the way from the point to the name's centre; the nearest first."""
    for gap in _GAPS_PT:
        for degrees in _DIRECTIONS:
            x, y = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
            yield gap, x * (gap + width / 2), y * (gap + height / 2)


def _along(places: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, 2) places on the straight lines between (M, 2) places, close enough for no name to slip between."""
    parts = [places[:1]]
    for start, end in itertools.pairwise(places):
        steps = max(int(math.dist(start, end) / (2 * _LINE_PT)), 1)
        parts.append(start + (end - start) * np.linspace(0, 1, steps + 1)[1:, None])
    return np.concatenate(parts)


def _measure(axes: Axes, text: str, theme: Theme) -> tuple[float, float]:
    """Width and height of a name, in points."""
    probe = Text(0, 0, text, fontsize=theme.font_pt, figure=axes.figure)
    box = probe.get_window_extent()
    return box.width * POINTS / axes.figure.dpi, box.height * POINTS / axes.figure.dpi


def _to_points(axes: Axes, places: Outline) -> NDArray[np.float64]:
    """(N, 2) places in data, in points from the corner of the figure."""
    pixels: NDArray[np.float64] = np.asarray(axes.transData.transform(list(places)), dtype=float)
    return pixels * POINTS / axes.figure.dpi


def _boxes_around(places: NDArray[np.float64], width: float, height: float) -> _Boxes:
    half = np.array([width, height]) / 2
    return np.concatenate([places - half, places + half], axis=1)


def _shared_areas(box: _Boxes, others: _Boxes) -> NDArray[np.float64]:
    """(N,) areas that (N, 4) boxes share with one box, (1, 4)."""
    sides = np.minimum(box[:, 2:], others[:, 2:]) - np.maximum(box[:, :2], others[:, :2])
    areas: NDArray[np.float64] = np.clip(sides, 0, None).prod(axis=1)
    return areas
