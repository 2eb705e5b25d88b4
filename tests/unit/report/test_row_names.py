from __future__ import annotations

from atlasbench.report.layout import Column, TextTable
from atlasbench.report.row_names import name_rows


def table(models: list[str]) -> TextTable:
    columns = [
        Column(title="Model", cells=models, is_identity=True),
        Column(title="px", cells=["64"] * len(models), is_identity=True),
        Column(title="Options", cells=["-"] * len(models), is_identity=True),
        Column(title="GFLOPs", cells=["1"] * len(models)),
    ]
    return TextTable(title="batch 1", columns=columns, footnotes=["note"])


def test_names_stand_in_place_of_model_and_options() -> None:
    named = name_rows(table(["a", "a"]), "Mine", ["stack", "conv", "of a row that is not there yet"])

    assert named.title == "Mine. batch 1"
    assert [column.title for column in named.columns] == ["Row", "px", "GFLOPs"]
    assert named.columns[0].cells == ["stack", "conv"]
    assert named.footnotes == ["note"]


def test_names_that_say_no_more_than_the_models_change_nothing() -> None:
    plain = table(["a", "b"])

    assert name_rows(plain, "", ["a", "b"]) == plain


def test_one_name_for_all_rows_tells_none_apart() -> None:
    plain = table(["a", "a"])

    assert name_rows(plain, "", ["x", "x"]).columns == plain.columns
