"""Plans and records made by hand, each field with a value of its own."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from atlasbench.core.plan import ModuleCount, Plan
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
from atlasbench.core.workload import Workload

ENVIRONMENT = Environment(
    machine="host",
    os="Linux 6.1",
    processor="Some CPU",
    cpu_count=4,
    memory_bytes=24_000_000_000,
    device="Some CPU",
    device_memory_bytes=24_000_000_000,
    driver="",
    threads=2,
    versions={"python": "3.11.7", "torch": "2.11.0", "timm": "1.0.20", "atlasbench": "0.1.0"},
    clocks={"governor": "performance"},
    git_commit="0123456789abcdef",
    git_dirty=True,
    matmul_flops_per_s={"float32": 1.5e11},
    copy_bytes_per_s=2.5e10,
)


def make_workload(model: str = "vit_b", resolution: Any = 1024, **fields: Any) -> Workload:
    return Workload(model=model, resolution=parse_resolution(resolution), **fields)


def make_counts(flops: int = 2_000_000_000, **fields: Any) -> Counts:
    parts = {"stem": flops // 2, "attention": flops - flops // 2}
    values: dict[str, Any] = {
        "params": 31_126_700,
        "macs": flops // 2,
        "flops": flops,
        "flops_by_part": parts,
        "activation_bytes": 5_000_000,
        "predicted_peak_bytes": 205_000_000,
        "tokens": 4096,
        "uncounted": ("aten::_fft_r2c",),
        "params_by_part": {"stem": 31_126_700},
        "layers": (LayerGroup(part="projections", tokens=4097, values=9_000_000),),
    }
    return Counts(**values | fields)


def make_timing(latency_s: float = 0.5, spread: float = 0.02, **fields: Any) -> Timing:
    values: dict[str, Any] = {
        "samples_s": (latency_s,) * 40,
        "latency_s": latency_s,
        "latency_low_s": latency_s * (1 - spread),
        "latency_high_s": latency_s * (1 + spread),
        "quartiles_s": (latency_s * 0.99, latency_s * 1.01),
        "minimum_s": latency_s * 0.98,
        "maximum_s": latency_s * 1.5,
        "calls_per_sample": 1,
        "first_call_s": 2.5,
        "warmup_calls": 20,
        "lag1_autocorrelation": 0.25,
        "cpu_time_s": latency_s * 2,
        "clocks_mhz": (1500, 1400),
    }
    return Timing(**values | fields)


def make_measurement(**fields: Any) -> Measurement:
    values: dict[str, Any] = {
        "status": Status.OK,
        "notes": ("padded to 1024 px",),
        "counts": make_counts(),
        "memory": Memory(peak_bytes=412_000_000, method="resident_growth", reserved_bytes=500_000_000),
        "timing": make_timing(),
        "kernels": {"attention": "flash"},
        "phases_s": {"warmup": 1.5, "timing": 3.25},
    }
    return Measurement(**values | fields)


def make_ratio(**fields: Any) -> PairedRatio:
    values: dict[str, Any] = {
        "baseline": make_workload("atlas_b", "768x1536", scale_drop="2-10", options={"num_classes": 100}),
        "ratio": 1.5,
        "low": 1.4,
        "high": 1.6,
        "pairs": 24,
        "launches": 3,
    }
    return PairedRatio(**values | fields)


def make_record(model: str = "vit_b", resolution: Any = 1024, *, measurement: Any = None, **fields: Any) -> Record:
    names = ("run_id", "time", "family", "environment", "launch")
    record_fields = {key: fields.pop(key) for key in names if key in fields}
    values: dict[str, Any] = {
        "environment": ENVIRONMENT,
        "run_id": "20261121T101500Z-3f9a07c4",
        "time": "2026-11-21T10:15:00.000+00:00",
        "family": "vision_transformer",
    }
    return Record(
        workload=make_workload(model, resolution, **fields),
        measurement=measurement or make_measurement(),
        **values | record_fields,
    )


def make_plan(workload: Workload | None = None, **fields: Any) -> Plan:
    values: dict[str, Any] = {
        "workload": workload or make_workload(),
        "family": "vision_transformer",
        "notes": ("padded to 1024 px",),
        "counts": make_counts(),
        "modules": (
            ModuleCount(path="", part="other", params=1000, macs=0),
            ModuleCount(path="stem", part="stem", params=30_000_000, macs=500_000_000),
            ModuleCount(path="blocks.2.attn", part="attention", params=100_000, macs=300_000_000),
            ModuleCount(path="blocks.10.attn", part="attention", params=25_700, macs=200_000_000),
        ),
    }
    return Plan(**values | fields)


def timed(latency_s: float, spread: float = 0.02, flops: int = 2_000_000_000, **timing: Any) -> Measurement:
    """A measurement with this median and an interval of so much to each side."""
    return make_measurement(counts=make_counts(flops), timing=make_timing(latency_s, spread, **timing), notes=())


def failed(status: Status, message: str, **fields: Any) -> Measurement:
    return replace(
        make_measurement(notes=(), memory=None, timing=None, kernels={}, phases_s={}),
        status=status,
        message=message,
        **fields,
    )
