from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hand_made import ENVIRONMENT, failed, make_record, timed
from running import Run, Write

from atlasbench.core.record import Status
from atlasbench.core.workload import Mode
from atlasbench.store.codec import encode_record

LAPTOP = replace(ENVIRONMENT, matmul_flops_per_s={}, copy_bytes_per_s=None)
GPU = replace(LAPTOP, device="NVIDIA H200", driver="580.65", machine="node7")


def named(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_pictures_go_beside_the_records_as_png_and_svg_and_each_is_named(run: Run, write: Write) -> None:
    folder = write(*(make_record("vit_ti", size, environment=LAPTOP) for size in (512, 1024)))

    ended = run("plot")

    assert ended.code == 0, ended.err
    stems = ("complexity", "latency", "throughput", "memory", "parts")
    assert ended.out.splitlines() == [f"results/plots/{stem}.{end}" for stem in stems for end in ("png", "svg")]
    assert named(folder / "plots") == sorted(f"{stem}.{end}" for stem in stems for end in ("png", "svg"))


def test_what_is_left_out_is_said_with_its_reason(run: Run, write: Write) -> None:
    write(make_record("vit_ti", 512, environment=LAPTOP))

    assert run("plot --format png").err.splitlines() == [
        "No accuracy against cost: accuracy is known for fewer than two of these models, options and sizes; "
        "give more with --accuracy FILE.csv.",
        "No accuracy against resolution: no table of several sizes has one of these models, options and sizes.",
        "No roofline: no timed record has the measured limits of its device; newer runs have.",
        "No comparison with the paper: no machine has a table's baseline and another of its rows.",
    ]


def test_formats_and_folder_can_be_chosen(run: Run, write: Write, tmp_path: Path) -> None:
    write(make_record("vit_ti", 512, environment=LAPTOP))

    ended = run("plot results/a.jsonl --format pdf svg pdf --out figures/new --width page")

    assert ended.code == 0, ended.err
    assert "figures/new/latency.pdf" in ended.out.splitlines()
    assert {path.suffix for path in (tmp_path / "figures" / "new").iterdir()} == {".pdf", ".svg"}
    assert (tmp_path / "figures/new/latency.pdf").read_bytes().startswith(b"%PDF")


def test_a_file_of_records_has_its_pictures_beside_it(run: Run, write: Write) -> None:
    folder = write(make_record("vit_ti", 512, environment=LAPTOP))

    assert run("plot results/a.jsonl --format svg").code == 0
    assert named(folder) == ["a.jsonl", "plots"]


def test_one_machine_can_be_picked_and_several_are_all_shown(run: Run, write: Write) -> None:
    folder = write(
        make_record("vit_ti", 512, environment=LAPTOP), make_record("vit_ti", 512, environment=GPU, device="cuda:0")
    )

    assert run("plot --format svg").code == 0
    both = (folder / "plots" / "latency.svg").read_text()
    assert "NVIDIA H200, float32" in both
    assert "Some CPU, 2 threads, float32" in both

    assert run("plot --format svg --machine h200").code == 0
    one = (folder / "plots" / "latency.svg").read_text()
    assert "NVIDIA H200, float32" in one
    assert "Some CPU" not in one


def test_broken_lines_and_older_versions_are_drawn_around(run: Run, write: Write) -> None:
    old = json.loads(encode_record(make_record("vit_ti", 1024, environment=LAPTOP)))
    old["schema_version"] = 1
    for name in ("matmul_flops_per_s", "copy_bytes_per_s"):
        old["environment"].pop(name, None)
    old["measurement"]["counts"].pop("layers", None)
    write(make_record("vit_ti", 512, environment=LAPTOP), more=json.dumps(old) + "\nnonsense\n{}")

    ended = run("plot --format svg")

    assert ended.code == 0, ended.err
    assert ended.err.splitlines()[0].startswith("warning: 2 unreadable lines skipped: results/a.jsonl:3:")
    assert "results/plots/complexity.svg" in ended.out


def test_accuracies_of_a_file_are_drawn_against_their_cost(run: Run, write: Write, tmp_path: Path) -> None:
    folder = write(
        make_record("vit_ti", 512, environment=LAPTOP, measurement=timed(0.5)),
        make_record("swin_t", 512, environment=LAPTOP, measurement=timed(0.7, flops=3_000_000_000)),
    )
    (tmp_path / "own.csv").write_text("model,resolution,top1,source\nvit_ti,512,75.5,mine\nswin_t,512,81.2,mine\n")

    ended = run("plot --format svg --accuracy own.csv")

    assert ended.code == 0, ended.err
    picture = (folder / "plots" / "accuracy-cost-mine.svg").read_text()
    assert "from a file" in picture
    assert "vit_ti" in picture


def test_our_ratios_stand_beside_the_papers_as_picture_and_table(run: Run, write: Write) -> None:
    folder = write(
        make_record("atlas_b", 1024, environment=LAPTOP, mode=Mode.TRAIN, measurement=timed(1.0)),
        make_record("convnext_b", 1024, environment=LAPTOP, mode=Mode.TRAIN, measurement=timed(1.5)),
    )

    ended = run("plot --format svg")

    assert ended.code == 0, ended.err
    assert (folder / "plots" / "paper-table-1.svg").exists()
    files, _, table = ended.out.partition("\n\n")
    assert "results/plots/paper-table-1.svg" in files.splitlines()
    assert table.startswith("Table 1, HR-IN100 at 1024 px")
    assert "ConvNeXt-B: we measure 1.50x" in " ".join(table.split())


def test_a_folder_of_failures_is_refused_in_one_line_and_leaves_no_folder(run: Run, write: Write) -> None:
    folder = write(
        make_record("vit_ti", 512, measurement=failed(Status.ERROR, "reason", counts=None)),
        make_record("vit_ti", 1024, measurement=failed(Status.UNSUPPORTED, "reason", counts=None)),
    )

    ended = run("plot")

    assert ended.code == 2
    assert ended.error == "Nothing to draw: no record has counts, times or memory; all of them failed."
    assert named(folder) == ["a.jsonl"]


def test_what_did_not_fit_is_drawn_even_if_nothing_else_is_known(run: Run, write: Write) -> None:
    write(make_record("vit_ti", 512, environment=LAPTOP, measurement=failed(Status.OOM, "too large")))

    ended = run("plot --format svg")

    assert ended.code == 0, ended.err
    assert "results/plots/memory.svg" in ended.out.splitlines()


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("plot --format gif", "--format: 'gif' is not one of png, svg, pdf."),
        ("plot --width wide", "--width: 'wide' is not one of column, page."),
        (
            "plot --out results/a.jsonl/x",
            "Cannot write pictures to 'results/a.jsonl/x': 'results/a.jsonl' is a file. "
            "Give another folder with --out.",
        ),
        ("plot --machine H100", "--machine: 'H100' names none of the machines: Some CPU, 2 threads."),
        ("plot --accuracy none.csv", "none.csv: cannot be read: No such file or directory."),
        ("plot nowhere", "There is no file or folder 'nowhere'."),
    ],
)
def test_a_mistake_is_one_line_before_anything_is_drawn(run: Run, write: Write, command: str, message: str) -> None:
    folder = write(make_record("vit_ti", 512, environment=LAPTOP))

    ended = run(command)

    assert ended.code == 2
    assert message in ended.error
    assert named(folder) == ["a.jsonl"]
