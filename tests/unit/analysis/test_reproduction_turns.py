from __future__ import annotations

from dataclasses import replace
from typing import Any

from hand_made import ENVIRONMENT, failed, make_ratio, make_record, make_workload, timed

from atlasbench.analysis.reproduced_row import ReproducedRow
from atlasbench.analysis.reproduction import compare_with_paper
from atlasbench.core.record import Record, Status
from atlasbench.core.workload import Mode

TRAIN: dict[str, Any] = {"mode": Mode.TRAIN}


def ran(model: str, latency_s: float, *, baseline: Any = None, size: int = 1024, **fields: Any) -> Record:
    measurement = timed(latency_s, **fields.pop("timing", {}))
    if baseline is not None:
        measurement = replace(measurement, ratio=make_ratio(baseline=baseline))
    return make_record(model, size, measurement=measurement, **{**TRAIN, **fields})


def rows_of(table: str, *records: Record) -> dict[str, ReproducedRow]:
    (found,) = (item for item in compare_with_paper(records) if item.table == table)
    return {row.label: row for row in found.rows}


ATLAS = make_workload("atlas_b", scale_drop="2-10", options={"num_classes": 100}, **TRAIN)


def test_a_ratio_that_was_measured_in_turns_with_the_baseline_wins_over_the_quotient() -> None:
    records = [ran("atlas_b", 1.0, scale_drop="2-10"), ran("vit_b", 9.0, baseline=ATLAS), ran("swin_b", 2.0)]

    rows = rows_of("Table 1", *records)

    assert (rows["ViT-B"].ours, rows["ViT-B"].low, rows["ViT-B"].high) == (1.5, 1.4, 1.6)
    assert (rows["ViT-B"].is_paired, rows["ViT-B"].remark) == (True, "in turns")
    assert (rows["Swin-B"].ours, rows["Swin-B"].is_paired, rows["Swin-B"].remark) == (2.0, False, "")
    assert (rows["Atlas-B"].ours, rows["Atlas-B"].is_paired) == (1.0, False)


def test_a_ratio_to_something_else_is_not_the_tables() -> None:
    others = [
        make_workload("swin_b", **TRAIN),
        replace(ATLAS, scale_drop="none"),
        replace(ATLAS, options={"patch_size": 8}),
    ]

    for other in others:
        rows = rows_of("Table 1", ran("atlas_b", 1.0), ran("vit_b", 9.0, baseline=other))
        assert (rows["ViT-B"].ours, rows["ViT-B"].is_paired) == (9.0, False)


def test_a_ratio_needs_neither_the_times_of_this_run_nor_settled_ones() -> None:
    unsettled = {"flags": ("drifting",)}
    elsewhere = replace(ENVIRONMENT, machine="other")

    alone = rows_of("Table 1", ran("vit_b", 9.0, baseline=ATLAS, timing=unsettled))
    other_run = rows_of(
        "Table 1", ran("atlas_b", 1.0, run_id="20261122T101500Z-00000000"), ran("vit_b", 9.0, baseline=ATLAS)
    )

    for rows in (alone, other_run):
        assert (rows["ViT-B"].ours, rows["ViT-B"].remark) == (1.5, "in turns")
    assert compare_with_paper([ran("atlas_b", 1.0), ran("vit_b", 1.0, environment=elsewhere)]) == []


def test_compositions_of_one_model_are_relative_to_the_one_that_drops_scales() -> None:
    patch = {"patch_size": 8}
    drop = make_workload("atlas_s", 512, options=patch, scale_drop="2-10", **TRAIN)
    records = [
        ran("atlas_s", 9.0, size=512, options=patch, scale_drop="none", baseline=drop),
        ran("atlas_s", 9.0, size=512, options={**patch, "composition": "conv"}, baseline=replace(drop, options={})),
        ran("atlas_s", 1.0, size=512, options=patch, scale_drop="2-10"),
    ]

    rows = rows_of("Table 5", *records)

    assert [(row.ours, row.is_paired) for row in rows.values()] == [(1.5, True), (9.0, False), (1.0, False)]


def test_what_did_not_end_ok_has_no_ratio() -> None:
    broken = failed(Status.ERROR, "why", ratio=make_ratio(baseline=ATLAS))

    rows = rows_of(
        "Table 1", ran("atlas_b", 1.0), ran("swin_b", 1.0), make_record("vit_b", measurement=broken, **TRAIN)
    )

    assert (rows["ViT-B"].ours, rows["ViT-B"].remark) == (None, "error")
