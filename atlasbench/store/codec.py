"""A record as one line of JSON, and back; older versions of the line are read, newer ones refused."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from statistics import median
from typing import Any

from atlasbench.core.errors import RecordsError
from atlasbench.core.record import Counts, Environment, Measurement, Memory, Record, Status, Timing
from atlasbench.core.resolution import parse_resolution
from atlasbench.core.workload import AttentionBackend, Dtype, MemoryFormat, Mode, Workload

# 1: first version.
SCHEMA_VERSION = 1

# A short step gives thousands of samples: beyond this many, a line keeps medians of as many contiguous batches.
MAX_SAMPLES_KEPT = 400


class NewerSchemaError(RecordsError):
    """A line was written by a newer version of the program."""


def encode_record(record: Record) -> str:
    """One line of JSON, without its line break."""
    measurement = record.measurement
    line: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "run_id": record.run_id,
        "time": record.time,
        "family": record.family,
        "workload": _plain(record.workload) | {"resolution": _sides(record.workload)},
        "measurement": {
            **_plain(measurement),
            "timing": None if measurement.timing is None else _encode_timing(measurement.timing),
        },
        "environment": _plain(record.environment),
    }
    return json.dumps(line, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _plain(value: Any) -> dict[str, Any]:
    return dataclasses.asdict(value)


def _sides(workload: Workload) -> list[int]:
    return [workload.resolution.height, workload.resolution.width]


def _encode_timing(timing: Timing) -> dict[str, Any]:
    samples = timing.samples_s
    if len(samples) > MAX_SAMPLES_KEPT:
        bounds = [round(index * len(samples) / MAX_SAMPLES_KEPT) for index in range(MAX_SAMPLES_KEPT + 1)]
        samples = tuple(median(samples[start:end]) for start, end in zip(bounds, bounds[1:], strict=False))
    kept = [float(f"{sample:.6g}") for sample in samples]
    return {**_plain(timing), "samples_s": kept, "total_samples": timing.count}


def decode_record(line: str) -> Record:
    """Read one line.

    Raises:
        NewerSchemaError: If a newer version of the program wrote it.
        RecordsError: If it is not a record.
    """
    try:
        data = json.loads(line)
        version = data["schema_version"]
        if version > SCHEMA_VERSION:
            raise NewerSchemaError(
                f"schema version {version} is newer than {SCHEMA_VERSION}, the newest this version reads: "
                "update atlasbench"
            )
        return Record(
            workload=_decode_workload(data["workload"]),
            measurement=_decode_measurement(data["measurement"]),
            environment=_make(Environment, data["environment"]),
            run_id=data["run_id"],
            time=data["time"],
            family=data.get("family", ""),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RecordsError(f"not a record ({type(error).__name__}: {error})") from error


def _make(kind: type[Any], data: Mapping[str, Any]) -> Any:
    """A value of this class from the fields that it knows; lists become tuples."""
    known = {item.name for item in dataclasses.fields(kind)}
    return kind(
        **{key: tuple(value) if isinstance(value, list) else value for key, value in data.items() if key in known}
    )


def _decode_workload(data: Mapping[str, Any]) -> Workload:
    return Workload(
        model=data["model"],
        resolution=parse_resolution(data["resolution"]),
        options=data["options"],
        scale_drop=data["scale_drop"],
        batch_size=data["batch_size"],
        mode=Mode(data["mode"]),
        dtype=Dtype(data["dtype"]),
        device=data["device"],
        compiled=data["compiled"],
        memory_format=MemoryFormat(data["memory_format"]),
        attention_backend=AttentionBackend(data["attention_backend"]),
    )


def _decode_measurement(data: Mapping[str, Any]) -> Measurement:
    parts = {"counts": Counts, "memory": Memory, "timing": Timing}
    decoded = {name: _make(kind, data[name]) if data.get(name) else None for name, kind in parts.items()}
    return _make(Measurement, {**data, **decoded, "status": Status(data["status"])})  # type: ignore[no-any-return]
