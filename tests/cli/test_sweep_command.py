from __future__ import annotations

import json
from pathlib import Path

import pytest
from running import Run

RECIPE = """
title = "Two of a kind"
resolutions = 64
device = "meta"
options = { patch_size = 8 }

[[models]]
name = "atlas_ti"
label = "stacked"
scale_drops = ["none"]

[[models]]
name = "atlas_ti"
label = "narrow"
options = { window_size = 4 }
"""
HASTY = (
    "--device cpu --timing warmup_window=1 warmup_min_s=0 warmup_max_s=0.05 min_samples=3 floor_samples=3 "
    "min_time_s=0.001 give_up_s=0.002 hard_stop_s=0.003"
)


@pytest.fixture
def recipe(tmp_path: Path) -> str:
    (tmp_path / "mine.toml").write_text(RECIPE)
    return "mine.toml"


def test_a_recipe_is_measured_and_its_words_name_the_rows(run: Run, recipe: str, tmp_path: Path) -> None:
    ended = run(f"sweep {recipe}")

    assert ended.code == 0, ended.err
    lines = ended.out.splitlines()
    assert lines[0] == "Two of a kind. atlas_ti, batch 1, infer, float32, on meta"
    assert lines[1].split() == ["Row", "px", "D", "Params", "GMACs", "GFLOPs", "Memory"]
    assert [line.split()[0] for line in lines[3:5]] == ["stacked", "narrow"]
    assert lines[-1] == "Next: atlasbench plot results"
    assert max(map(len, lines)) <= 80
    assert len(list((tmp_path / "results").glob("*.jsonl"))) == 1


def test_every_model_runs_with_its_own_options(run: Run, recipe: str) -> None:
    rows = json.loads(run(f"sweep {recipe} --no-save --format json").out)

    assert [(json.loads(row["options"]), row["scale_drop"]) for row in rows] == [
        ({"patch_size": 8}, "none"),
        ({"patch_size": 8, "window_size": 4}, "2-10"),
    ]


def test_the_command_line_wins_over_the_recipe(run: Run, recipe: str) -> None:
    rows = json.loads(
        run(
            f"sweep {recipe} --res 64 128x64 --batch 2 --mode train --dtype bfloat16 --compile --channels-last "
            "--no-save --format json"
        ).out
    )

    assert [(row["height"], row["width"]) for row in rows] == [(64, 64), (128, 64)] * 2
    for row in rows:
        assert (row["batch_size"], row["mode"], row["dtype"]) == (2, "train", "bfloat16")
        assert (row["compiled"], row["memory_format"], row["device_type"]) == (True, "channels_last", "meta")


def test_constants_of_the_recipe_hold_unless_the_command_line_sets_them(run: Run, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(
        'models = "vit_ti"\nresolutions = 32\nquick = true\ntiming = { min_samples = 4, batch_rank = 2 }'
    )

    ended = run(f"sweep mine.toml {HASTY} --timeout 100")

    assert ended.code == 0, ended.err
    (path,) = (tmp_path / "results").iterdir()
    constants = json.loads(path.read_text())["measurement"]["protocol"]
    assert (constants["batch_rank"], constants["min_samples"], constants["timeout_s"]) == (2, 3, 100)
    assert constants["warmup_max_iterations"] == 60  # of the quick preset


def test_a_dry_run_says_what_it_would_cost_and_keeps_nothing(run: Run, recipe: str, tmp_path: Path) -> None:
    ended = run(f"sweep {recipe} --device cpu --dry-run")

    assert ended.code == 0, ended.err
    assert ended.out.startswith("Two of a kind. ")
    assert "stacked" in ended.out
    assert "About s" in ended.out
    assert "Nothing was measured." in " ".join(ended.out.split())
    assert "2 workloads on cpu, about" in ended.err
    assert not (tmp_path / "results").exists()


def test_resuming_measures_what_is_left(run: Run, recipe: str, tmp_path: Path) -> None:
    run(f"sweep {recipe} --out out")

    again = run(f"sweep {recipe} --res 64 128 --out out --resume --format json")

    assert again.code == 0, again.err
    assert len(json.loads(again.out)) == 4
    lines = [line for path in (tmp_path / "out").iterdir() for line in path.read_text().splitlines()]
    assert len(lines) == 4


def test_without_a_folder_the_next_command_is_no_plot(run: Run, recipe: str) -> None:
    assert "\nNext: atlasbench profile atlas_ti --res 64 " in run(f"sweep {recipe} --no-save").out


def test_options_of_every_entry_are_checked_before_anything_is_measured(run: Run, recipe: str, tmp_path: Path) -> None:
    path = tmp_path / recipe
    path.write_text(path.read_text().replace("window_size = 4", 'communication = "loud"'))

    ended = run(f"sweep {recipe}")

    assert ended.error == "communication must be one of none, bottom_up, top_down, both, got 'loud'."
    assert ended.code == 2
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("sweep", "Missing argument 'recipe'. See `atlasbench sweep --help`."),
        ("sweep other.toml", "other.toml: there is no such recipe. There is mine.toml."),
        ("sweep mine.toml --res big", "--res: 'big' is not a resolution: write 1024 or 768x1536 (height x width)."),
        (
            "sweep --res 64 mine.toml",
            "Missing argument 'recipe'. The recipe comes first: atlasbench sweep mine.toml --res ... "
            "See `atlasbench sweep --help`.",
        ),
        ("sweep mine.toml --device tpu", "'tpu' is not a device: write one of auto, cpu, cuda, cuda:1, meta."),
        (
            "sweep mine.toml --timing zzz=1",
            "--timing: there is no constant 'zzz'. There are: warmup_window, warmup_min_windows, warmup_min_s, "
            "warmup_tolerance, warmup_max_iterations, warmup_max_s, slow_iteration_s, min_samples, min_time_s, "
            "half_width, growth, give_up_s, hard_stop_s, floor_samples, min_sample_s, drift_tolerance, batches, "
            "batch_rank, cuda_chunk_s, timeout_s.",
        ),
        ("sweep mine.toml --format yaml", "--format: 'yaml' is not one of table, json, csv, markdown."),
    ],
)
def test_bad_usage_is_one_line_and_exit_code_2(run: Run, recipe: str, command: str, message: str) -> None:
    ended = run(command)

    assert ended.error == message
    assert ended.code == 2


def test_an_unknown_key_is_refused_with_its_file_and_what_was_meant(run: Run, recipe: str, tmp_path: Path) -> None:
    path = tmp_path / recipe
    path.write_text(path.read_text().replace("resolutions", "resolution"))

    ended = run(f"sweep {recipe}")

    assert ended.error == "mine.toml: there is no key 'resolution'. Did you mean 'resolutions'?"
    assert ended.code == 2
