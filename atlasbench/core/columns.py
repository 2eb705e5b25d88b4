"""A record as one flat row: the tidy columns that scripts rely on."""

from __future__ import annotations

import math
from typing import Any

from atlasbench.core.record import PARTS, Record
from atlasbench.core.workload import canonical_json

COLUMNS = (
    "run_id",
    "time",
    "model",
    "family",
    "options",
    "note",
    "scale_drop",
    "height",
    "width",
    "batch_size",
    "mode",
    "dtype",
    "device_type",
    "device",
    "compiled",
    "memory_format",
    "attention_backend",
    "status",
    "message",
    "params",
    "macs",
    "flops",
    *(f"flops_{part}" for part in PARTS),
    "activation_bytes",
    "peak_memory_bytes",
    "memory_method",
    "latency_s",
    "latency_low_s",
    "latency_high_s",
    "samples",
    "converged",
    "images_per_s",
    "tokens_per_s",
    "git_commit",
    # Beyond the promised columns:
    "tokens",
    "predicted_peak_bytes",
    "reserved_memory_bytes",
    "flags",
    "attention_kernel",
    "scan_kernel",
    "threads",
    "machine",
    "torch_version",
    "launch",
    "relative_time",
    "relative_low",
    "relative_high",
    "relative_to",
)


def flatten_record(record: Record) -> dict[str, Any]:
    """One row with every column; None where a value is not known."""
    workload, measurement, environment = record.workload, record.measurement, record.environment
    counts, memory, timing = measurement.counts, measurement.memory, measurement.timing
    row: dict[str, Any] = dict.fromkeys(COLUMNS)
    row |= {
        "run_id": record.run_id,
        "time": record.time,
        "model": workload.model,
        "family": record.family or None,
        "options": canonical_json(workload.options),
        "note": "; ".join(measurement.notes) or None,
        "scale_drop": workload.scale_drop or None,
        "height": workload.resolution.height,
        "width": workload.resolution.width,
        "batch_size": workload.batch_size,
        "mode": workload.mode.value,
        "dtype": workload.dtype.value,
        "device_type": workload.device_type,
        "device": environment.device,
        "compiled": workload.compiled,
        "memory_format": workload.memory_format.value,
        "attention_backend": workload.attention_backend.value,
        "status": measurement.status.value,
        "message": measurement.message or None,
        "git_commit": environment.git_commit or None,
        "attention_kernel": measurement.kernels.get("attention"),
        "scan_kernel": measurement.kernels.get("scan"),
        "threads": environment.threads,
        "machine": environment.machine,
        "torch_version": environment.versions.get("torch"),
        "launch": record.launch,
    }
    if counts is not None:
        row |= {
            "params": counts.params,
            "macs": counts.macs,
            "flops": counts.flops,
            **{f"flops_{part}": counts.flops_by_part.get(part, 0) for part in PARTS},
            "activation_bytes": counts.activation_bytes,
            "predicted_peak_bytes": counts.predicted_peak_bytes,
            "tokens": counts.tokens or None,
        }
    if memory is not None:
        row |= {
            "peak_memory_bytes": memory.peak_bytes,
            "memory_method": memory.method,
            "reserved_memory_bytes": memory.reserved_bytes,
        }
    if timing is not None:
        images_per_s = workload.batch_size / timing.latency_s
        row |= {
            "latency_s": timing.latency_s,
            "latency_low_s": timing.latency_low_s,
            "latency_high_s": timing.latency_high_s,
            "samples": timing.count,
            "converged": timing.converged,
            "flags": ",".join(timing.flags) or None,
            "images_per_s": images_per_s,
            "tokens_per_s": images_per_s * counts.tokens if counts is not None and counts.tokens else None,
        }
    if (ratio := measurement.ratio) is not None:
        row |= {
            "relative_time": ratio.ratio,
            "relative_low": ratio.low,
            "relative_high": ratio.high,
            "relative_to": ratio.baseline.model,
        }
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in row.items()
    }
