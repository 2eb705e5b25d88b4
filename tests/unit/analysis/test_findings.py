from __future__ import annotations

import shlex
from typing import Any

import pytest
from hand_made import failed, make_counts, make_measurement, make_record, make_timing, timed

from atlasbench.analysis.findings import suggest_command, summarize_records
from atlasbench.cli.options import spread_values
from atlasbench.core.record import Record, Status
from atlasbench.core.workload import Dtype, Mode


def counted(model: str, resolution: Any, flops: int, **fields: Any) -> Record:
    measurement = make_measurement(counts=make_counts(flops), timing=None)
    return make_record(model, resolution, measurement=measurement, **fields)


def test_nothing_counted_teaches_nothing() -> None:
    assert summarize_records([]) == ""
    assert summarize_records([make_record(measurement=failed(Status.ERROR, "why", counts=None))]) == ""


def test_one_record_says_its_largest_part() -> None:
    counts = make_counts(flops=100, flops_by_part={"stem": 71, "mlp": 29})

    assert summarize_records([make_record("atlas_s", measurement=make_measurement(counts=counts))]) == (
        "atlas_s at 1024 px: the stem is 71% of the FLOPs."
    )


def test_one_model_at_several_sizes_says_how_it_grows() -> None:
    records = [
        make_record("vit_b", 1024, measurement=timed(0.5, flops=100)),
        make_record("vit_b", 2048, measurement=timed(1.5, flops=500)),
        make_record("vit_b", 4096, measurement=timed(10.0, flops=7000)),
    ]

    assert summarize_records(records) == (
        "From 1024 to 4096 px (16.0x the pixels), vit_b needs 70.0x the FLOPs and took about 20.0x the time; "
        "the stem is 50% of the FLOPs at the end."
    )


def test_growth_names_the_scale_drops_that_grew_with_it() -> None:
    records = [
        counted("atlas_s", 1024, 100, scale_drop="2-10"),
        counted("atlas_s", 4096, 1700, scale_drop="2-2-8"),
    ]

    assert summarize_records(records).startswith(
        "From 1024 to 4096 px (16.0x the pixels, D 2-10 to 2-2-8), atlas_s needs 17.0x the FLOPs;"
    )


def test_growth_is_told_within_one_mode_batch_dtype_and_kind_of_scale_drop() -> None:
    records = [
        counted("atlas_s", 1024, 100, scale_drop="2-10"),
        counted("atlas_s", 1024, 300, scale_drop="2-10", mode=Mode.TRAIN),
        counted("atlas_s", 1024, 100, scale_drop="2-10", batch_size=8),
        counted("atlas_s", 1024, 100, scale_drop="2-10", dtype=Dtype.BFLOAT16),
        counted("atlas_s", 4096, 50_000, scale_drop="none", mode=Mode.TRAIN),
        counted("atlas_s", 4096, 6000, scale_drop="2-2-8", mode=Mode.TRAIN),
    ]

    assert summarize_records(records).startswith(
        "From 1024 to 4096 px, batch 1, train, float32 (16.0x the pixels, D 2-10 to 2-2-8), atlas_s needs 20.0x "
    )


def test_models_are_compared_at_the_largest_size_that_most_of_them_share() -> None:
    records = [
        counted("atlas_s", 1024, 100, scale_drop="2-10"),
        counted("vit_b", 1024, 400),
        counted("atlas_s", 2048, 500, scale_drop="2-10"),
        counted("vit_b", 2048, 4000),
        counted("vit_b", 4096, 90_000),
    ]

    assert summarize_records(records) == "At 2048 px, vit_b needs 8.00x the FLOPs of atlas_s (D 2-10)."


def test_models_are_never_compared_across_modes_or_batches() -> None:
    records = [
        counted("vit_b", 1024, 3000, mode=Mode.TRAIN),
        counted("vit_s", 1024, 100),
        counted("vit_s", 1024, 100, mode=Mode.TRAIN, batch_size=2),
    ]

    assert summarize_records(records) == "vit_b at 1024 px, batch 1, train: the stem is 50% of the FLOPs."


def test_a_speed_ratio_has_the_interval_of_its_intervals() -> None:
    records = [
        make_record("vit_b", measurement=timed(1.0, 0.1, flops=400)),
        make_record("vit_s", measurement=timed(0.5, 0.1, flops=100)),
    ]

    assert summarize_records(records) == (
        "At 1024 px, vit_b needs 4.00x the FLOPs of vit_s; vit_s ran about 2.00x as fast as vit_b."
    )


def test_speeds_whose_intervals_meet_are_not_ranked() -> None:
    records = [
        make_record("vit_b", measurement=timed(1.0, 0.1, flops=400)),
        make_record("vit_s", measurement=timed(0.9, 0.1, flops=100)),
    ]

    assert summarize_records(records).endswith("; their speeds cannot be told apart.")


def test_times_of_a_workload_that_failed_later_are_left_out() -> None:
    broken = failed(Status.ERROR, "why", timing=make_timing(0.001))
    records = [make_record("vit_b", measurement=timed(1.0)), make_record("vit_s", measurement=broken)]

    assert "fast" not in summarize_records(records)


def test_of_several_scale_drops_of_a_model_the_first_is_compared_and_named() -> None:
    records = [
        counted("atlas_s", 1024, 100, scale_drop="2-10"),
        counted("atlas_s", 1024, 200, scale_drop="none"),
        counted("vit_b", 1024, 400),
    ]

    assert summarize_records(records) == "At 1024 px, vit_b needs 4.00x the FLOPs of atlas_s (D 2-10)."


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        ([], "atlasbench models"),
        ([counted("atlas_s", 1024, 1)], "atlasbench profile atlas_s vit_b --res 1024 --device meta"),
        ([counted("vit_b", "768x1536", 1)], "atlasbench profile vit_b atlas_s --res 768x1536 --device meta"),
        (
            [counted("vit_b", 64, 1, device="meta"), counted("vit_b", 128, 1, device="meta")],
            "atlasbench profile vit_b --res 128 --device meta --by-module",
        ),
        (
            [counted("atlas", 64, 1, device="meta", options={"depths": [2, 2], "composition": "stack"})],
            "atlasbench profile atlas --res 64 --set 'depths=[2,2]' 'composition=\"stack\"' --device meta --by-module",
        ),
        (
            [counted("vit_b", 64, 1, device="meta", options={"timm_name": "vit_base_patch16_224"})],
            "atlasbench profile vit_b --res 64 --device meta --by-module",
        ),
        (
            [counted("my net.py:build", 64, 1), counted("vit_b", 64, 1)],
            "atlasbench profile 'my net.py:build' vit_b --res 64 --batch 1 8 --dry-run",
        ),
    ],
    ids=str,
)
def test_the_next_command_is_one_that_can_be_typed(records: list[Record], expected: str) -> None:
    assert suggest_command(records) == expected


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("models", [("vit_b",), ("atlas_s",), ("vit_b", "atlas_s")], ids=str)
def test_the_next_command_is_read_by_the_command_line(models: tuple[str, ...], device: str) -> None:
    from typer.main import get_command

    from atlasbench.cli.app import app

    records = [counted(model, 64, 1, device=device, options={"window_size": 8}) for model in models]
    words = shlex.split(suggest_command(records))
    command = get_command(app).commands[words[1]]  # type: ignore[attr-defined]

    context = command.make_context("profile", words[2:])

    assert words[0] == "atlasbench"
    assert context.params["models"][: len(models)] == list(models)
    assert context.params["resolutions"] == ["64"]
    assert list(spread_values(words, {"--batch"}))


def test_the_next_command_keeps_what_all_rows_share() -> None:
    shared: dict[str, object] = {"mode": Mode.TRAIN, "dtype": Dtype.BFLOAT16, "options": {"window_size": 8}}
    records = [counted("block:msa", 384, 100, **shared), counted("block:vit", 384, 400, **shared)]

    assert suggest_command(records) == (
        "atlasbench profile block:msa block:vit --res 384 --set window_size=8 --mode train --dtype bfloat16 "
        "--batch 1 8 --dry-run"
    )


def test_options_that_only_some_rows_have_are_not_asked_of_all() -> None:
    records = [counted("block:msa", 384, 100, options={"window_size": 8}), counted("vit_b", 384, 400)]

    assert "--set" not in suggest_command(records)


def test_growth_is_told_within_one_set_of_options_which_are_named() -> None:
    narrow, wide = {"window_size": 8}, {"window_size": 32}
    records = [
        counted("swin_b", 512, 100, options=narrow),
        counted("swin_b", 512, 300, options=wide),
        counted("swin_b", 2048, 9000, options=wide),
    ]

    assert summarize_records(records).startswith(
        "From 512 to 2048 px (16.0x the pixels), swin_b window_size=32 needs 30.0x the FLOPs;"
    )


def test_one_record_among_others_of_its_model_names_its_options() -> None:
    records = [counted("atlas_s", 64, 100, options={"patch_size": 8}), counted("atlas_s", 64, 50)]

    assert summarize_records(records) == "atlas_s patch_size=8 at 64 px: the stem is 50% of the FLOPs."
