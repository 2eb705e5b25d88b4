from __future__ import annotations

from pathlib import Path

import pytest

from atlasbench.core.errors import InvalidWorkloadError
from atlasbench.recipes import load_recipe
from atlasbench.sweep.turns import find_baselines

SHORTEST = 'models = ["vit_b", "atlas_b"]\nresolutions = 1024\n'
LABELLED = """
resolutions = 512
[[models]]
name = "atlas_s"
label = "stack"
[[models]]
name = "atlas_s"
label = "drop"
"""


def load(folder: Path, text: str) -> str:
    path = folder / "mine.toml"
    path.write_text(text)
    return load_recipe(path).baseline


@pytest.mark.parametrize(
    ("text", "baseline"),
    [
        (SHORTEST, ""),
        (f'{SHORTEST}turns = true\nbaseline = "atlas_b"', "atlas_b"),
        (f'{SHORTEST}turns = false\nbaseline = "atlas_b"', ""),
        (f"{SHORTEST}turns = false", ""),
        (f'turns = true\nbaseline = "drop"\n{LABELLED}', "drop"),
    ],
)
def test_models_take_turns_with_the_baseline_that_a_recipe_names(tmp_path: Path, text: str, baseline: str) -> None:
    assert load(tmp_path, text) == baseline


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            f"{SHORTEST}turns = true",
            'turns: models take turns with a baseline: name it, e.g. baseline = "atlas_b".',
        ),
        (
            f'{SHORTEST}baseline = "atlas_b"',
            "baseline: it is what models take turns with: write turns = true, too.",
        ),
        (
            f'{SHORTEST}turns = true\nbaseline = "atlas_s"',
            "baseline: 'atlas_s' is none of the models. There are: vit_b, atlas_b.",
        ),
        (
            f'turns = true\nbaseline = "narrow"\n{LABELLED}',
            "baseline: 'narrow' is none of the models. There are: stack, drop.",
        ),
        (
            f'turns = true\nbaseline = "atlas_s"\n{LABELLED}',
            "baseline: 2 models are called 'atlas_s': give the one a label.",
        ),
        (f"{SHORTEST}turns = 3", "turns: must be true or false, got 3."),
        (f"{SHORTEST}turns = true\nbaseline = 1", "baseline: must be one line of text in quotes, got 1."),
    ],
)
def test_a_wrong_baseline_is_one_line_with_its_file_and_key(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InvalidWorkloadError) as caught:
        load(tmp_path, text)

    assert str(caught.value) == f"{tmp_path / 'mine.toml'}: {message}"


def test_tables_of_relative_times_are_measured_in_turns_with_their_baseline() -> None:
    folder = Path(__file__).parents[2] / "recipes"
    recipes = {path.stem: load_recipe(path) for path in folder.glob("table*.toml")}

    with_turns = {name: recipe for name, recipe in recipes.items() if recipe.baseline}

    assert set(with_turns) == {"table1", "table3", "table5", "table6"}
    for recipe in with_turns.values():
        sizes = len(recipe.request.resolutions) * len(recipe.request.modes)
        assert len(find_baselines(recipe.request, recipe.baseline)) == sizes
