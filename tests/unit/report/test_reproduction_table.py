from __future__ import annotations

from typing import Any

from atlasbench.analysis.reproduced_row import ReproducedRow
from atlasbench.analysis.reproduction import Reproduction
from atlasbench.core.resolution import parse_resolution
from atlasbench.report.layout import render_text
from atlasbench.report.reproduction_table import build_reproduction_table


def row(label: str, resolution: int = 1024, **fields: Any) -> ReproducedRow:
    values: dict[str, Any] = {
        "model": label.lower(),
        "paper": 1.0,
        "ours": None,
        "low": None,
        "high": None,
        "flops_ratio": None,
        "remark": "",
    }
    return ReproducedRow(label=label, resolution=parse_resolution(resolution), **values | fields)


def reproduction(*rows: ReproducedRow) -> Reproduction:
    return Reproduction(
        table="Table 1",
        title="Table 1, base models. Ours: train, float32, batch 1",
        baseline="Atlas-B",
        machine="Some CPU, 2 threads",
        rows=rows,
        sentences=("One sentence.", "Another."),
    )


CONVNEXT = row("ConvNeXt-B", paper=4.3, ours=1.5, low=1.44, high=1.56, flops_ratio=0.817)
ATLAS = row("Atlas-B", ours=1.0, low=1.0, high=1.0, flops_ratio=1.0, remark="baseline")
MISSING = row("Swin-B", paper=1.6, remark="not measured")


def test_the_table_fits_a_page_and_shows_every_number_beside_the_papers() -> None:
    text = render_text(build_reproduction_table(reproduction(CONVNEXT, MISSING, ATLAS)), 80)

    lines = text.splitlines()
    assert lines[:7] == [
        "Table 1, base models. Ours: train, float32, batch 1, on Some CPU, 2 threads",
        "Row         Paper  Ours  95 % interval  FLOPs  Remark",
        "───────────────────────────────────────────────────────────",
        "ConvNeXt-B    4.3  1.50   1.44 to 1.56  0.817  -",
        "Swin-B        1.6     -              -      -  not measured",
        "Atlas-B         1  1.00              -   1.00  baseline",
        "",
    ]
    assert lines[-2:] == ["One sentence.", "Another."]
    assert max(map(len, lines)) <= 80


def test_the_kind_of_every_number_is_named() -> None:
    table = build_reproduction_table(reproduction(CONVNEXT, ATLAS))

    assert table.footnotes[0] == (
        "All relative to Atlas-B. Paper: training time, from the paper. Ours: time per image, measured, with an "
        "interval from both medians' intervals. FLOPs: per image, counted."
    )


def test_sizes_are_shown_where_there_are_several() -> None:
    table = build_reproduction_table(reproduction(ATLAS, row("Atlas-B", 2048)))

    assert [column.title for column in table.columns][:3] == ["Row", "px", "Paper"]
    assert table.columns[1].cells == ["1024", "2048"]
    assert table.footnotes[0].startswith("All relative to Atlas-B at the same size. ")
