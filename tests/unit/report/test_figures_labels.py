from __future__ import annotations

import itertools
import random

import pytest
from drawing import boxes_of, draw, names_of, overlaps
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text

from atlasbench.analysis.points import Curve, Point
from atlasbench.core.kinds import Kind
from atlasbench.report.figures.axes import write_seconds
from atlasbench.report.figures.canvas import new_canvas
from atlasbench.report.figures.growth import GrowthPanel, draw_growth
from atlasbench.report.figures.labels import EndLabel, push_apart, shorten
from atlasbench.report.figures.picture import Picture
from atlasbench.report.figures.point_labels import add_point_labels
from atlasbench.report.figures.theme import LIGHT, Palette, Theme, use_theme


def test_what_is_apart_stays_where_it_is() -> None:
    assert push_apart([0.9, 0.1, 0.5], 0.1, 0, 1) == pytest.approx([0.9, 0.1, 0.5])


def test_what_wants_the_same_place_is_spread_around_it() -> None:
    assert push_apart([0.5, 0.5, 0.5], 0.1, 0, 1) == pytest.approx([0.4, 0.5, 0.6])


def test_what_is_near_an_end_is_pushed_inside() -> None:
    assert push_apart([1.0, 0.99], 0.1, 0, 1) == pytest.approx([1.0, 0.9])
    assert push_apart([0.0, 0.01], 0.1, 0, 1) == pytest.approx([0.0, 0.1])


def test_places_are_apart_inside_and_in_order_whatever_was_wanted() -> None:
    chance = random.Random(3)
    for _ in range(300):
        wanted = [chance.uniform(-0.2, 1.2) for _ in range(chance.randint(0, 10))]
        places = push_apart(wanted, 0.1, 0, 1)
        order = sorted(range(len(wanted)), key=lambda index: wanted[index])
        assert [places[index] for index in order] == sorted(places)
        assert all(later - earlier >= 0.1 - 1e-9 for earlier, later in itertools.pairwise(sorted(places)))
        assert all(-1e-9 <= place <= 1 + 1e-9 for place in places)


@pytest.mark.parametrize("number", [1, 5, 30])
def test_names_of_curves_that_end_together_do_not_overlap(number: int) -> None:
    models = tuple(f"some_model_{index}" for index in range(number))
    curves = tuple(
        Curve(
            model=model,
            label=model,
            points=tuple(Point(x=side, y=1.0 + index / 1000, kind=Kind.MEASURED) for side in (512, 1024)),
        )
        for index, model in enumerate(models)
    )

    def draw_them(theme: Theme) -> Figure:
        panel = GrowthPanel(title="host", curves=curves)
        return draw_growth([panel], Palette(models=models), ["foot"], "time", write_seconds, theme)

    figure = draw(Picture(name="name", title="title", caption="caption", draw=draw_them))

    names = names_of(figure.axes[0])
    assert [name.get_text() for name in names] == list(models)
    assert list(overlaps(boxes_of(names))) == []
    assert all(box.y0 >= 0 and box.y1 <= figure.bbox.height for box in boxes_of(names))


def test_names_beside_crowded_points_overlap_neither_each_other_nor_the_marks() -> None:
    points = [(5 + index % 3 / 20, 5 + index / 20) for index in range(8)]
    with use_theme(LIGHT):
        figure = Figure(figsize=(3.5, 2.5))
        axes = figure.add_subplot(xlim=(0, 10), ylim=(0, 10))
        labels = [EndLabel(text=f"model_{index}", x=x, y=y, color="#000000") for index, (x, y) in enumerate(points)]
        add_point_labels(axes, labels, [[point] for point in points], [], LIGHT)
        figure.draw_without_rendering()

    boxes = boxes_of(names_of(axes))
    assert len(boxes) == 8
    assert list(overlaps(boxes)) == []
    frame = axes.get_window_extent()
    for box in boxes:
        assert not any(box.contains(*place) for place in axes.transData.transform(points))
        assert frame.x0 - 1 <= box.x0
        assert box.x1 <= frame.x1 + 1


def test_a_name_that_is_not_beside_its_point_is_led_to_it() -> None:
    with use_theme(LIGHT):
        figure = Figure(figsize=(3.5, 2.5))
        axes = figure.add_subplot(xlim=(0, 10), ylim=(0, 10))
        labels = [EndLabel(text="model", x=5, y=5, color="#000000") for _ in range(6)]
        add_point_labels(axes, labels, [[(5, 5)]], [], LIGHT)
    has_line = [
        getattr(text, "arrow_patch", None) is not None for text in axes.findobj(Text) if text.get_text() == "model"
    ]

    assert has_line[0] is False
    assert any(has_line)


def test_a_key_stands_in_as_few_rows_as_fit() -> None:
    def rows(*labels: str) -> int:
        with use_theme(LIGHT):
            key = [Line2D([], [], label=label) for label in labels]
            figure, _ = new_canvas(LIGHT, 1, foot=[], key=key)
            figure.draw_without_rendering()
            (legend,) = figure.legends
            boxes = boxes_of(legend.get_texts())
        assert max(box.x1 for box in boxes) <= figure.bbox.width
        return len({round(box.y0) for box in boxes})

    assert rows("stem", "projections", "attention", "mlp", "other") == 1
    assert rows(*(f"a rather long label {number}" for number in range(4))) == 2


def test_a_long_name_keeps_its_beginning_and_its_end() -> None:
    assert shorten("vit_b") == "vit_b"
    short = shorten("some/long/path/to/my_models.py:build_this_model")
    assert (short[:9], len(short)) == ("some/long", 25)
    assert short.endswith("…d_this_model")
