from __future__ import annotations

import pytest
from hand_made import make_plan

from atlasbench.core.plan import SecondOpinion
from atlasbench.core.resolution import Resolution
from atlasbench.report.module_table import build_module_table, module_rows


@pytest.mark.parametrize(
    ("depth", "modules"),
    [
        (0, ["(model)"]),
        (1, ["(model)", "  stem", "  blocks"]),
        (2, ["(model)", "  stem", "  blocks", "    blocks.2", "    blocks.10"]),
        (
            9,
            [
                "(model)",
                "  stem",
                "  blocks",
                "    blocks.2",
                "      blocks.2.attn",
                "    blocks.10",
                "      blocks.10.attn",
            ],
        ),
    ],
)
def test_modules_are_shown_down_to_a_depth_in_the_models_order(depth: int, modules: list[str]) -> None:
    assert list(build_module_table(make_plan(), depth).columns[0].cells) == modules


def test_what_lies_deeper_is_added_to_its_ancestor() -> None:
    table = build_module_table(make_plan(), 1)

    cells = {column.title: list(column.cells) for column in table.columns}
    assert cells["GMACs"] == ["1.00", "0.5", "0.5"]
    assert cells["Params"] == ["30.1 M", "30.0 M", "126 k"]
    assert cells["Share"] == ["100.0%", "50.0%", "50.0%"]


def test_rows_for_programs_hold_each_module_once_and_sum_to_the_model() -> None:
    rows = list(module_rows(make_plan()))

    assert [row["module"] for row in rows] == ["", "stem", "blocks.2.attn", "blocks.10.attn"]
    assert sum(row["macs"] for row in rows) == 1_000_000_000  # type: ignore[misc]
    assert all(row["flops"] == 2 * row["macs"] for row in rows)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("opinion", "footnote"),
    [
        (
            SecondOpinion(resolution=Resolution(64, 64), macs=1234, fvcore_macs=1234),
            "Second opinion: fvcore counts the same 1,234 MACs at 64 px, infer.",
        ),
        (
            SecondOpinion(resolution=Resolution(64, 64), macs=1234, fvcore_macs=1200),
            "Second opinion: fvcore counts 1,200 MACs at 64 px, infer, this counter 1,234: "
            "trust neither before you know why.",
        ),
        ("it takes no small size", "Second opinion: none by fvcore, it takes no small size"),
    ],
)
def test_the_second_opinion_stands_below(opinion: SecondOpinion | str, footnote: str) -> None:
    assert list(build_module_table(make_plan(), 1, opinion).footnotes) == [footnote]
