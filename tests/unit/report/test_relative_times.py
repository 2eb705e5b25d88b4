from __future__ import annotations

from dataclasses import replace
from typing import Any

from hand_made import make_measurement, make_ratio, make_record, make_workload

from atlasbench.analysis.reproduced_row import ReproducedRow
from atlasbench.analysis.reproduction import Reproduction
from atlasbench.core.record import Record
from atlasbench.core.resolution import parse_resolution
from atlasbench.report.profile_table import build_profile_table
from atlasbench.report.reproduction_table import build_reproduction_table


def paired(model: str = "vit_b", baseline: Any = None, **fields: Any) -> Record:
    ratio = make_ratio(**({} if baseline is None else {"baseline": baseline}))
    return make_record(model, measurement=make_measurement(ratio=ratio), **fields)


def test_relative_times_have_a_column_with_their_intervals() -> None:
    table = build_profile_table([paired(), make_record("atlas_b", scale_drop="2-10")])

    (column,) = (item for item in table.columns if item.title == "Relative time")
    assert column.cells == ["1.50 (1.40 to 1.60)", "-"]


def test_without_relative_times_there_is_no_column_and_no_word_of_them() -> None:
    table = build_profile_table([make_record("vit_b"), make_record("atlas_b", scale_drop="2-10")])

    assert "Relative time" not in {item.title for item in table.columns}
    assert "Relative" not in table.footnotes[0]


def test_what_times_are_relative_to_is_said_once() -> None:
    table = build_profile_table([paired("vit_b"), paired("swin_b"), make_record("atlas_b", scale_drop="2-10")])

    assert table.footnotes[0].endswith(
        ". Relative time: per image, over that of atlas_b, measured in turns, by the median pair, with an exact "
        "interval of at least 95 %."
    )


def test_a_baseline_of_the_same_model_is_named_with_what_makes_it_another() -> None:
    baseline = make_workload("atlas_s", scale_drop="2-10", options={"patch_size": 8})

    table = build_profile_table([paired("atlas_s", baseline, scale_drop="none", options={"patch_size": 8})])

    assert "over that of atlas_s, D 2-10, patch_size=8, measured in turns" in table.footnotes[0]


def reproduce(*is_paired: bool) -> str:
    row = ReproducedRow(
        label="Atlas-B",
        model="atlas_b",
        resolution=parse_resolution(1024),
        paper=1.0,
        ours=1.0,
        low=1.0,
        high=1.0,
        flops_ratio=1.0,
        remark="baseline",
    )
    others = (replace(row, label=f"row {number}", is_paired=paired) for number, paired in enumerate(is_paired))
    unmeasured = replace(row, label="Swin-B", ours=None, low=None, high=None)
    reproduction = Reproduction(
        table="Table 1",
        title="Table 1, base models",
        baseline="Atlas-B",
        machine="Some CPU, 2 threads",
        rows=(*others, unmeasured, row),
        sentences=("One sentence.",),
    )
    return build_reproduction_table(reproduction).footnotes[0].partition("from the paper. ")[2]


def test_a_papers_table_says_which_of_our_numbers_were_measured_in_turns() -> None:
    assert reproduce(False, False) == (
        "Ours: time per image, measured, with an interval from both medians' intervals. FLOPs: per image, counted."
    )
    assert reproduce(True, True) == (
        "Ours: time per image, measured in turns with Atlas-B, with an exact interval. FLOPs: per image, counted."
    )
    assert reproduce(True, False) == (
        "Ours: time per image, measured in turns with Atlas-B, with an exact interval where the remark says so; "
        "elsewhere a quotient of medians, with an interval from both medians' intervals. FLOPs: per image, counted."
    )
