"""Records enough for every picture, and looking at what was drawn."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from hand_made import ENVIRONMENT, failed, make_counts, make_measurement, make_record, make_timing
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from atlasbench.analysis.accuracy import load_paper_accuracy
from atlasbench.analysis.reproduction import compare_with_paper
from atlasbench.core.record import Memory, Record, Status
from atlasbench.core.workload import Dtype, Mode
from atlasbench.report.figures.gallery import choose_pictures
from atlasbench.report.figures.picture import Picture
from atlasbench.report.figures.theme import LIGHT, Theme, use_theme

MODELS = ("vit_b", "swin_b", "atlas_b", "convnext_b", "longvit_b", "mambavision_b", "fastervit_4")
SIZES = (512, 1024, 2048, 4096)
LATER = "2026-11-21T12:00:00.000+00:00"
LAPTOP = replace(
    ENVIRONMENT,
    device="Intel(R) Core(TM) i7-1185G7",
    machine="laptop",
    matmul_flops_per_s={"float32": 4e11},
    copy_bytes_per_s=3e10,
)
GPU = replace(
    ENVIRONMENT,
    device="NVIDIA H200",
    machine="node7",
    driver="550.54.15",
    device_memory_bytes=150_000_000_000,
    matmul_flops_per_s={"bfloat16": 7e14},
    copy_bytes_per_s=4e12,
)


def measured(model: str, size: int, **fields: Any) -> Record:
    """A record whose numbers grow with the size and differ a little from model to model."""
    number, tokens = MODELS.index(model) + 1, (size // 16) ** 2
    attention = 0 if model == "convnext_b" else tokens**2 * 10 if model == "vit_b" else tokens * 100_000 * number
    flops = tokens * 50_000_000 * (10 + number) // 10 + attention
    counts = make_counts(
        flops,
        flops_by_part={"stem": flops // 10, "attention": attention, "mlp": flops - flops // 10 - attention},
        activation_bytes=tokens * 400_000,
        predicted_peak_bytes=tokens * 300_000 * number,
        uncounted=("aten::_fft_r2c",) if model == "mambavision_b" else (),
    )
    peak_flops = 7e14 if fields.get("device") == "cuda:0" else 4e11
    timing = make_timing(
        flops / peak_flops * (2 + number / 5), 0.04, flags=("drifting",) if number == 2 and size == 1024 else ()
    )
    memory = Memory(peak_bytes=int(counts.predicted_peak_bytes * 1.2), method="allocated")
    kernels = {"scan": "pytorch"} if model == "mambavision_b" else {}
    measurement = make_measurement(counts=counts, timing=timing, memory=memory, kernels=kernels, notes=())
    if counts.predicted_peak_bytes > 110_000_000_000:
        measurement = failed(Status.OOM, "too large", counts=counts)
    return make_record(model, size, measurement=measurement, **fields)


def many_records() -> list[Record]:
    """Seven models on a laptop and a GPU, inference and training, with one that did not fit."""
    on_gpu: dict[str, Any] = {"environment": GPU, "device": "cuda:0", "dtype": Dtype.BFLOAT16, "time": LATER}
    too_large = failed(Status.OOM, "too large", counts=make_counts(uncounted=()))
    return [
        *(measured(model, size, environment=LAPTOP) for model in MODELS for size in SIZES[:2]),
        *(measured(model, size, mode=mode, **on_gpu) for mode in Mode for model in MODELS for size in SIZES),
        make_record("vit_b", 16384, measurement=too_large, mode=Mode.INFER, **on_gpu),
    ]


@cache
def all_pictures() -> dict[str, Picture]:
    """Every picture that `many_records` allow, by name."""
    records = many_records()
    pictures, _ = choose_pictures(records, load_paper_accuracy(), compare_with_paper(records))
    return {picture.name: picture for picture in pictures}


@cache
def draw_named(name: str, theme: Theme = LIGHT) -> Figure:
    """One of `all_pictures`; drawing takes time, and nobody changes what was drawn."""
    return draw(all_pictures()[name], theme)


def draw(picture: Picture, theme: Theme = LIGHT) -> Figure:
    with use_theme(theme):
        figure = picture.draw(theme)
        figure.draw_without_rendering()
    return figure


def texts_of(figure: Figure) -> list[str]:
    return [text.get_text() for text in seen_texts(figure)]


def seen_texts(figure: Figure) -> list[Text]:
    """All text but that of ticks beyond the ends of their axes, which is never drawn."""
    unseen: set[Text] = set()
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            unseen |= {
                label
                for tick in axis.get_major_ticks()
                if not low * 0.9999 <= tick.get_loc() <= high * 1.0001
                for label in (tick.label1, tick.label2)
            }
    return [
        text
        for text in figure.findobj(Text)
        if isinstance(text, Text) and text.get_visible() and text.get_text() and text not in unseen
    ]


def marked_points(axes: Axes, marker: str, *, is_filled: bool | None = None) -> list[tuple[float, float]]:
    """Everything that has this mark in a panel."""
    return [
        (float(x), float(y))
        for line in axes.lines
        if line.get_marker() == marker and (is_filled is None or is_filled == (is_line_filled(line)))
        for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True)
    ]


def is_line_filled(line: Line2D) -> bool:
    return line.get_markerfacecolor() == line.get_markeredgecolor()


def names_of(axes: Axes) -> list[Text]:
    """The names beside points and curves, without ticks and titles."""
    return [text for text in axes.texts if text.get_text()]


def boxes_of(texts: Sequence[Text]) -> list[Bbox]:
    # A name's own box, without the line that leads from it to its point.
    return [Text.get_window_extent(text) for text in texts]


def overlaps(boxes: Sequence[Bbox]) -> Iterator[tuple[int, int]]:
    """Pairs that share more than a hair."""
    for (first, one), (second, other) in itertools.combinations(enumerate(boxes), 2):
        shared = Bbox.intersection(one, other)
        if shared is not None and shared.width > 0.5 and shared.height > 0.5:
            yield first, second
