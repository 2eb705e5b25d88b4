"""A record as one line of JSON, and back; older versions of the line are read, newer ones refused."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from statistics import median
from textwrap import shorten
from typing import Any

from atlasbench.core.errors import AtlasBenchError, RecordsError
from atlasbench.core.record import (
    Counts,
    Environment,
    LayerGroup,
    Measurement,
    Memory,
    PairedRatio,
    Record,
    Status,
    Timing,
)
from atlasbench.core.resolution import parse_resolution
from atlasbench.core.workload import AttentionBackend, Dtype, MemoryFormat, Mode, Workload
from atlasbench.store.fields import check_record

# 1: first version.
# 2: `layers` in counts (tokens really computed), `matmul_flops_per_s` and `copy_bytes_per_s` in the environment,
# `foreign_core_share` in timing, `ratio` (to a baseline, in turns) in the measurement.
SCHEMA_VERSION = 2

# A short step gives thousands of samples: beyond this many, a line keeps medians of as many contiguous batches.
MAX_SAMPLES_KEPT = 400


class NewerSchemaError(RecordsError):
    """A line was written by a newer version of the program."""


def encode_record(record: Record) -> str:
    """One line of JSON, without its line break; a number that is none (infinite, say) becomes null."""
    measurement = record.measurement
    line: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "run_id": record.run_id,
        "time": record.time,
        "family": record.family,
        "launch": record.launch,
        "workload": _encode_workload(record.workload),
        "measurement": {
            **asdict(measurement),
            "timing": None if measurement.timing is None else _encode_timing(measurement.timing),
            "ratio": None if measurement.ratio is None else _encode_ratio(measurement.ratio),
        },
        "environment": asdict(record.environment),
    }
    return json.dumps(_finite(line), ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _encode_workload(workload: Workload) -> dict[str, Any]:
    return {**asdict(workload), "resolution": [workload.resolution.height, workload.resolution.width]}


def _encode_ratio(ratio: PairedRatio) -> dict[str, Any]:
    return {**asdict(ratio), "baseline": _encode_workload(ratio.baseline)}


def _encode_timing(timing: Timing) -> dict[str, Any]:
    samples = timing.samples_s
    if len(samples) > MAX_SAMPLES_KEPT:
        bounds = [round(index * len(samples) / MAX_SAMPLES_KEPT) for index in range(MAX_SAMPLES_KEPT + 1)]
        samples = tuple(median(samples[start:end]) for start, end in itertools.pairwise(bounds))
    # Six digits: a microsecond in a second, finer than any clock here resolves a step.
    kept = [float(f"{sample:.6g}") for sample in samples]
    return {**asdict(timing), "samples_s": kept, "total_samples": timing.count}


def _finite(value: Any) -> Any:
    """The same with null for every number that JSON cannot write."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value


def decode_record(line: str | bytes) -> Record:
    """Read one line.

    Raises:
        NewerSchemaError: If a newer version of the program wrote it.
        RecordsError: If it is not a record.
    """
    try:
        data = json.loads(line)
        if data["schema_version"] > SCHEMA_VERSION:
            raise NewerSchemaError(
                f"schema version {data['schema_version']} is newer than {SCHEMA_VERSION}, the newest that this version "
                "of atlasbench reads: update it"
            )
        record = Record(
            workload=decode_workload(data["workload"]),
            measurement=_decode_measurement(data["measurement"]),
            environment=_make(Environment, data["environment"]),
            run_id=data["run_id"],
            time=data["time"],
            family=data.get("family", ""),
            launch=data.get("launch", 1),
        )
        check_record(record)
    except NewerSchemaError:
        raise
    except json.JSONDecodeError as error:
        raise RecordsError(f"not JSON ({error.msg} at column {error.colno})") from error
    except KeyError as error:
        raise RecordsError(f"not a record (it has no {error})") from error
    except (AtlasBenchError, ValueError) as error:
        raise RecordsError(f"not a record ({shorten(str(error), 100, placeholder=' ...')})") from error
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError) as error:
        raise RecordsError("not a record (a field is of another kind)") from error
    return record


def _make(kind: type[Any], data: Mapping[str, Any]) -> Any:
    """A value of this class from the fields that it knows; lists become tuples."""
    known = {item.name for item in dataclasses.fields(kind)}
    return kind(
        **{key: tuple(value) if isinstance(value, list) else value for key, value in data.items() if key in known}
    )


def decode_workload(data: Mapping[str, Any]) -> Workload:
    """A workload from its fields by name; a resolution may be text."""
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
    if (counts := data.get("counts")) and counts.get("layers"):
        data = {**data, "counts": {**counts, "layers": [_make(LayerGroup, layer) for layer in counts["layers"]]}}
    if ratio := data.get("ratio"):
        data = {**data, "ratio": _make(PairedRatio, {**ratio, "baseline": decode_workload(ratio["baseline"])})}
    decoded = {name: _make(kind, data[name]) if data.get(name) else None for name, kind in parts.items()}
    return _make(Measurement, {**data, **decoded, "status": Status(data["status"])})  # type: ignore[no-any-return]
