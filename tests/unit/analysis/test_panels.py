from __future__ import annotations

from dataclasses import replace
from typing import Any

from hand_made import ENVIRONMENT, failed, make_measurement, make_record

from atlasbench.analysis.panels import has_memory, has_time, split_counts, split_settings
from atlasbench.analysis.series import split_machines
from atlasbench.core.record import Record, Status
from atlasbench.core.workload import AttentionBackend, Dtype, MemoryFormat, Mode

GPU = replace(ENVIRONMENT, machine="node7", device="NVIDIA H200", driver="570.1")
META = replace(ENVIRONMENT, device="meta (shapes only)", device_memory_bytes=0)
ON_GPU: dict[str, Any] = {"environment": GPU, "device": "cuda:0", "dtype": Dtype.BFLOAT16}
ON_META: dict[str, Any] = {
    "environment": META,
    "device": "meta",
    "measurement": make_measurement(timing=None, memory=None),
}


def settings_of(*records: Record) -> list[tuple[str, str, list[str]]]:
    """Words, end of the file's name and titles of the panels of every setting with times."""
    settings = split_settings(split_machines(records), has_time)
    return [(setting.words, setting.stem, [panel.title for panel in setting.panels]) for setting in settings]


def test_a_gpu_and_a_laptop_stand_in_one_picture_each_with_its_panel_and_name() -> None:
    laptop = make_record(time="2026-11-21T10:00:00.000+00:00")
    gpu = make_record(time="2026-11-21T11:00:00.000+00:00", **ON_GPU)

    assert settings_of(laptop, gpu) == [
        ("infer, batch 1", "", ["NVIDIA H200, bfloat16", "Some CPU, 2 threads, float32"])
    ]


def test_no_panel_mixes_machines_or_arithmetics() -> None:
    records = [
        make_record(model, size, **where)
        for model in ("vit_b", "swin_b")
        for size in (512, 1024)
        for where in ({}, {"dtype": Dtype.BFLOAT16}, ON_GPU)
    ]

    (setting,) = split_settings(split_machines(records), has_time)

    assert len(setting.panels) == 3
    for panel in setting.panels:
        assert len({(record.environment.device, record.workload.dtype) for record in panel.records}) == 1
        assert [series.label for series in panel.series] == ["vit_b", "swin_b"]
        assert [len(series.records) for series in panel.series] == [2, 2]


def test_what_ran_differently_stands_in_another_picture_whose_name_says_how() -> None:
    assert settings_of(
        make_record(),
        make_record(mode=Mode.TRAIN, batch_size=8),
        make_record(
            compiled=True,
            memory_format=MemoryFormat.CHANNELS_LAST,
            attention_backend=AttentionBackend.MATH,
        ),
    ) == [
        ("infer, batch 1", "-infer-batch-1-eager-contiguous-auto-attention", ["Some CPU, 2 threads, float32"]),
        ("train, batch 8", "-train-batch-8-eager-contiguous-auto-attention", ["Some CPU, 2 threads, float32"]),
        (
            "infer, batch 1, compiled, channels_last, math attention",
            "-infer-batch-1-compiled-channels_last-math-attention",
            ["Some CPU, 2 threads, float32"],
        ),
    ]


def test_a_machine_without_times_has_no_panel_of_times() -> None:
    assert settings_of(make_record("vit_b", 512), make_record("vit_b", 1024, **ON_META)) == [
        ("infer, batch 1", "", ["Some CPU, 2 threads, float32"])
    ]


def test_what_did_not_fit_belongs_to_the_pictures_of_memory() -> None:
    record = make_record(measurement=failed(Status.OOM, "too large", counts=None))

    assert has_memory(record)
    assert not has_time(record)
    assert not has_memory(make_record(measurement=failed(Status.ERROR, "reason", counts=None)))


def test_counts_of_several_machines_give_one_curve_from_the_machine_with_most_sizes() -> None:
    records = [
        *(make_record("vit_b", size) for size in (512, 1024)),
        *(make_record("vit_b", size, **ON_META) for size in (512, 1024, 2048)),
        make_record("swin_b", 512, **ON_GPU),
    ]

    (setting,) = split_counts(split_machines(records))

    (panel,) = setting.panels
    assert {series.label: len(series.records) for series in panel.series} == {"vit_b": 3, "swin_b": 1}
    for series in panel.series:
        assert len({record.environment.device for record in series.records}) == 1
    assert {environment.device for environment in panel.environments} == {"meta (shapes only)", "NVIDIA H200"}


def test_counts_of_inference_and_training_stand_in_two_pictures() -> None:
    settings = split_counts(split_machines([make_record(), make_record(mode=Mode.TRAIN)]))

    assert [(setting.words, setting.stem) for setting in settings] == [("infer", "-infer"), ("train", "-train")]


def test_nothing_counted_gives_no_picture_of_counts() -> None:
    assert split_counts(split_machines([make_record(measurement=failed(Status.ERROR, "reason", counts=None))])) == []
