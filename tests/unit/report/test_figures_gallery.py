from __future__ import annotations

from dataclasses import replace

import pytest
from drawing import (
    GPU,
    LAPTOP,
    all_pictures,
    boxes_of,
    draw,
    draw_named,
    many_records,
    measured,
    names_of,
    overlaps,
    seen_texts,
    texts_of,
)
from hand_made import ENVIRONMENT, failed, make_measurement, make_record
from matplotlib.figure import Figure
from matplotlib.text import Text

from atlasbench.analysis.accuracy import load_paper_accuracy
from atlasbench.core.record import Memory, Status
from atlasbench.report.figures.gallery import choose_pictures
from atlasbench.report.figures.theme import LIGHT, Theme, Width, set_width

NAMES = list(all_pictures())
META = replace(ENVIRONMENT, device="meta (shapes only)", device_memory_bytes=0)


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=Width)
def figure(name: str, request: pytest.FixtureRequest) -> Figure:
    return draw_named(name, set_width(request.param))


def test_records_of_everything_give_every_picture() -> None:
    assert NAMES == [
        "complexity-infer",
        "complexity-train",
        "latency-infer",
        "latency-train",
        "throughput-infer",
        "throughput-train",
        "memory-infer",
        "memory-train",
        "parts-infer",
        "parts-train",
        "accuracy-cost-table-1",
        "accuracy-cost-table-6",
        "accuracy-resolution-table-6",
        "roofline-infer",
        "roofline-train",
        "paper-table-1",
        "paper-table-1-2",
        "paper-table-6",
        "paper-table-6-2",
    ]


def test_all_text_is_inside_the_picture(figure: Figure) -> None:
    width, height = figure.bbox.width, figure.bbox.height
    for text in seen_texts(figure):
        box = Text.get_window_extent(text)
        assert box.x0 >= -1, text
        assert box.y0 >= -1, text
        assert box.x1 <= width + 1, text
        assert box.y1 <= height + 1, text


def test_no_two_names_overlap(figure: Figure) -> None:
    for axes in figure.axes:
        names = names_of(axes)
        clashes = [(names[i].get_text(), names[j].get_text()) for i, j in overlaps(boxes_of(names))]
        assert clashes == []


def test_no_two_numbers_below_a_panel_touch(figure: Figure) -> None:
    for axes in figure.axes:
        assert list(overlaps(boxes_of(axes.get_xticklabels()))) == []


def test_no_text_is_smaller_than_the_small_size(figure: Figure) -> None:
    assert min(text.get_fontsize() for text in seen_texts(figure)) >= LIGHT.small_pt


def test_every_picture_says_where_its_numbers_come_from(name: str) -> None:
    text = " ".join(" ".join(texts_of(draw_named(name))).split())

    if name.startswith("accuracy-resolution"):
        assert "Table 6 of arXiv:2503.12355." in text
    else:
        assert "torch 2.11.0, timm 1.0.20, atlasbench 0.1.0." in text


def test_every_picture_has_words_for_those_who_cannot_see_it(name: str) -> None:
    picture = all_pictures()[name]
    assert picture.title
    assert picture.caption.endswith(".")


def test_machines_stand_in_panels_of_their_own_named() -> None:
    figure = draw_named("latency-infer")

    titles = [" ".join(axes.get_title(loc="left").split()) for axes in figure.axes]
    assert titles == [f"{GPU.device}, bfloat16", f"{LAPTOP.device}, 2 threads, float32"]
    foot = " ".join(" ".join(texts_of(figure)).split())
    assert "Environment: NVIDIA H200, driver 550.54.15" in foot
    assert f"Environment: {LAPTOP.device}, 2 threads" in foot


def test_every_environment_in_a_picture_is_named_and_no_other() -> None:
    laptops = [replace(LAPTOP, device=f"CPU {number}", machine=f"host{number}") for number in range(5)]
    # Table 1 is about images of 1024 px.
    records = [measured(model, 512, environment=laptop) for laptop in laptops for model in ("vit_b", "swin_b")]
    records += [measured(model, 1024, environment=GPU, device="cuda:0") for model in ("vit_b", "swin_b")]

    pictures, _ = choose_pictures(records, load_paper_accuracy())

    feet = {picture.name: " ".join(" ".join(texts_of(draw(picture))).split()) for picture in pictures}
    for machine in (*laptops, GPU):
        assert f"Environment: {machine.device}," in feet["latency"]
    assert "Environment: NVIDIA H200," in feet["accuracy-cost-table-1"]
    assert "Environment: CPU" not in feet["accuracy-cost-table-1"]


def test_sizes_that_are_close_are_told_apart_and_their_numbers_do_not_touch() -> None:
    pictures, _ = choose_pictures([measured("vit_b", size, environment=LAPTOP) for size in (496, 500, 512, 520)], [])

    (axes,) = draw(next(picture for picture in pictures if picture.name == "latency")).axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["496", "512", "520"]
    assert list(overlaps(boxes_of(axes.get_xticklabels()))) == []


def test_a_model_has_one_colour_in_all_pictures() -> None:
    colors = {
        str(name.get_color())
        for title in ("complexity-infer", "latency-infer", "memory-infer", "roofline-infer", "accuracy-cost-table-6")
        for axes in draw_named(title).axes
        for name in names_of(axes)
        if name.get_text().startswith("vit_b")
    }
    assert len(colors) == 1


def test_a_model_without_its_fast_kernel_is_marked_and_the_mark_explained() -> None:
    for name in ("latency-infer", "throughput-train", "memory-infer", "roofline-infer"):
        texts = texts_of(draw_named(name))
        assert "mambavision_b *" in texts, name
        assert "vit_b" in texts, name
        assert "* Selective scan in plain PyTorch" in " ".join(texts), name
    assert not any("*" in text for text in texts_of(draw_named("complexity-infer")))


def test_flops_that_are_too_low_are_said_to_be() -> None:
    for name in ("complexity-infer", "parts-train", "roofline-infer", "accuracy-cost-table-1"):
        text = " ".join(" ".join(texts_of(draw_named(name))).split())
        assert "FLOPs without operators that have no formula, so too low: mambavision_b." in text, name


@pytest.mark.parametrize("width", [LIGHT, set_width(Width.PAGE)], ids=["column", "page"])
def test_pictures_are_as_wide_as_asked(width: Theme) -> None:
    assert draw_named("latency-infer", width).get_figwidth() == width.width_in


def test_counts_alone_give_their_pictures_and_a_sentence_for_each_other() -> None:
    memory = Memory(peak_bytes=1, method="predicted")
    records = [
        make_record(
            "vit_ti",
            size,
            environment=META,
            device="meta",
            measurement=make_measurement(timing=None, memory=memory),
        )
        for size in (512, 1024)
    ]

    pictures, sentences = choose_pictures(records, load_paper_accuracy())

    assert [picture.name for picture in pictures] == ["complexity", "memory", "parts"]
    assert pictures[1].caption == (
        "Peak memory of a step against the side of the image, both logarithmic, predicted from the shapes."
    )
    assert sentences == [
        "No latency and no throughput: nothing was timed; run `atlasbench profile` on a device.",
        "No accuracy against cost: accuracy is known for fewer than two of these models, options and sizes; "
        "give more with --accuracy FILE.csv.",
        "No accuracy against resolution: no table of several sizes has one of these models, options and sizes.",
        "No roofline: no timed record has the measured limits of its device; newer runs have.",
        "No comparison with the paper: no machine has a table's baseline and another of its rows.",
    ]


def test_only_failures_give_no_picture_and_say_how_many_there_are() -> None:
    records = [
        make_record("vit_b", 512, measurement=failed(Status.ERROR, "reason", counts=None)),
        make_record("vit_b", 1024, measurement=failed(Status.ERROR, "reason", counts=None)),
        make_record("vit_b", 2048, measurement=failed(Status.TIMEOUT, "reason", counts=None)),
    ]

    pictures, sentences = choose_pictures(records, load_paper_accuracy())

    assert pictures == []
    assert sentences[-1] == "Without numbers and in no picture of times: 2 error, 1 timeout."


def test_one_point_of_one_model_is_drawn() -> None:
    pictures, _ = choose_pictures([measured("vit_b", 1024, environment=LAPTOP)], [])

    assert [picture.name for picture in pictures] == [
        "complexity",
        "latency",
        "throughput",
        "memory",
        "parts",
        "roofline",
    ]
    for picture in pictures:
        assert "vit_b" in texts_of(draw(picture)), picture.name
    # One size shows no growth, so nothing is said about steepness.
    assert pictures[0].caption == (
        "FLOPs of one image against its side, both logarithmic: attention alone, and everything."
    )


def test_records_decide_the_colours_and_not_their_order() -> None:
    records = many_records()
    forward, _ = choose_pictures(records, [])
    backward, _ = choose_pictures(sorted(records, key=lambda record: record.workload.model, reverse=True), [])

    colors = [
        {name.get_text().split()[0]: str(name.get_color()) for axes in draw(pictures[2]).axes for name in axes.texts}
        for pictures in (forward, backward)
    ]
    assert colors[0] == colors[1]
