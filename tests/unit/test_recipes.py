from __future__ import annotations

from pathlib import Path

import pytest

from atlasbench.core.errors import InvalidWorkloadError
from atlasbench.core.recipe import ModelChoice, SweepRequest
from atlasbench.core.resolution import Resolution
from atlasbench.core.workload import AttentionBackend, Dtype, MemoryFormat, Mode
from atlasbench.recipes import load_recipe
from atlasbench.sweep.grid import expand_request

RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("*.toml"))
SHORTEST = 'models = "vit_b"\nresolutions = 1024\n'


def write(folder: Path, text: str) -> Path:
    path = folder / "mine.toml"
    path.write_text(text)
    return path


def test_a_recipe_needs_only_models_and_resolutions(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path, SHORTEST))

    assert (recipe.title, recipe.quick, recipe.timing) == ("", False, {})
    assert recipe.request == SweepRequest(
        models=(ModelChoice(name="vit_b"),), resolutions=(Resolution(1024, 1024),), device="auto"
    )


def test_every_key_is_read(tmp_path: Path) -> None:
    text = """
        name = "all of it"
        title = "Everything"
        resolutions = [512, "768x1536", [64, 128]]
        batch_sizes = [1, 8]
        scale_drops = ["2-10", "None"]
        modes = ["train", "infer"]
        dtypes = "pure-bfloat16"
        device = "cuda:1"
        compiled = true
        memory_format = "channels_last"
        attention_backend = "flash"
        num_classes = 100
        options = { mlp_ratio = 2.5 }
        quick = true
        timing = { min_samples = 30 }

        [[models]]
        name = "atlas_s"
        label = "ours"
        options = { patch_size = 8, depths = [3, [4]], composition = "drop" }
        scale_drops = "2-2-8"
    """
    recipe = load_recipe(write(tmp_path, text))

    assert (recipe.title, recipe.quick, recipe.timing) == ("Everything", True, {"min_samples": 30})
    assert recipe.request == SweepRequest(
        models=(
            ModelChoice(
                name="atlas_s",
                label="ours",
                options={"patch_size": 8, "depths": [3, [4]], "composition": "drop"},
                scale_drops=("2-2-8",),
            ),
        ),
        resolutions=(Resolution(512, 512), Resolution(768, 1536), Resolution(64, 128)),
        batch_sizes=(1, 8),
        scale_drops=("2-10", "none"),
        modes=(Mode.TRAIN, Mode.INFER),
        dtypes=(Dtype.PURE_BFLOAT16,),
        device="cuda:1",
        compiled=True,
        memory_format=MemoryFormat.CHANNELS_LAST,
        attention_backend=AttentionBackend.FLASH,
        options={"mlp_ratio": 2.5, "num_classes": 100},
    )


def test_a_recipe_without_a_title_is_shown_by_its_name(tmp_path: Path) -> None:
    assert load_recipe(write(tmp_path, f"name = 'Mine'\n{SHORTEST}")).title == "Mine"


def test_models_are_names_or_tables_in_one_list(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path, 'models = ["vit_b", { name = "swin_b" }]\nresolutions = 64'))

    assert recipe.request.models == (ModelChoice(name="vit_b"), ModelChoice(name="swin_b"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('models = "vit_b"', "there is no key 'resolutions': a recipe needs it."),
        ("resolutions = 64", "there is no key 'models': a recipe needs it."),
        (f"{SHORTEST}mode = 'train'", "there is no key 'mode'. Did you mean 'modes'?"),
        (f"{SHORTEST}drop = '2-10'", "there is no key 'drop'. Did you mean 'scale_drops'?"),
        ("models = 'vit_b'\nres = 64", "there is no key 'res'. Did you mean 'resolutions'?"),
        (f"{SHORTEST}zzz = 1", "there is no key 'zzz'. There are: name, title, models, resolutions, batch_sizes, "),
        ("models = []\nresolutions = 64", "models: a recipe needs at least one."),
        ("models = [1]\nresolutions = 64", "models: entry 1: must be one line of text in quotes, got 1."),
        ("models = ['vit_b', '']\nresolutions = 64", "models: entry 2: must be one line of text in quotes, got ''."),
        (
            "resolutions = 64\n[[models]]\nlabel = 'x'",
            "models: entry 1: there is no key 'name': it names the model.",
        ),
        (
            "resolutions = 64\n[[models]]\nname = 'vit_b'\noption = {}",
            "models: entry 1: there is no key 'option'. Did you mean 'options'?",
        ),
        (
            "resolutions = 64\n[[models]]\nname = 'vit_b'\nmodes = 'train'",
            "models: entry 1: there is no key 'modes'. "
            "'modes' is a key of the whole recipe: write it above the models.",
        ),
        (
            "resolutions = 64\n[[models]]\nname = 'vit_b'\noptions = { depth = 2020-01-01 }",
            "models: entry 1: options: depth must be a number, text, true, false or a list of these, "
            "got datetime.date(2020, 1, 1).",
        ),
        (f"{SHORTEST}options = {{ a = [1, inf] }}", "options: a must be a number, text, true, false or a list"),
        (f"{SHORTEST}options = {{ a.b = 1 }}", "options: a must be a number, text, true, false or a list"),
        (f"{SHORTEST}options = 3", "options: must be a table, e.g. { patch_size = 8 }, got 3."),
        (
            f"{SHORTEST}num_classes = 10\noptions = {{ num_classes = 10 }}",
            "num_classes: is given twice, among the options, too.",
        ),
        ("models = 'vit_b'\nresolutions = ['big']", "resolutions: 'big' is not a resolution: write 1024 or 768x1536"),
        ("models = 'vit_b'\nresolutions = [1.5]", "resolutions: 1.5 is not a resolution: give a whole number or"),
        (f"{SHORTEST}batch_sizes = [0]", "batch_sizes: must be a whole number of at least 1, got 0."),
        (f"{SHORTEST}batch_sizes = true", "batch_sizes: must be a whole number of at least 1, got True."),
        (f"{SHORTEST}scale_drops = [2, 10]", 'scale_drops: 2 is not a scale drop: write "2-10" or "none", in quotes.'),
        (f"{SHORTEST}scale_drops = 'x'", "scale_drops: 'x' is not a scale drop: write blocks per stage, 2-10 or"),
        (f"{SHORTEST}modes = 'dream'", "modes: 'dream' is not one of infer, train."),
        (f"{SHORTEST}modes = [[1]]", "modes: [1] is not one of infer, train."),
        (f"{SHORTEST}compiled = 'yes'", "compiled: must be true or false, got 'yes'."),
        (f"{SHORTEST}memory_format = 'nhwc'", "memory_format: 'nhwc' is not one of contiguous, channels_last."),
        (f"{SHORTEST}timing = {{ zzz = 1 }}", "timing: there is no constant 'zzz'. There are: warmup_window, "),
        (f"{SHORTEST}title = '''a\nb'''", "title: must be one line of text in quotes, got 'a\\nb'."),
        (f"{SHORTEST}timing = {{ min_samples = 1{'0' * 400} }}", "timing: min_samples must be a whole number, got 100"),
        ("models = ", "is not TOML: Invalid value (at "),
        ("models = 'a'\nmodels = 'b'", "is not TOML: Cannot overwrite a value"),
    ],
)
def test_a_mistake_is_one_line_with_its_file_and_key(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path, text)

    with pytest.raises(InvalidWorkloadError) as caught:
        load_recipe(path)

    assert str(caught.value).startswith(f"{path}: {message}")
    assert "\n" not in str(caught.value)


def test_a_recipe_that_is_not_there_names_the_one_that_is_meant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipes").mkdir()
    for name in ("table1", "quick"):
        (tmp_path / "recipes" / f"{name}.toml").write_text(SHORTEST)

    def message(path: str) -> str:
        with pytest.raises(InvalidWorkloadError) as caught:
            load_recipe(Path(path))
        return str(caught.value)

    assert message("table1") == "table1: there is no such recipe. There is recipes/table1.toml."
    assert message("recipes/quik.toml") == "recipes/quik.toml: there is no such recipe. There is recipes/quick.toml."
    assert message("nowhere/x.toml") == (
        "nowhere/x.toml: there is no such recipe. There is recipes/quick.toml, recipes/table1.toml."
    )
    assert message("recipes") == "recipes: cannot be read: Is a directory."


def test_what_is_no_text_is_no_recipe(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(b"\xff\xfe")

    with pytest.raises(InvalidWorkloadError, match="is not TOML: 'utf-8' codec can't decode"):
        load_recipe(path)


def test_there_is_a_recipe_for_every_table_and_figure() -> None:
    tables = {f"table{number}" for number in range(1, 7)}

    assert {path.stem for path in RECIPES} >= {*tables, "figure1", "quick", "long_context"}


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_of_the_project_has_a_head_and_names_workloads(path: Path) -> None:
    head = "\n".join(line for line in path.read_text().splitlines() if line.startswith("#"))
    recipe = load_recipe(path)

    workloads = expand_request(recipe.request)

    assert recipe.title
    assert f"atlasbench sweep recipes/{path.name}" in head
    assert "# Cost: " in head
    assert "# Expect: " in head
    assert len(workloads) >= 2
    assert "infer" in recipe.request.modes
    assert ("train" in recipe.request.modes) == path.stem.startswith(("table", "figure"))


def test_the_table_of_a_gate_is_left_to_the_gate(tmp_path: Path) -> None:
    path = tmp_path / "nightly.toml"
    path.write_text('models = ["vit_ti"]\nresolutions = [64]\n[gate]\ntolerance = "5%"\n')
    assert load_recipe(path).request.resolutions == (Resolution(64, 64),)
