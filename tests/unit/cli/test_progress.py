from __future__ import annotations

import io

import pytest
from hand_made import failed, make_record, make_workload
from rich.console import Console

from atlasbench.cli import progress as progress_module
from atlasbench.cli.progress import SweepProgress
from atlasbench.core.record import Status
from atlasbench.sweep.run import Progress

WORKLOADS = [make_workload("vit_base_patch16_siglip_gap_512.v2_webli", "768x1536"), make_workload("vit_b")]


def at(index: int, phase: str) -> Progress:
    return Progress(index=index, total=2, workload=WORKLOADS[index], phase=phase)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr(progress_module.time, "monotonic", lambda: now[0])
    return now


def test_plain_lines_say_place_workload_time_left_and_ending(
    capsys: pytest.CaptureFixture[str], clock: list[float]
) -> None:
    with SweepProgress(WORKLOADS, [10.0, 30.0]) as progress:
        progress.show(at(0, "counting"))
        progress.show(at(0, "timing"))
        clock[0] += 20
        progress.finish(make_record("vit_b", batch_size=4), is_new=True)
        progress.show(at(1, "counting"))
        progress.finish(make_record(measurement=failed(Status.OOM, "too big")), is_new=False)

    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        "[1/2] vit_base_patch16_siglip_gap_512.v2_webli, 768x1536 px, batch 1, infer, float32 ... 40 s left",
        "      8.00 images/s from 40 samples",
        "[2/2] vit_b, 1024 px, batch 1, infer, float32 ... 60 s left",
        "      measured before: oom: too big",
    ]


def test_planning_is_silent_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with SweepProgress(WORKLOADS, [0.0, 0.0], is_planning=True) as progress:
        progress.show(at(0, "counting"))

    assert capsys.readouterr() == ("", "")


def test_no_time_left_is_said_before_there_is_anything_to_tell_it_from(capsys: pytest.CaptureFixture[str]) -> None:
    with SweepProgress(WORKLOADS, [0.0, 0.0]) as progress:
        progress.show(at(0, "counting"))

    assert capsys.readouterr().err.endswith("float32 ...\n")


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_bar_is_one_line_with_the_time_left_on_any_terminal(
    width: int, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress_module, "is_terminal", lambda: True)
    progress = SweepProgress(WORKLOADS, [10.0, 30.0])
    progress.show(at(0, "timing"))
    clock[0] += 4

    assert progress._bar is not None
    console = Console(width=width, file=io.StringIO(), force_terminal=False)
    with console.capture() as captured:
        console.print(progress._bar.get_renderable())

    (line,) = captured.get().splitlines()
    assert len(line) <= width
    assert line.startswith("timing   [1/2] vit_base_patch16")
    assert line.rstrip().endswith("36 s left")
