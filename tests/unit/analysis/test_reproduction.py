from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hand_made import ENVIRONMENT, failed, make_counts, make_measurement, make_record, timed

from atlasbench.analysis.reproduced_row import ReproducedRow
from atlasbench.analysis.reproduction import Reproduction, compare_with_paper
from atlasbench.core.record import Record, Status
from atlasbench.core.workload import MemoryFormat, Mode

TRAIN: dict[str, Any] = {"mode": Mode.TRAIN}


def ran(model: str, latency_s: float, flops: int = 100, size: int = 1024, **fields: Any) -> Record:
    counts = make_counts(flops, uncounted=fields.pop("uncounted", ()))
    measurement = replace(timed(latency_s, spread=fields.pop("spread", 0.02)), counts=counts)
    return make_record(model, size, measurement=measurement, **{**TRAIN, **fields})


def row_of(reproduction: Reproduction, label: str, size: int = 1024) -> ReproducedRow:
    (row,) = (row for row in reproduction.rows if (row.label, row.resolution.height) == (label, size))
    return row


def first_table(*records: Record) -> Reproduction:
    return next(item for item in compare_with_paper(records) if item.table == "Table 1")


def test_nothing_is_compared_without_the_baseline_and_another_row() -> None:
    assert compare_with_paper([]) == []
    assert compare_with_paper([ran("vit_b", 1.0), ran("swin_b", 1.0)]) == []
    assert compare_with_paper([ran("atlas_b", 1.0)]) == []
    assert compare_with_paper([ran("atlas_b", 1.0), ran("vit_b", 1.0, size=640)]) == []


def test_counts_alone_are_no_times() -> None:
    counted = [make_record(model, 1024, measurement=make_measurement(timing=None)) for model in ("atlas_b", "vit_b")]

    assert compare_with_paper(counted) == []


def test_a_ratio_is_of_medians_and_its_interval_of_both_intervals() -> None:
    reproduction = first_table(ran("atlas_b", 2.0, 100, spread=0.1), ran("vit_b", 3.0, 168, spread=0.05))

    row = row_of(reproduction, "ViT-B")
    assert (row.model, row.paper, row.ours, row.flops_ratio) == ("vit_b", 1.15, 1.5, 1.68)
    assert row.low == pytest.approx(3.0 * 0.95 / (2.0 * 1.1))
    assert row.high == pytest.approx(3.0 * 1.05 / (2.0 * 0.9))
    assert row.remark == ""


def test_every_row_of_the_table_is_there_and_says_what_it_lacks() -> None:
    unsettled = replace(ran("mambavision_b", 1.0), measurement=timed(1.0, flags=("drifting",)))
    scanned = replace(unsettled.measurement, kernels={"scan": "pytorch"})
    records = [
        ran("atlas_b", 1.0, 100),
        ran("vit_b", 1.2, 120, run_id="20261122T101500Z-00000000"),
        replace(unsettled, measurement=scanned),
        make_record(
            "swin_b", measurement=failed(Status.OOM, "too large", counts=make_counts(87, uncounted=())), **TRAIN
        ),
        make_record("convnext_b", measurement=make_measurement(timing=None), **TRAIN),
    ]

    reproduction = first_table(*records)

    assert (reproduction.baseline, reproduction.machine) == ("Atlas-B", "Some CPU, 2 threads")
    assert {row.label: (row.ours, row.remark) for row in reproduction.rows} == {
        "ViT-B": (1.2, "another run than Atlas-B"),
        "Swin-B": (None, "oom"),
        "FasterViT-4": (None, "not measured"),
        "LongViT-B": (None, "not measured"),
        "ConvNeXt-B": (None, "not timed"),
        "MambaVision-B": (1.0, "did not settle; scan in plain PyTorch"),
        "Atlas-B": (1.0, "baseline"),
    }
    assert row_of(reproduction, "Swin-B").flops_ratio == 0.87
    assert row_of(reproduction, "LongViT-B").flops_ratio is None
    assert row_of(reproduction, "Atlas-B").low == row_of(reproduction, "Atlas-B").high == 1.0


@pytest.mark.parametrize(
    ("ratio", "agrees"),
    [(1.15, True), (1.26, True), (1.06, True), (1.3, False), (1.0, False)],
)
def test_the_paper_agrees_within_our_interval_widened_by_a_tenth(ratio: float, agrees: bool) -> None:
    reproduction = first_table(ran("atlas_b", 1.0, spread=0.0), ran("vit_b", ratio, spread=0.0))

    assert row_of(reproduction, "ViT-B").agrees is agrees
    assert ("Every measured row agrees with the paper." in reproduction.sentences) is agrees
    assert len(reproduction.sentences) == 2


def test_a_row_that_disagrees_says_whether_arithmetic_explains_the_paper() -> None:
    reproduction = first_table(
        ran("atlas_b", 1.0, 2355), ran("vit_b", 1.6, 3954), ran("convnext_b", 1.5, 1924), ran("mambavision_b", 1.0)
    )

    assert reproduction.sentences == (
        "The paper's column is the time of whole training runs on its GPUs, ours a training step on Some CPU, "
        "2 threads.",
        "ViT-B: we measure 1.60x (1.54 to 1.67) the time of Atlas-B, the paper has 1.15x; it needs 1.68x the FLOPs, "
        "so arithmetic is near the paper's number.",
        "ConvNeXt-B: we measure 1.50x (1.44 to 1.56) the time of Atlas-B, the paper has 4.3x; it needs 0.817x the "
        "FLOPs, so the paper's number is not arithmetic: kernels, memory format, compilation or data loading.",
    )


def test_what_explains_the_paper_follows_from_the_counts() -> None:
    reproduction = first_table(ran("atlas_b", 1.0, 100), ran("convnext_b", 1.5, 400))

    assert reproduction.sentences[1].endswith("it needs 4.00x the FLOPs, so arithmetic is near the paper's number.")


def test_inference_is_compared_only_where_no_training_step_was_measured_and_says_so() -> None:
    inference = [ran(model, 1.0, mode=Mode.INFER) for model in ("atlas_b", "mambavision_b")]
    training = [ran(model, 1.0) for model in ("atlas_b", "vit_b")]

    alone, both = first_table(*inference), compare_with_paper([*inference, *training])

    assert alone.title.endswith("Ours: infer, float32, batch 1")
    assert alone.sentences[0] == (
        "The paper's column is the time of whole training runs on its GPUs, ours inference on Some CPU, 2 threads, "
        "without the backward pass."
    )
    assert ["train" in item.title for item in both if item.table == "Table 1"] == [True]


def test_settings_and_machines_are_never_mixed() -> None:
    elsewhere = replace(ENVIRONMENT, machine="other", device="GPU", driver="1")
    layout = {"memory_format": MemoryFormat.CHANNELS_LAST}
    records = [
        ran("atlas_b", 1.0),
        ran("vit_b", 2.0),
        ran("atlas_b", 1.0, **layout),
        ran("vit_b", 3.0, **layout),
        ran("swin_b", 1.0, batch_size=2),
        ran("convnext_b", 1.0, environment=elsewhere),
    ]

    found = [item for item in compare_with_paper(records) if item.table == "Table 1"]

    assert [(item.title.partition("Ours: ")[2], row_of(item, "ViT-B").ours) for item in found] == [
        ("train, float32, batch 1", 2.0),
        ("train, float32, batch 1, channels_last", 3.0),
    ]
    assert {row_of(item, label).ours for item in found for label in ("Swin-B", "ConvNeXt-B")} == {None}


def test_the_newest_record_of_a_row_counts() -> None:
    records = [ran("atlas_b", 1.0), ran("vit_b", 5.0), ran("vit_b", 2.0)]

    assert row_of(first_table(*records), "ViT-B").ours == 2.0


def test_sizes_have_their_own_baseline_and_are_named() -> None:
    records = [
        ran("atlas_s", 1.0, scale_drop="2-10"),
        ran("mambavision_s", 2.0),
        ran("atlas_s", 10.0, size=2048, scale_drop="2-2-8"),
        ran("mambavision_s", 10.0, size=2048),
        ran("mambavision_s", 70.0, size=4096),
    ]

    (reproduction,) = compare_with_paper(records)

    assert reproduction.table == "Table 2"
    assert [row_of(reproduction, "MambaVision-S", size).ours for size in (1024, 2048, 4096)] == [2.0, 1.0, None]
    assert row_of(reproduction, "MambaVision-S", 4096).remark == "Atlas-S was not timed at this size"
    assert reproduction.sentences[1].startswith("MambaVision-S at 1024 px: we measure 2.00x")


def test_what_the_paper_did_not_finish_is_marked() -> None:
    records = [ran("atlas_b", 1.0, size=2048, scale_drop="2-2-8"), ran("vit_b", 4.0, size=2048)]

    (reproduction,) = compare_with_paper(records)

    assert row_of(reproduction, "ViT-B", 2048).remark == "not finished in the paper"


def test_compositions_of_one_model_are_told_apart() -> None:
    patch = {"patch_size": 8}
    records = [
        ran("atlas_s", 4.0, size=512, options=patch, scale_drop="none"),
        ran("atlas_s", 2.0, size=512, options={**patch, "composition": "conv"}),
        ran("atlas_s", 1.0, size=512, options=patch, scale_drop="2-10"),
    ]

    (reproduction,) = compare_with_paper(records)

    assert [row.ours for row in reproduction.rows] == [4.0, 2.0, 1.0]


def test_a_baseline_that_did_not_settle_says_so() -> None:
    baseline = replace(ran("atlas_b", 1.0), measurement=timed(1.0, flags=("drifting",)))

    assert row_of(first_table(baseline, ran("vit_b", 1.0)), "Atlas-B").remark == "baseline; did not settle"


def test_flops_that_could_not_all_be_counted_give_no_ratio() -> None:
    reproduction = first_table(ran("atlas_b", 1.0), ran("vit_b", 1.0, uncounted=("aten::_fft_r2c",)))

    assert row_of(reproduction, "ViT-B").flops_ratio is None


def test_numbers_that_cannot_be_are_left_out() -> None:
    nothing_counted = ran("swin_b", 9.0, flops=0)
    never_ended = replace(ran("vit_b", 1.0), measurement=timed(1.0, latency_high_s=float("inf")))

    reproduction = first_table(ran("atlas_b", 1.0), nothing_counted, never_ended)

    assert row_of(reproduction, "ViT-B").remark == "not timed"
    assert row_of(reproduction, "Swin-B").flops_ratio is None
    assert reproduction.sentences[1].endswith("the paper has 1.6x; its FLOPs were not counted.")
