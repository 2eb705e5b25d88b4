from __future__ import annotations

import pytest

from atlasbench.report.layout import Column, TextTable, cut_columns, render_markdown, render_text, wrap_words

LONG = "vit_base_patch16_siglip_gap_512.v2_webli"


def table(*columns: Column, **fields: object) -> TextTable:
    return TextTable(title="title", columns=columns, **fields)  # type: ignore[arg-type]


def identity(title: str, *cells: str) -> Column:
    return Column(title=title, cells=cells, is_identity=True, is_text=title == "Model")


def numbers(count: int, rows: int = 2) -> list[Column]:
    return [Column(title=f"N{index}", cells=[f"{index}23456.{row}" for row in range(rows)]) for index in range(count)]


def test_what_fits_is_one_block() -> None:
    text = render_text(table(identity("Model", "a", "bb"), Column(title="N", cells=["1.5", "10"])), 80)

    assert text.splitlines() == ["title", "Model    N", "──────────", "a      1.5", "bb      10"]


@pytest.mark.parametrize("width", [40, 60, 80, 100])
def test_no_line_is_wider_than_the_page_and_no_number_is_broken(width: int) -> None:
    columns = [identity("Model", LONG, "atlas_s"), identity("px", "768x1536", "16384"), *numbers(9)]

    text = render_text(table(*columns, footnotes=["A long remark about many things. " * 5]), width)

    assert max(map(len, text.splitlines())) <= width
    for column in columns[1:]:
        for cell in column.cells:
            assert cell in text.split()


def test_every_block_says_which_row_is_which() -> None:
    columns = [identity("Model", "a", "b"), identity("px", "64", "128"), *numbers(12)]

    blocks = cut_columns(columns, 60)

    assert len(blocks) > 1
    assert all([column.title for column in block[:2]] == ["Model", "px"] for block in blocks)
    assert [column.title for block in blocks for column in block[2:]] == [f"N{index}" for index in range(12)]


def test_rows_get_numbers_when_their_names_leave_no_room() -> None:
    names = [identity("Model", LONG, "b"), *(identity(title, "pure-bfloat16", "x") for title in ("px", "D", "Dtype"))]

    blocks = cut_columns([*names, *numbers(4)], 60)

    assert all(block[0].title == "#" for block in blocks)
    assert [column.title for block in blocks for column in block if column.title != "#"] == [
        "Model",
        "px",
        "D",
        "Dtype",
        "N0",
        "N1",
        "N2",
        "N3",
    ]
    assert max(map(len, render_text(table(*names, *numbers(4)), 60).splitlines())) <= 60


def test_words_give_way_before_a_table_is_cut() -> None:
    columns = [
        identity("Model", "a"),
        Column(title="What", cells=["many short words " * 5], is_text=True),
        *numbers(2, 1),
    ]

    (block,) = cut_columns(columns, 60)

    assert [column.title for column in block] == ["Model", "What", "N0", "N1"]


def test_a_long_name_is_folded_at_its_joints_and_stays_whole() -> None:
    text = render_text(table(identity("Model", LONG), *numbers(4, 1)), 60)

    folded = [line.split()[0] for line in text.splitlines()[3:]]
    assert "".join(folded) == LONG
    assert all(part.endswith(("_", ".")) for part in folded[:-1])


def test_remarks_are_wrapped_between_words_and_indented() -> None:
    assert wrap_words("one two three four five", 20, indent="  ").splitlines() == ["one two three four", "  five"]


def test_markdown_is_one_table_with_escaped_bars() -> None:
    markdown = render_markdown(table(identity("Model", "a|b"), *numbers(1, 1), footnotes=["note"]))

    assert markdown.splitlines() == [
        "**title**",
        "",
        "| Model | N0 |",
        "|:---|---:|",
        "| a\\|b | 023456.0 |",
        "",
        "note",
    ]
