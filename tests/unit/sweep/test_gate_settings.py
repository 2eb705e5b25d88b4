from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from atlasbench.analysis.gate.verdicts import CountedChange, GateResult, GateVerdict, NewWorkload, WorkloadVerdict
from atlasbench.core.errors import InvalidOptionError
from atlasbench.sweep.gate_settings import GateSettings, check_budgets, load_gate_settings, read_tolerance

FULL = """
[gate]
tolerance = "5%"
max_time_s = 600
counted = { params = 0.01, predicted_peak_bytes = 0.05 }
[gate.budgets.vit_b]
params = 90_000_000
"""


@pytest.mark.parametrize(("text", "value"), [("3%", 0.03), ("0.03", 0.03), (" 2.5 % ", 0.025), (0.1, 0.1)])
def test_a_tolerance_is_a_percentage_or_a_fraction(text: str | float, value: float) -> None:
    assert read_tolerance(text, "--tolerance") == pytest.approx(value)


@pytest.mark.parametrize("text", ["3", "0", "0%", "100%", "-1%", "nan", "x", "", True])
def test_other_tolerances_are_refused(text: str) -> None:
    with pytest.raises(InvalidOptionError) as caught:
        read_tolerance(text, "--tolerance")

    assert str(caught.value) == f"--tolerance: a tolerance is written 3% or 0.03, over 0 and below 100 %, got {text!r}."


def test_a_recipe_says_what_its_gate_allows(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text(FULL)

    assert load_gate_settings(tmp_path / "recipe.toml") == GateSettings(
        tolerance=0.05,
        max_time_s=600,
        counted={"params": 0.01, "predicted_peak_bytes": 0.05},
        budgets={"vit_b": {"params": 90_000_000}},
    )


def test_pyproject_is_found_from_a_folder_below_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.atlasbench.gate]\ntolerance = 0.04\n")
    (tmp_path / "a" / "b").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "a" / "b")

    assert load_gate_settings(None) == GateSettings(tolerance=0.04)


def test_a_pyproject_or_recipe_without_a_gate_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'x'\n")
    monkeypatch.chdir(tmp_path)

    assert load_gate_settings(None) == load_gate_settings(tmp_path / "pyproject.toml") == GateSettings()
    (tmp_path / "pyproject.toml").write_text("tool = 3\n")
    assert load_gate_settings(None) == GateSettings()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[gate]\ntolerence = 0.03", "[gate]: there is no key 'tolerence'. Did you mean 'tolerance'?"),
        ("[gate]\nx = 1", "[gate]: there is no key 'x'. There are: tolerance, max_time_s, counted, budgets."),
        (
            "[gate]\ntolerance = 3",
            "[gate] tolerance: a tolerance is written 3% or 0.03, over 0 and below 100 %, got 3.",
        ),
        ("[gate]\nmax_time_s = 0", "[gate] max_time_s must be a number of seconds, more than 0, got 0."),
        ("[gate]\nmax_time_s = '1h'", "[gate] max_time_s must be a number of seconds, more than 0, got '1h'."),
        (
            "[gate]\ncounted = { flop = 0 }",
            "[gate] counted: there is no key 'flop'. Did you mean 'flops'?",
        ),
        ("[gate]\ncounted = { flops = -1 }", "[gate] counted.flops must be a number of at least 0, got -1."),
        ("[gate]\nbudgets = 3", "[gate] budgets must be a table for each model, got 3."),
        ("[gate.budgets]\nvit_b = 3", "[gate] budgets.vit_b must be a table, got 3."),
        ("gate = 3", "[gate] must be a table, got 3."),
    ],
)
def test_a_mistake_is_named_with_its_file_and_key(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(text)

    with pytest.raises(InvalidOptionError) as caught:
        load_gate_settings(path)

    assert str(caught.value) == f"{path}: {message}"


def test_a_misspelled_table_of_pyproject_is_no_table_that_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.atlasbench]\ngates.tolerance = 0.05\n")
    monkeypatch.chdir(tmp_path)

    with pytest.raises(
        InvalidOptionError, match=r"\[tool\.atlasbench\]: there is no key 'gates'\. Did you mean 'gate'\?"
    ):
        load_gate_settings(None)


def test_a_recipe_that_is_not_there_or_no_toml_is_said(tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text("a = = b")

    with pytest.raises(InvalidOptionError, match=r"none\.toml: there is no such recipe\. "):
        load_gate_settings(tmp_path / "none.toml")
    with pytest.raises(InvalidOptionError, match=r"bad\.toml: is not TOML: "):
        load_gate_settings(tmp_path / "bad.toml")


def counted_alike(label: str, params: int) -> WorkloadVerdict:
    """A workload of vit_b with so many parameters on both sides."""
    same = CountedChange(name="params", base=params, current=params, tolerance=0, is_worse=False)
    return WorkloadVerdict(
        label=label,
        model="vit_b",
        verdict=GateVerdict.SAME,
        method="counted",
        counted=(same,),
        counts={"params": params},
    )


@pytest.mark.parametrize(("most", "is_worse"), [(1000, False), (999, True)])
def test_a_budget_is_exceeded_by_more_than_it_whatever_the_base_needed(most: float, is_worse: bool) -> None:
    item = counted_alike("vit_b, 1024 px, batch 1", 1000)
    (params,) = item.counted

    (found,) = check_budgets(GateResult(workloads=(item,)), {"vit_b": {"params": most}}).workloads

    budget = CountedChange(name="params (budget)", base=most, current=1000, tolerance=0, is_worse=is_worse)
    assert found.counted == (params, budget)
    assert found.is_worse is is_worse


def test_a_budget_that_nothing_was_compared_with_is_said() -> None:
    item = counted_alike("vit_b, 64 px", 1000)

    found = check_budgets(
        GateResult(workloads=(item,)), {"vit_s": {"params": 1}, "vit_b": {"flops": 1, "params": 1000}}
    )

    assert [change.name for change in found.workloads[0].counted] == ["params", "params (budget)"]
    assert found.gaps == ("vit_b, 64 px: flops, of which there is a budget",)
    assert found.is_bad(strict=True)
    assert found.notes == ("Budgets of models that are not here: vit_s.",)


def test_budgets_of_models_that_are_not_here_fail_nothing() -> None:
    item = counted_alike("vit_b, 64 px", 1)
    budgets = {"vit_s": {"params": 1}, "vit_b": {"params": 1, "peak_allocated_bytes": 1}}

    assert not check_budgets(GateResult(workloads=(item,)), budgets).is_bad(strict=True)


def test_a_workload_of_a_model_is_not_hidden_by_another_one() -> None:
    small = counted_alike("small", 1)
    large = replace(small, label="large", counted=(), counts={"params": 10})

    found = check_budgets(GateResult(workloads=(small, large)), {"vit_b": {"params": 5}})

    assert [item.is_worse for item in found.workloads] == [False, True]


@pytest.mark.parametrize(("most", "is_worse"), [(1000, False), (999, True)])
def test_a_budget_holds_for_new_workloads_too(most: float, is_worse: bool) -> None:
    new = NewWorkload(label="vit_b, 2048 px", model="vit_b", counts={"params": 1000})

    found = check_budgets(GateResult(workloads=(), only_current=(new,)), {"vit_b": {"params": most}})

    assert found.is_bad() is is_worse
    assert [item.label for item in found.workloads] == (["vit_b, 2048 px"] if is_worse else [])
    assert found.only_current == (() if is_worse else (new,))
    assert not found.gaps
