from __future__ import annotations

import json
from pathlib import Path

import pytest
from running import Run

ON_META = "--device meta --no-save"


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (f"profile atlas_x {ON_META}", "Unknown model 'atlas_x'. Did you mean 'atlas_s' or 'atlas_b'"),
        (f"profile zzzzzzzzzz {ON_META}", "Unknown model 'zzzzzzzzzz'. See `atlasbench models`."),
        (f"profile vit_b atlas_tii --res 64 {ON_META}", "Unknown model 'atlas_tii'. Did you mean 'atlas_ti'"),
        (f"profile net.py {ON_META}", "To load a file, name the function that builds the model: net.py:build_model."),
        (f"profile net.py:f {ON_META}", "there is no file 'net.py'"),
        (f"profile atlas_s --res big {ON_META}", "--res: 'big' is not a resolution: write 1024 or 768x1536"),
        (f"profile atlas_s --res 64 vit_b {ON_META}", "Models come first: atlasbench profile vit_b --res ..."),
        (f"profile atlas_s --res=64 vit_b {ON_META}", "Models come first: atlasbench profile vit_b --res ..."),
        (f"profile atlas_s --res 0 {ON_META}", "--res: A resolution must be at least 1 pixel on each side, got 0."),
        (f"profile atlas_s --res -5 {ON_META}", "--res: '-5' is not a resolution"),
        (f"profile atlas_s --res 8 {ON_META}", "8 px is smaller than one patch: give at least 16 px on each side."),
        (f"profile atlas_s --res 1024 64x8 {ON_META}", "64x8 px is smaller than one patch"),
        ("profile atlas_s --res", "Option '--res' requires an argument. See `atlasbench profile --help`."),
        (f"profile atlas_s --batch 0 {ON_META}", "--batch: '0' is not a whole number of at least 1."),
        (f"profile atlas_s --drop 2-2-8 {ON_META}", "does not fit: atlas_s has 2 scales at 1024 px."),
        (
            f"profile atlas_s --res 1024 8192 --drop 2-10 {ON_META}",
            "atlas_s has 4 scales at 8192 px, and no scale drop",
        ),
        (f"profile vit_b --drop 2-10 {ON_META}", "--drop applies to models with scales (atlas*), and vit_b has none"),
        (f"profile atlas_s --mode dream {ON_META}", "--mode: 'dream' is not one of infer, train."),
        (f"profile atlas_s --dtype int8 {ON_META}", "--dtype: 'int8' is not one of auto, float32, bfloat16, float16,"),
        (f"profile atlas_s --attention best {ON_META}", "--attention: 'best' is not one of auto, math, flash,"),
        (
            "profile atlas_s --device tpu --no-save",
            "'tpu' is not a device: write one of auto, cpu, cuda, cuda:1, meta.",
        ),
        ("profile atlas_s --device cuda:99 --no-save", "cuda:99 is not there"),
        (f"profile atlas_s --set nonsense {ON_META}", "--set: 'nonsense' is not KEY=VALUE, e.g. window_size=8."),
        (f"profile atlas_s --set nonsense=1 {ON_META}", "atlas_s does not take the option 'nonsense'. It takes: "),
        (f"profile atlas_s --set window_size=abc {ON_META}", "window_size is a whole number of at least 1, got 'abc'."),
        (
            f"profile atlas_s --set window_size=7 {ON_META}",
            "window_size must be a multiple of downsample_stride 4, got 7.",
        ),
        (f"profile atlas_s --num-classes -1 {ON_META}", "Invalid value for '--num-classes'"),
        (f"profile atlas_s --num-classes x {ON_META}", "Invalid value for '--num-classes'"),
        (f"profile atlas_s --timing zzz=1 {ON_META}", "--timing: there is no constant 'zzz'."),
        (f"profile atlas_s --timeout 0 {ON_META}", "--timeout must be more than 0 seconds, got 0."),
        (f"profile atlas_s --threads 0 {ON_META}", "Invalid value for '--threads'"),
        (f"profile atlas_s --threads 9999 {ON_META}", "threads must be 1 to "),
        (f"profile atlas_s --format yaml {ON_META}", "--format: 'yaml' is not one of table, json, csv, markdown."),
        ("models --format yaml", "--format: 'yaml' is not one of table, json, csv, markdown."),
        ("env --format yaml", "--format: 'yaml' is not one of table, json, csv, markdown."),
        ("models zzzzzzzzzz", "Unknown model 'zzzzzzzzzz'."),
        ("env --device cuda:99", "cuda:99 is not there"),
        ("profile", "Missing argument 'models'. See `atlasbench profile --help`."),
        (
            "profile --res 1024 atlas_s",
            "Missing argument 'models'. Models come first: atlasbench profile atlas_s --res ... See `",
        ),
        ("profile --set window_size=8 vit_b", "Models come first: atlasbench profile vit_b --set ... See"),
        ("profile --set window_size=8", "Missing argument 'models'. See `atlasbench profile --help`."),
        ("profile atlas_s --nonsense", "No such option: --nonsense"),
        ("--nonsense", "No such option: --nonsense. See `atlasbench --help`."),
        ("nonsense", "No such command 'nonsense'. See `atlasbench --help`."),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(run: Run, command: str, message: str) -> None:
    ended = run(command)

    assert message in ended.error
    assert ended.code == 2


@pytest.mark.parametrize("out", ["file", "file/below", "/proc/nowhere"])
def test_a_folder_that_cannot_be_written_is_refused_before_anything_is_measured(
    run: Run, tmp_path: Path, out: str
) -> None:
    (tmp_path / "file").write_text("in the way")

    ended = run(f"profile atlas_ti --res 64 --device meta --out {out}")

    assert f"Cannot write records to '{out}'" in ended.error
    assert "Give another folder with --out, or keep none with --no-save." in ended.error
    assert ended.code == 2


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("junk\n", "No record can be read from 'results': 1 unreadable line skipped: results/x.jsonl:1: not JSON"),
        ('{"schema_version": 99}\n', "results/x.jsonl:1: schema version 99 is newer than 2"),
    ],
)
def test_records_that_cannot_be_resumed_from_are_refused(run: Run, tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "x.jsonl").write_text(line)

    ended = run("profile atlas_ti --res 64 --device meta --resume")

    assert message in ended.error
    assert ended.code == 2
    assert [path.name for path in (tmp_path / "results").iterdir()] == ["x.jsonl"]


def test_a_command_that_is_refused_leaves_no_folder_behind(run: Run, tmp_path: Path) -> None:
    assert run("profile atlas_x --device meta").code == 2

    assert list(tmp_path.iterdir()) == []


def test_without_a_command_the_help_is_shown(run: Run) -> None:
    ended = run("--help")

    assert "profile" in ended.out
    assert ended.code == 0


def test_a_size_too_small_for_one_model_does_not_end_the_sweep_of_the_others(run: Run) -> None:
    ended = run("profile longvit_s vit_ti --res 15 --device meta --no-save --format json")
    assert ended.code == 0
    assert [row["status"] for row in json.loads(ended.out)] == ["unsupported", "ok"]


def test_a_size_too_small_for_every_model_is_refused_and_says_for_which(run: Run) -> None:
    ended = run("profile longvit_s window_vit_s --res 15 --device meta --no-save")
    assert ended.code == 2
    assert ended.err.splitlines()[-1].startswith("error: longvit_s: 15 px is smaller than one patch")


def test_two_numbers_of_classes_are_refused(run: Run) -> None:
    ended = run("profile longvit_s --res 64 --device meta --no-save --set num_classes=10 --num-classes 20")
    assert ended.code == 2
    assert "given twice: 10 and 20" in ended.err
