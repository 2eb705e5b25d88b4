from __future__ import annotations

from dataclasses import replace

import pytest
from drawing import (
    GPU,
    LAPTOP,
    MODELS,
    SIZES,
    all_pictures,
    boxes_of,
    draw,
    draw_named,
    marked_points,
    measured,
    texts_of,
)
from hand_made import failed, make_counts, make_measurement, make_record
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from atlasbench.analysis.points import Point
from atlasbench.core.kinds import Kind
from atlasbench.core.record import Status
from atlasbench.report.figures.gallery import choose_pictures
from atlasbench.report.figures.marks import MARKS, OUT_OF_MEMORY, UNSETTLED, draw_points, find_mark, key_entries
from atlasbench.report.figures.theme import LIGHT, use_theme

POINT = Point(x=512, y=2.0, kind=Kind.MEASURED)


def panel() -> Axes:
    with use_theme(LIGHT):
        return Figure().add_subplot()


def test_every_kind_has_a_mark_of_its_own() -> None:
    assert set(MARKS) == set(Kind)
    marks = [*MARKS.values(), OUT_OF_MEMORY]
    assert len({mark.marker for mark in marks}) == len(marks)
    assert len({mark.words for mark in (*marks, UNSETTLED)}) == len(marks) + 1


def test_what_did_not_settle_is_hollow() -> None:
    settled, unsettled = find_mark(POINT), find_mark(replace(POINT, is_settled=False))

    assert (settled.marker, settled.is_filled) == ("o", True)
    assert (unsettled.marker, unsettled.is_filled) == ("o", False)


def test_points_are_marked_by_their_kind_each_once() -> None:
    axes = panel()
    points = [replace(POINT, x=float(number), kind=kind) for number, kind in enumerate([*Kind, *Kind])]

    draw_points(axes, points, "#000000", LIGHT)

    for number, kind in enumerate(Kind):
        assert marked_points(axes, MARKS[kind].marker) == [(number, 2.0), (number + len(Kind), 2.0)]


def test_an_interval_is_a_bar_through_its_point_and_what_has_none_has_no_bar() -> None:
    axes = panel()

    draw_points(axes, [replace(POINT, low=1.5, high=3.0), replace(POINT, x=1024)], "#000000", LIGHT)

    bars = [line for line in axes.lines if line.get_marker() == "None"]
    assert [(list(bar.get_xdata()), list(bar.get_ydata())) for bar in bars] == [([512, 512], [1.5, 3.0])]


def test_the_key_has_only_the_marks_that_are_there() -> None:
    entries = key_entries({MARKS[Kind.PREDICTED], MARKS[Kind.MEASURED], OUT_OF_MEMORY}, LIGHT)

    assert [entry.get_label() for entry in entries] == ["measured", "predicted", "out of memory"]


def test_latency_draws_every_time_once_and_those_that_did_not_settle_hollow() -> None:
    gpu, laptop = draw_named("latency-infer").axes

    did_not_fit = 2  # of the largest size
    assert len(marked_points(gpu, "o")) == len(set(marked_points(gpu, "o"))) == len(MODELS) * len(SIZES) - did_not_fit
    assert len(marked_points(laptop, "o")) == len(MODELS) * 2
    assert [x for x, _ in marked_points(gpu, "o", is_filled=False)] == [1024]
    assert [x for x, _ in marked_points(laptop, "o", is_filled=False)] == [1024]


def test_complexity_draws_every_count_once_and_no_attention_where_there_is_none() -> None:
    attention, everything = draw_named("complexity-infer").axes

    # One size more, where a workload was counted and did not fit; ConvNeXt has no attention.
    assert len(marked_points(everything, "D")) == len(MODELS) * len(SIZES) + 1
    assert len(marked_points(attention, "D")) == (len(MODELS) - 1) * len(SIZES) + 1
    assert "convnext_b" not in " ".join(text.get_text() for text in attention.texts)
    assert "Without attention: convnext_b." in all_pictures()["complexity-infer"].caption


def test_complexity_says_the_exponent_and_shows_the_laws() -> None:
    attention, _ = draw_named("complexity-train").axes

    names = [text.get_text() for text in attention.texts]
    assert "vit_b 2.00" in names
    assert "swin_b 1.00" in names
    assert {"N", "N K log_S N", "N²"} < set(names)


def test_laws_that_leave_at_the_top_are_named_in_their_order() -> None:
    pictures, _ = choose_pictures([measured("swin_b", size, environment=LAPTOP) for size in (256, 512, 1024)], [])

    attention, _ = draw(next(picture for picture in pictures if picture.name == "complexity")).axes

    heights = {text.get_text(): text.get_position()[1] for text in attention.texts}
    assert heights["N²"] > heights["N K log_S N"] > heights["N"]


def test_memory_draws_measured_predicted_the_limit_and_what_did_not_fit() -> None:
    gpu, laptop = draw_named("memory-infer").axes

    crosses = marked_points(gpu, "x")
    assert sorted(crosses) == [(4096, 150e9), (4096, 150e9), (16384, 150e9)]
    assert len(marked_points(gpu, "^")) == len(MODELS) * len(SIZES) + 1
    assert len(marked_points(gpu, "o")) == len(MODELS) * len(SIZES) - 2
    assert "150 GB of memory" in [text.get_text() for text in gpu.texts]
    assert marked_points(laptop, "x") == []
    assert "24.0 GB of memory" in [text.get_text() for text in laptop.texts]


def test_every_model_that_did_not_fit_has_its_cross_where_it_is_seen() -> None:
    records = [measured(model, 512, environment=LAPTOP) for model in MODELS]
    records += [
        make_record(model, 8192, environment=LAPTOP, measurement=failed(Status.OOM, "too large", counts=None))
        for model in MODELS
    ]
    pictures, _ = choose_pictures(records, [])

    figure = draw(next(picture for picture in pictures if picture.name == "memory"))

    (axes,) = figure.axes
    low, high = axes.get_xlim()
    assert marked_points(axes, "x") == [(8192, 24e9)] * len(MODELS)
    assert low < 8192 < high
    crosses = [line for line in axes.lines if line.get_marker() == "x"]
    assert not any(cross.get_clip_on() for cross in crosses)
    centres = sorted(cross.get_window_extent().x0 for cross in crosses)
    assert len({round(centre, 1) for centre in centres}) == len(MODELS)
    assert centres[-1] - centres[0] <= 18 * figure.dpi / 72


def test_the_roofline_shows_both_measured_limits() -> None:
    for axes, texts in zip(
        draw_named("roofline-infer").axes,
        (("copy 4.00 TB/s", "bfloat16 700 TFLOP/s"), ("copy 30.0 GB/s", "float32 400 GFLOP/s")),
        strict=True,
    ):
        assert set(texts) < {text.get_text() for text in axes.texts}


def test_parts_are_bars_that_fill_the_width() -> None:
    (axes,) = draw_named("parts-infer").axes

    assert [label.get_text() for label in axes.get_yticklabels()] == list(MODELS)
    widths: dict[float, float] = {}
    for bar in axes.patches:
        widths[bar.get_y()] = widths.get(bar.get_y(), 0) + bar.get_width()
    assert list(widths.values()) == pytest.approx([1.0] * len(MODELS), abs=0.005)


def test_a_number_stands_in_every_bar_that_has_room_for_it() -> None:
    counts = make_counts(1000, flops_by_part={"stem": 1, "projections": 90, "attention": 49, "mlp": 860})
    almost = make_counts(1000, flops_by_part={"stem": 4, "attention": 996})
    records = [
        make_record(model, 512, measurement=make_measurement(counts=each))
        for model, each in (("swin_b", counts), ("vit_b", almost))
    ]
    pictures, _ = choose_pictures(records, [])

    (axes,) = draw(next(picture for picture in pictures if picture.name == "parts")).axes

    numbers = [text for text in axes.texts if text.get_text().endswith("%")]
    assert [text.get_text() for text in numbers] == ["9%", "86%", "> 99%"]
    bars = [bar.get_window_extent() for bar in axes.patches]
    for box in boxes_of(numbers):
        assert any(
            bar.x0 <= box.x0 and box.x1 <= bar.x1 and bar.y0 <= box.y0 + box.height / 2 <= bar.y1 for bar in bars
        )


def test_accuracy_against_cost_has_the_papers_mark_and_a_panel_for_each_machine() -> None:
    figure = draw_named("accuracy-cost-table-1")

    assert [" ".join(axes.get_title(loc="left").split()) for axes in figure.axes] == [
        "Accuracy against FLOPs",
        f"{GPU.device}, bfloat16",
        f"{LAPTOP.device}, 2 threads, float32",
    ]
    assert [len(marked_points(axes, "*")) for axes in figure.axes] == [len(MODELS)] * 3
    assert {"from the paper", "Pareto front; better is up and left"} < set(texts_of(figure))


def test_beside_the_paper_stand_our_ratio_and_that_of_the_flops() -> None:
    (axes,) = draw_named("paper-table-1").axes

    assert marked_points(axes, "*") == [(1.15, 0), (1.6, 1), (2.9, 2), (2.2, 3), (4.3, 4), (0.98, 5), (1.0, 6)]
    assert len(marked_points(axes, "o")) == 7
    assert len(marked_points(axes, "D")) == 6  # not all operators of MambaVision-B were counted
    assert [label.get_text() for label in axes.get_yticklabels()][:2] == ["ViT-B", "Swin-B"]
    assert "Bars: interval of our ratio. Diamonds: ratio of the FLOPs." in " ".join(
        texts_of(draw_named("paper-table-1"))
    )
