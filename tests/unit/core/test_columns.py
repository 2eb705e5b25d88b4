from __future__ import annotations

import json
import math

import pytest
from hand_made import failed, make_counts, make_measurement, make_record, make_timing

from atlasbench.core.columns import COLUMNS, flatten_record
from atlasbench.core.record import Memory, Status
from atlasbench.core.workload import Mode

PROMISED = [
    "run_id", "time", "model", "family", "options", "note", "scale_drop", "height", "width", "batch_size",
    "mode", "dtype", "device_type", "device", "compiled", "memory_format", "attention_backend", "status",
    "message", "params", "macs", "flops", "flops_stem", "flops_projections", "flops_attention", "flops_mlp",
    "flops_head", "flops_other", "activation_bytes", "peak_memory_bytes", "memory_method", "latency_s",
    "latency_low_s", "latency_high_s", "samples", "converged", "images_per_s", "tokens_per_s", "git_commit",
]  # fmt: skip


def test_the_promised_columns_come_first_and_in_order() -> None:
    assert list(COLUMNS[: len(PROMISED)]) == PROMISED
    assert len(set(COLUMNS)) == len(COLUMNS)


def test_every_row_has_every_column() -> None:
    for record in (make_record(), make_record(measurement=failed(Status.ERROR, "why", counts=None))):
        assert tuple(flatten_record(record)) == COLUMNS


def test_a_record_becomes_a_row_in_seconds_bytes_and_integers() -> None:
    record = make_record(
        "atlas_s", "768x1536", batch_size=8, mode=Mode.TRAIN, scale_drop="2-2-8", options={"b": 1, "a": [2]}
    )

    row = flatten_record(record)

    expected = {
        "model": "atlas_s",
        "options": '{"a":[2],"b":1}',
        "note": "padded to 1024 px",
        "height": 768,
        "width": 1536,
        "mode": "train",
        "device_type": "cpu",
        "device": "Some CPU",
        "status": "ok",
        "message": None,
        "params": 31_126_700,
        "flops_stem": 1_000_000_000,
        "flops_mlp": 0,
        "peak_memory_bytes": 412_000_000,
        "latency_s": 0.5,
        "samples": 40,
        "converged": True,
        "images_per_s": 16.0,
        "tokens_per_s": 16.0 * 4096,
        "flags": None,
        "git_commit": "0123456789abcdef",
    }
    assert {name: row[name] for name in expected} == expected


def test_what_is_not_known_is_none() -> None:
    row = flatten_record(make_record(measurement=failed(Status.OOM, "too big", counts=None)))

    assert row["message"] == "too big"
    assert {name for name in PROMISED if row[name] is None} >= {"params", "flops_stem", "latency_s", "converged"}


def test_an_unknown_peak_keeps_its_method() -> None:
    memory = Memory(peak_bytes=None, method="resident_growth", note="no growth")

    row = flatten_record(make_record(measurement=make_measurement(memory=memory)))

    assert (row["peak_memory_bytes"], row["memory_method"]) == (None, "resident_growth")


def test_tokens_per_second_need_a_known_number_of_tokens() -> None:
    row = flatten_record(make_record(measurement=make_measurement(counts=make_counts(tokens=0))))

    assert (row["tokens"], row["tokens_per_s"]) == (None, None)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_no_row_has_a_number_that_json_cannot_write(value: float) -> None:
    timing = make_timing(latency_high_s=value)

    row = flatten_record(make_record(measurement=make_measurement(timing=timing)))

    assert row["latency_high_s"] is None
    json.dumps(row, allow_nan=False)
