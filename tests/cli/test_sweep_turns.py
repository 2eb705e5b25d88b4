"""A recipe whose models take turns with a baseline, with real workers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from running import Run

RECIPE = """
models = ["vit_ti", "atlas_ti"]
resolutions = 64
device = "cpu"
quick = true
turns = true
baseline = "atlas_ti"
"""


@pytest.fixture
def recipe(tmp_path: Path) -> str:
    (tmp_path / "mine.toml").write_text(RECIPE)
    return "mine.toml"


@pytest.mark.slow
def test_a_recipe_with_turns_gives_paired_ratios_and_goes_on_where_they_are_missing(
    run: Run, recipe: str, tmp_path: Path
) -> None:
    first = run(f"sweep {recipe} --out out --format json")
    (path,) = (tmp_path / "out").iterdir()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        line["measurement"]["ratio"] = None
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))

    resumed = run(f"sweep {recipe} --out out --resume")
    again = run(f"sweep {recipe} --out out --resume --format json")

    assert first.code == resumed.code == again.code == 0, resumed.err
    for ended in (first, again):
        vit, atlas = json.loads(ended.out)
        assert 0 < vit["relative_low"] <= vit["relative_time"] <= vit["relative_high"]
        assert (vit["relative_to"], atlas["relative_time"], atlas["relative_to"]) == ("atlas_ti", None, None)
        assert vit["note"] is None or "no relative time" not in vit["note"]
    assert "2 workloads on cpu, 1 measured before, 1 left" in resumed.err
    assert "2 workloads on cpu, 2 measured before, 0 left" in again.err
    text = " ".join(resumed.out.split())
    assert "Relative time" in text
    assert "over that of atlas_ti, measured in turns" in text


@pytest.mark.slow
def test_a_dry_run_counts_the_time_that_turns_take(run: Run, recipe: str, tmp_path: Path) -> None:
    def seconds() -> list[float]:
        ended = run(f"sweep {recipe} --dry-run --format markdown")
        assert ended.code == 0, ended.err
        rows = [line.split("|") for line in ended.out.splitlines() if line.startswith("|")]
        column = [cell.strip() for cell in rows[0]].index("About s")
        return [float(row[column]) for row in rows[2:]]

    with_turns = seconds()
    (tmp_path / recipe).write_text(RECIPE.replace("turns = true", "turns = false"))
    vit, atlas = seconds()

    assert with_turns[0] >= vit + 12  # six launches
    assert with_turns[1] == pytest.approx(atlas, abs=1)


def test_counting_takes_no_turns(run: Run, recipe: str) -> None:
    ended = run(f"sweep {recipe} --device meta --no-save --format json")

    assert ended.code == 0, ended.err
    assert {row["relative_time"] for row in json.loads(ended.out)} == {None}


def test_a_baseline_that_compares_nothing_is_refused_before_anything_is_measured(
    run: Run, recipe: str, tmp_path: Path
) -> None:
    (tmp_path / recipe).write_text(RECIPE + 'scale_drops = ["none", "2-10"]')

    ended = run(f"sweep {recipe} --res 512")

    assert ended.error == (
        "atlas_ti runs with several scale drops at 512 px, and a baseline needs one: give one, or, in a recipe, an "
        "entry and a label of its own to one of them."
    )
    assert ended.code == 2
    assert not (tmp_path / "results").exists()
