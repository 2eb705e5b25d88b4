"""What a device can do at best: the speed of a large matrix product and of a large copy, measured in about a second."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from atlasbench.core.workload import Dtype
from atlasbench.measure.device import Device

_MATRIX_SIDE = {"cpu": 2048, "cuda": 8192}  # large enough for full speed, small enough for 0.3 s
_COPY_BYTES = {"cpu": 2**28, "cuda": 2**30}  # beyond every cache
_SAMPLES = 8
_PATIENCE_S = 0.3  # some CPUs have no instructions for 16 bits


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceLimits:
    """The best of a few trials each: what a model can come close to and not exceed by much.

    Attributes:
        matmul_flops_per_s: FLOPs a second of a square matrix product, by dtype (`float32`, `bfloat16`, ...).
        copy_bytes_per_s: Bytes read and written a second by a copy.
    """

    matmul_flops_per_s: dict[str, float]
    copy_bytes_per_s: float


def measure_limits(device: Device, dtypes: Sequence[Dtype]) -> DeviceLimits:
    """Measure a device that this process has started.

    Float32 products run without TF32, as torch has it by default.
    """
    names = dict.fromkeys(dtype.torch_name for dtype in dtypes)
    # Ones, because a system may give all pages of zeros one place in memory.
    source = torch.ones(_COPY_BYTES[device.type], dtype=torch.uint8, device=device.torch_device)
    target = torch.empty_like(source)
    copy_s = _best_time(device, lambda: target.copy_(source))
    return DeviceLimits(
        matmul_flops_per_s={name: _matmul_speed(device, name) for name in names},
        copy_bytes_per_s=2 * source.numel() / copy_s,
    )


def _matmul_speed(device: Device, dtype: str) -> float:
    side = _MATRIX_SIDE[device.type]
    # Random, because a GPU draws less power for constant numbers and clocks higher than with a model's.
    matrix = torch.randn(side, side, device=device.torch_device, dtype=getattr(torch, dtype))
    return 2.0 * side**3 / _best_time(device, lambda: matrix @ matrix)


def _best_time(device: Device, step: Callable[[], Any]) -> float:
    device.time_chunk(step)  # touches fresh pages, loads kernels
    best_s, until = float("inf"), time.monotonic() + _PATIENCE_S
    for _ in range(_SAMPLES):
        best_s = min(best_s, *device.time_chunk(step).samples_s)
        if time.monotonic() > until:
            break
    return best_s
