from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hand_made import ENVIRONMENT, failed, make_counts, make_measurement, make_plan, make_record, make_workload, timed

from atlasbench.core.record import Memory, Record, Status
from atlasbench.core.workload import AttentionBackend, Dtype, MemoryFormat, Mode
from atlasbench.report.layout import render_markdown, render_text
from atlasbench.report.profile_table import build_plan_table, build_profile_table

LONG = "vit_base_patch16_siglip_gap_512.v2_webli"


def cell(records: list[Record], title: str, row: int = 0) -> str:
    (column,) = [column for column in build_profile_table(records).columns if column.title == title]
    return column.cells[row]


def titles(records: list[Record]) -> list[str]:
    return [column.title for column in build_profile_table(records).columns]


def test_a_measured_row_has_counts_memory_and_speed_with_its_interval() -> None:
    records = [make_record(batch_size=8)]

    assert titles(records) == ["px", "Params", "GMACs", "GFLOPs", "Memory", "Images/s", "95 % interval"]
    assert [column.cells[0] for column in build_profile_table(records).columns] == [
        "1024",
        "31.1 M",
        "1.00",
        "2.00",
        "412 MB",
        "16.0",
        "15.7 to 16.3",
    ]


def test_what_rows_share_stands_in_the_title_and_what_differs_in_columns() -> None:
    records = [
        make_record("atlas_s", 64, scale_drop="12", dtype=Dtype.BFLOAT16),
        make_record("atlas_s", 64, scale_drop="none", dtype=Dtype.BFLOAT16, mode=Mode.TRAIN),
    ]

    assert build_profile_table(records).title == "atlas_s, batch 1, bfloat16, on cpu"
    assert titles(records)[:3] == ["px", "D", "Mode"]


@pytest.mark.parametrize(
    ("fields", "phrase"),
    [
        ({"compiled": True}, "compiled"),
        ({"memory_format": MemoryFormat.CHANNELS_LAST}, "channels_last"),
        ({"attention_backend": AttentionBackend.MATH}, "math attention"),
        ({"device": "cuda:1"}, "on cuda:1"),
    ],
)
def test_whatever_is_unusual_is_said(fields: dict[str, object], phrase: str) -> None:
    assert phrase in build_profile_table([make_record(**fields)]).title.split(", ")
    assert phrase.split()[0] in "".join(
        cell for column in build_profile_table([make_record(), make_record(**fields)]).columns for cell in column.cells
    ) or phrase.startswith("on ")


def test_a_table_says_what_is_counted_predicted_and_measured() -> None:
    predicted = make_record(
        measurement=make_measurement(timing=None, memory=Memory(peak_bytes=5, method="predicted"), notes=())
    )

    assert build_profile_table([make_record()]).footnotes[0] == (
        "Params, MACs and FLOPs (2 per MAC): counted, per image. Memory: peak, whole batch, measured, parameters and "
        "growth of the resident set. Images/s: measured, batch / median, with an interval of at least 95 %."
    )
    assert build_profile_table([predicted]).footnotes[0] == (
        "Params, MACs and FLOPs (2 per MAC): counted, per image. Memory: peak, whole batch, predicted from shapes."
    )


def test_training_says_that_it_counts_the_backward_pass() -> None:
    assert "in mode train forward and backward" in build_profile_table([make_record(mode=Mode.TRAIN)]).footnotes[0]


def test_a_remark_names_the_row_by_what_tells_it_from_the_others() -> None:
    note = make_measurement(notes=("window padded",))
    plain = make_measurement(notes=())
    records = [
        make_record("swin_b", 64, measurement=plain),
        make_record("swin_b", 64, mode=Mode.TRAIN, batch_size=8, measurement=note),
        make_record("swin_b", 128, measurement=note),
    ]

    assert "swin_b" not in (remark := build_profile_table(records).footnotes[1])
    assert remark == "64 px batch 8 train, 128 px batch 1 infer: window padded"


def test_a_remark_on_all_rows_of_one_kind_names_the_kind() -> None:
    plain = make_measurement(notes=())
    records = [
        make_record(model, size, mode=mode, measurement=make_measurement() if model == "swin_b" else plain)
        for model in ("swin_b", "vit_b")
        for size in (64, 128)
        for mode in Mode
    ]

    assert build_profile_table(records).footnotes[1] == "swin_b: padded to 1024 px"


def test_a_remark_on_all_rows_is_made_once() -> None:
    assert "all rows: padded to 1024 px" in build_profile_table([make_record("a"), make_record("b")]).footnotes


def test_a_remark_on_a_single_row_needs_no_name() -> None:
    assert build_profile_table([make_record()]).footnotes[1] == "Padded to 1024 px"


@pytest.mark.parametrize("status", [Status.OOM, Status.UNSUPPORTED, Status.ERROR, Status.TIMEOUT])
def test_a_workload_that_failed_has_a_status_and_a_reason(status: Status) -> None:
    records = [make_record("vit_b"), make_record("vit_s", measurement=failed(status, "the reason", counts=None))]

    assert cell(records, "Status", 0) == "ok"
    assert cell(records, "Status", 1) == status.value
    assert [cell(records, title, 1) for title in ("Params", "GFLOPs", "Memory", "Images/s", "95 % interval")] == [
        "-"
    ] * 5
    assert f"vit_s: {status.value}: the reason" in build_profile_table(records).footnotes


def test_a_time_that_did_not_converge_is_marked_and_explained() -> None:
    shaky = timed(0.5, flags=("not_converged", "drifting"))
    records = [make_record("vit_b", measurement=timed(0.5)), make_record("vit_s", measurement=shaky)]

    assert not cell(records, "95 % interval", 0).rstrip().endswith("*")
    assert cell(records, "95 % interval", 1).endswith(" *")
    assert (
        "vit_s: marked *, interval wider than asked for, drifting while measured (40 samples)"
        in build_profile_table(records).footnotes
    )


def test_a_flag_that_does_not_shake_the_result_is_told_without_a_mark() -> None:
    records = [make_record(measurement=timed(0.5, flags=("throttled",)))]

    assert "*" not in cell(records, "95 % interval")
    assert "Clocks held down while measured (40 samples)" in build_profile_table(records).footnotes


def test_an_unknown_peak_is_a_dash_with_its_reason() -> None:
    memory = Memory(peak_bytes=None, method="resident_growth", note="growth below the output's size")
    records = [make_record(measurement=make_measurement(memory=memory, notes=()))]

    assert cell(records, "Memory") == "-"
    assert "Peak memory: growth below the output's size" in build_profile_table(records).footnotes


def test_the_environment_stands_below_the_table() -> None:
    assert build_profile_table([make_record()]).footnotes[-1] == (
        "Environment: Some CPU, 2 threads, torch 2.11.0, timm 1.0.20, atlasbench 0.1.0."
    )
    on_gpu = replace(ENVIRONMENT, device="NVIDIA H200", driver="570.1", threads=1)
    assert (
        build_profile_table([make_record(environment=on_gpu)])
        .footnotes[-1]
        .startswith("Environment: NVIDIA H200, driver 570.1, 1 thread, torch")
    )


def awkward_records() -> list[Record]:
    huge = make_measurement(counts=make_counts(123_456_789_012_345_678), memory=Memory(peak_bytes=10**14, method="x"))
    fields = [
        {"batch_size": batch, "mode": mode, "dtype": dtype}
        for batch in (1, 1024)
        for mode in Mode
        for dtype in (Dtype.FLOAT32, Dtype.PURE_BFLOAT16)
    ]
    statuses = [failed(status, "a reason of several words " * 4, counts=None) for status in Status]
    return [
        *(make_record(LONG, "768x1536", scale_drop="2-2-2-6", measurement=huge, **field) for field in fields),
        *(make_record("atlas_s", 65536, measurement=measurement) for measurement in statuses),
        make_record("vit_b", 16, measurement=timed(1e-5, flags=("few_samples",))),
    ]


@pytest.mark.parametrize("width", [60, 80, 100])
def test_awkward_records_fit_the_page_without_breaking_a_number(width: int) -> None:
    table = build_profile_table(awkward_records())

    text = render_text(table, width)

    assert max(map(len, text.splitlines())) <= width
    shown = re.sub(r" +", " ", text)
    for column in table.columns:
        if not column.is_text:
            for value in column.cells:
                assert value.strip() in shown


def test_markdown_has_a_line_for_every_record() -> None:
    records = awkward_records()

    markdown = render_markdown(build_profile_table(records))

    assert len([line for line in markdown.splitlines() if line.startswith("|")]) == len(records) + 2


def test_a_plan_is_listed_with_its_counts_predicted_memory_and_time() -> None:
    workloads = [make_workload("a"), make_workload("b"), make_workload("c")]
    plans = [
        make_plan(workloads[0]),
        failed(Status.UNSUPPORTED, "no", counts=None),
        make_plan(workloads[2], counts=None),
    ]

    table = build_plan_table(workloads, plans, [12.4, 0.0, 0.3], ENVIRONMENT)

    cells = {column.title: list(column.cells) for column in table.columns}
    assert cells["Memory"] == ["205 MB", "-", "-"]
    assert cells["About s"] == ["12", "-", "1"]
    assert "b: unsupported: no" in table.footnotes
    assert "Nothing was measured." in table.footnotes[0]


def test_a_plan_says_what_cannot_fit_the_device() -> None:
    plan = make_plan(counts=make_counts(predicted_peak_bytes=10**12), notes=())

    table = build_plan_table([plan.workload], [plan], [1.0], ENVIRONMENT)

    assert "Does not fit the 24.0 GB of this device: oom, unless --force tries it" in table.footnotes
