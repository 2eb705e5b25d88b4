"""Clocks and throttle reasons of an NVIDIA GPU by NVML, where `nvidia-ml-py` and the driver allow it."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

# Bits of NVML's clock event reasons that mean "slower than asked for"; idle and user-set clocks do not.
# Source: nvml.h, nvmlClocksEventReason* (named nvmlClocksThrottleReason* before driver 535).
THROTTLE_REASONS = {
    0x04: "power cap",
    0x08: "hardware slowdown",
    0x10: "clocks synchronised with another GPU",
    0x20: "software thermal slowdown",
    0x40: "hardware thermal slowdown",
    0x80: "power brake",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuClock:
    """One reading of a GPU that works."""

    clock_mhz: int | None = None
    throttle_reasons: tuple[str, ...] = ()


class NvmlGpu:
    """One GPU as NVML sees it. Whatever cannot be read is left out; nothing here raises."""

    def __init__(self, nvml: ModuleType, handle: Any) -> None:
        self._nvml = nvml
        self._handle = handle

    @classmethod
    def find(cls, uuid: str) -> NvmlGpu | None:
        """The GPU with this UUID, which is how CUDA and NVML agree on one whatever their order.

        Returns:
            None where NVML is not installed, does not start, or does not know the GPU.
        """
        try:
            nvml = importlib.import_module("pynvml")
        except ImportError:
            return None
        full = uuid if uuid.startswith(("GPU-", "MIG-")) else f"GPU-{uuid}"
        try:
            nvml.nvmlInit()
            return cls(nvml, nvml.nvmlDeviceGetHandleByUUID(full))
        except nvml.NVMLError:
            return None

    def read_clock(self) -> GpuClock:
        """Clock of the streaming multiprocessors, and why it is held down."""
        nvml = self._nvml
        reasons = self._ask("nvmlDeviceGetCurrentClocksEventReasons")
        if reasons is None:
            reasons = self._ask("nvmlDeviceGetCurrentClocksThrottleReasons")
        return GpuClock(
            clock_mhz=self._ask("nvmlDeviceGetClockInfo", nvml.NVML_CLOCK_SM),
            throttle_reasons=tuple(name for bit, name in THROTTLE_REASONS.items() if (reasons or 0) & bit),
        )

    def driver(self) -> str:
        """Version of the driver; empty where not readable."""
        try:
            version = self._nvml.nvmlSystemGetDriverVersion()
        except self._nvml.NVMLError:
            return ""
        return version.decode() if isinstance(version, bytes) else str(version)

    def settings(self) -> dict[str, str]:
        """Clock and power settings, in words."""
        nvml = self._nvml
        milliwatts = self._ask("nvmlDeviceGetPowerManagementLimit")
        settings = {
            "sm_max_mhz": self._ask("nvmlDeviceGetMaxClockInfo", nvml.NVML_CLOCK_SM),
            "sm_application_mhz": self._ask("nvmlDeviceGetApplicationsClock", nvml.NVML_CLOCK_SM),
            "memory_max_mhz": self._ask("nvmlDeviceGetMaxClockInfo", nvml.NVML_CLOCK_MEM),
            "power_limit_w": None if milliwatts is None else round(milliwatts / 1000),
            "persistence_mode": self._ask("nvmlDeviceGetPersistenceMode"),
        }
        return {name: str(value) for name, value in settings.items() if value is not None}

    def _ask(self, function: str, *arguments: Any) -> Any:
        asked: Callable[..., Any] | None = getattr(self._nvml, function, None)
        if asked is None:
            return None
        try:
            return asked(self._handle, *arguments)
        except self._nvml.NVMLError:
            return None
