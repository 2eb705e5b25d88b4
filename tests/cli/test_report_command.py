from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hand_made import ENVIRONMENT, failed, make_record, timed
from running import Run, Write

from atlasbench.core.record import Status
from atlasbench.store.codec import encode_record

GPU = replace(ENVIRONMENT, device="NVIDIA H200", driver="580.65", machine="node7")


def page_in(folder: Path, name: str = "report.html") -> str:
    page = (folder / name).read_text(encoding="utf-8")
    assert page.startswith("<!DOCTYPE html>")
    assert page.endswith("</html>\n")
    return page


def test_a_folder_becomes_one_page_and_the_command_says_where(run: Run, write: Write, tmp_path: Path) -> None:
    write(*(make_record("vit_b", size, measurement=timed(size / 2048)) for size in (512, 1024, 2048)))

    ended = run("report")

    assert ended.code == 0, ended.err
    assert re.fullmatch(r"report\.html: [\d.]+ [kM]B\n", ended.out)
    assert ended.err == ""
    page = page_in(tmp_path)
    assert "<title>Vision backbones for large images</title>" in page
    assert "vit_b from 512 to 2048 px" in page
    assert page.count("<figure>") >= 2
    assert '<table id="verdicts-table"' in page


def test_the_same_folder_gives_the_same_bytes(run: Run, write: Write, tmp_path: Path) -> None:
    write(make_record(), make_record("swin_b", environment=GPU, device="cuda:0"))

    run("report results -o first.html")
    run("report results/a.jsonl --out second.html")

    assert (tmp_path / "first.html").read_bytes() == (tmp_path / "second.html").read_bytes()


def test_broken_lines_are_named_on_the_page_and_on_stderr(run: Run, write: Write, tmp_path: Path) -> None:
    write(make_record(), more='{"schema_version": 1\n')

    ended = run("report")

    assert ended.code == 0
    assert ended.err.startswith("warning: 1 unreadable line skipped: results/a.jsonl:2: ")
    assert "<strong>Left out:</strong> 1 unreadable line skipped: results/a.jsonl:2: " in page_in(tmp_path)


def test_records_of_the_first_version_are_shown_beside_new_ones(run: Run, write: Write, tmp_path: Path) -> None:
    old = json.loads(encode_record(make_record("swin_b")))
    old["schema_version"] = 1
    del old["measurement"]["counts"]["layers"], old["environment"]["matmul_flops_per_s"]
    del old["environment"]["copy_bytes_per_s"]
    write(make_record(), more=json.dumps(old) + "\n")

    assert run("report").code == 0
    assert "2 models at 1024 px" in page_in(tmp_path)


def test_several_machines_are_kept_apart_and_one_can_be_chosen(run: Run, write: Write, tmp_path: Path) -> None:
    write(make_record(), make_record(environment=GPU, device="cuda:0"))

    assert run("report").code == 0
    assert '<table id="numbers-2"' in page_in(tmp_path)

    assert run("report --machine h200").code == 0
    page = page_in(tmp_path)
    assert "1 workload measured on NVIDIA H200." in page
    assert "Some CPU, 2 threads" not in page
    assert run("report --machine A100").error == (
        "--machine: 'A100' names none of the machines: Some CPU, 2 threads; NVIDIA H200."
    )


def test_one_single_point_is_a_page(run: Run, write: Write, tmp_path: Path) -> None:
    write(make_record())

    assert run("report").code == 0
    assert "vit_b at 1024 px, 2026-11-21: 1 workload measured on Some CPU, 2 threads." in page_in(tmp_path)


def test_only_failures_are_a_page_with_their_reasons(run: Run, write: Write, tmp_path: Path) -> None:
    write(
        make_record(measurement=failed(Status.OOM, "predicted 90 GB")),
        make_record("swin_b", measurement=failed(Status.ERROR, "no such size", counts=None)),
    )

    assert run("report").code == 0
    page = page_in(tmp_path)
    assert "predicted 90 GB" in page
    assert "no such size" in page


def test_accuracy_from_a_file_is_drawn(run: Run, write: Write, tmp_path: Path) -> None:
    write(make_record("vit_b"), make_record("swin_b", measurement=timed(0.3, flops=10**9)))
    (tmp_path / "mine.csv").write_text("model,resolution,top1\nvit_b,1024,81.5\nswin_b,1024,83.5\n")

    assert run("report --accuracy mine.csv").code == 0
    assert "Accuracy against cost" in page_in(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("report nowhere", "There is no file or folder 'nowhere'."),
        ("report empty", "No records in 'empty': run `atlasbench profile MODEL --res 1024` to make some."),
        ("report -o empty", "Cannot write the page to 'empty': it is a folder. Name a file, e.g. report.html."),
        (
            "report -o no/report.html",
            "Cannot write the page to 'no/report.html': No such file or directory. Give another file with --out.",
        ),
    ],
)
def test_what_cannot_be_done_is_one_line_and_leaves_nothing(
    run: Run, tmp_path: Path, arguments: str, message: str
) -> None:
    (tmp_path / "empty").mkdir()

    ended = run(arguments)

    assert (ended.code, ended.error) == (2, message)
    assert list(tmp_path.rglob("*")) == [tmp_path / "empty"]


def test_a_bad_file_of_accuracies_is_refused_and_the_old_page_stays(run: Run, write: Write, tmp_path: Path) -> None:
    write(make_record())
    (tmp_path / "report.html").write_text("old")
    (tmp_path / "mine.csv").write_text("model,resolution,top1\nvit_b,1024,lots\n")

    ended = run("report --accuracy mine.csv")

    assert ended.code == 2
    assert "mine.csv" in ended.error
    assert (tmp_path / "report.html").read_text() == "old"


def test_files_without_a_readable_line_are_refused(run: Run, write: Write, tmp_path: Path) -> None:
    write(more="nothing\n")

    assert run("report").error.startswith("No record can be read from 'results': 1 unreadable line skipped")
    assert not (tmp_path / "report.html").exists()
