from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from hand_made import ENVIRONMENT, make_record, timed
from running import Run

from atlasbench.core.record import Record
from atlasbench.store.codec import encode_record


def write(path: Path, records: Iterable[Record]) -> None:
    path.write_text("".join(encode_record(record) + "\n" for record in records))


def launches(factor: float = 1.0) -> list[Record]:
    spreads = enumerate((0.98, 0.99, 1.0, 1.01, 1.02), 1)
    return [make_record(measurement=timed(0.5 * factor * spread), launch=launch) for launch, spread in spreads]


@pytest.fixture(autouse=True)
def files(tmp_path: Path) -> None:
    write(tmp_path / "main.jsonl", launches())
    write(tmp_path / "slower.jsonl", launches(1.3))
    write(tmp_path / "once.jsonl", launches()[:1])
    write(tmp_path / "elsewhere.jsonl", [replace(r, environment=replace(ENVIRONMENT, threads=8)) for r in launches()])
    write(tmp_path / "other.jsonl", [make_record("swin_t", measurement=timed(0.5))])
    (tmp_path / "empty.jsonl").touch()
    (tmp_path / "junk.jsonl").write_text("junk\n")
    (tmp_path / "half.jsonl").write_text((tmp_path / "main.jsonl").read_text() + '{"schema_version": 1')


def test_two_files_are_shown_side_by_side(run: Run) -> None:
    ended = run("compare main.jsonl main.jsonl")

    assert ended.code == 0
    assert ended.err == ""
    lines = ended.out.splitlines()
    assert lines[0] == "No regression. 1 workload: 1 same. All: 1024 px, batch 1, infer, float32."
    assert lines[3] == "vit_b     same     0.0 %  -2.3 to +2.3 %         5     same"
    assert max(map(len, lines)) <= 80


def test_a_slowdown_is_shown_and_ends_with_0_all_the_same(run: Run) -> None:
    ended = run("compare main.jsonl slower.jsonl")

    assert ended.code == 0
    assert ended.out.startswith("Regression. 1 workload: 1 slower.")


def test_tolerances_and_budgets_are_those_of_the_gate(run: Run, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        '[tool.atlasbench.gate]\ntolerance = "50%"\n[tool.atlasbench.gate.budgets.vit_b]\nparams = 10\n'
    )

    (workload,) = json.loads(run("compare main.jsonl slower.jsonl --format json").out)["workloads"]

    assert (workload["verdict"], workload["tolerance"]) == ("same", 0.5)
    assert "params (budget)" in [item["name"] for item in workload["counted"] if item["is_worse"]]


def test_single_launches_cannot_tell(run: Run) -> None:
    ended = run("compare main.jsonl once.jsonl --format json")

    (workload,) = json.loads(ended.out)["workloads"]
    assert workload["verdict"] == "cannot tell"
    assert "run `gate --against`" in workload["reason"]


@pytest.mark.parametrize("output_format", ["json", "csv", "markdown", "junit", "github"])
def test_the_same_can_be_had_for_other_programs(run: Run, output_format: str) -> None:
    ended = run(f"compare main.jsonl slower.jsonl --format {output_format}")

    assert ended.code == 0
    assert "slower" in ended.out


def test_lines_that_are_no_records_are_not_passed_over_in_silence(run: Run) -> None:
    ended = run("compare main.jsonl half.jsonl")

    assert ended.code == 0
    assert ended.out.startswith("No regression found, but not everything can be told.")
    said = " ".join(ended.out.split())
    assert "Not compared: of the current side, 1 unreadable line skipped: half.jsonl:6: not JSON" in said
    assert run("gate --strict --baseline main.jsonl --current half.jsonl").code == 1


def test_a_difference_can_be_allowed(run: Run) -> None:
    ended = run("compare main.jsonl elsewhere.jsonl --allow-different threads machine")

    assert ended.code == 0
    assert "Differs: threads: 2 in the base, 8 now." in ended.out


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("compare main.jsonl nowhere.jsonl", "There is no file or folder 'nowhere.jsonl'."),
        ("compare empty.jsonl main.jsonl", "No records in 'empty.jsonl'"),
        ("compare main.jsonl junk.jsonl", "No record can be read from 'junk.jsonl'"),
        ("compare main.jsonl elsewhere.jsonl", "The environments of the two sides differ: threads is '2' and '8'."),
        ("compare main.jsonl other.jsonl", "The two sides share no workload: renamed? vit_b is gone, and swin_t has"),
        ("compare main.jsonl main.jsonl --allow-different os", "'os' is no field that must agree."),
        (
            "compare main.jsonl main.jsonl --format yaml",
            "--format: 'yaml' is not one of table, json, csv, markdown, junit, github.",
        ),
        ("compare main.jsonl", "Missing argument 'current'"),
    ],
)
def test_what_cannot_be_compared_is_one_line_and_exit_code_2(run: Run, command: str, message: str) -> None:
    ended = run(command)

    assert message in ended.error
    assert ended.code == 2
