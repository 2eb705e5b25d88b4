"""Names at the ends of curves, in place of a legend: pushed apart as little as it takes for none to overlap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.text import Annotation

from atlasbench.report.figures.canvas import PANEL_IN, POINTS
from atlasbench.report.figures.theme import Theme

_GAP_PT = 9.0  # from the panel's edge to the names: room for the thin lines that lead there
_LINE = 1.25  # height of a name, in font sizes
_AROUND_IN = 0.75  # of a panel's height is title, ticks and axis label
_LONGEST = 26  # letters


@dataclass(frozen=True, slots=True, kw_only=True)
class EndLabel:
    """A name and the point it belongs to.

    Attributes:
        text: The name.
        x: Of the curve's last point, in data.
        y: The same.
        color: Of the curve.
    """

    text: str
    x: float
    y: float
    color: str


def panel_height(num_labels: int, theme: Theme) -> float:
    """Inches that a panel needs for so many names below each other."""
    return max(PANEL_IN, num_labels * _LINE * theme.font_pt / POINTS + _AROUND_IN)


def add_end_labels(axes: Axes, labels: Sequence[EndLabel], theme: Theme) -> list[Annotation]:
    """Write names right of a panel, each level with its point; `spread_end_labels` then pushes them apart."""
    return [
        axes.annotate(
            shorten(label.text),
            xy=(label.x, label.y),
            xytext=(1 + _GAP_PT / POINTS / theme.width_in, 0.5),
            textcoords="axes fraction",
            va="center",
            ha="left",
            color=label.color,
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": theme.muted,
                "linewidth": 0.5,
                "linestyle": (0, (1, 2)),  # dotted and grey: no curve
                "shrinkA": 0.5,
                "shrinkB": 2.5,
                "relpos": (0, 0.5),
            },
        )
        for label in labels
    ]


def spread_end_labels(axes: Axes, labels: Sequence[Annotation], theme: Theme) -> None:
    """Give the names of a panel, whose place is final, their heights."""
    frame = axes.get_window_extent()
    step = _LINE * theme.font_pt * axes.figure.dpi / POINTS / frame.height
    wanted = [(axes.transData.transform(label.xy)[1] - frame.y0) / frame.height for label in labels]
    for label, height in zip(labels, push_apart(wanted, step, step / 2, 1 - step / 2), strict=True):
        label.set_position((label.get_position()[0], height))


def push_apart(wanted: Sequence[float], step: float, low: float, high: float) -> list[float]:
    """Places at least `step` apart, in the order of the wanted ones and as near to them as least squares allows.

    Places are kept between `low` and `high` as long as there is room for all.
    """
    order = sorted(range(len(wanted)), key=lambda index: wanted[index])
    # Without its steps, a row of touching places is one number: the mean of its wishes (pool adjacent violators).
    rows: list[tuple[float, int]] = []
    for place, index in enumerate(order):
        mean, count = wanted[index] - place * step, 1
        while rows and rows[-1][0] >= mean:
            before, size = rows.pop()
            mean, count = (mean * count + before * size) / (count + size), count + size
        rows.append((mean, count))
    means = [mean for mean, count in rows for _ in range(count)]
    last = max(high - (len(wanted) - 1) * step, low)
    places = [0.0] * len(wanted)
    for place, (index, mean) in enumerate(zip(order, means, strict=True)):
        places[index] = min(max(mean, low), last) + place * step
    return places


def shorten(text: str) -> str:
    """A name that leaves room for its curve: of a long one, beginning and end."""
    if len(text) <= _LONGEST:
        return text
    half = (_LONGEST - 1) // 2
    return f"{text[:half]}…{text[-half:]}"
