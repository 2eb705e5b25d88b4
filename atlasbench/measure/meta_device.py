"""The meta device: shapes without numbers. Models are counted there, never run."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NoReturn

from atlasbench.core.errors import DeviceError
from atlasbench.core.workload import Dtype
from atlasbench.measure.device import Chunk, Device, MemorySize, PeakReading


class MetaDevice(Device):
    """No hardware: every dtype is possible, nothing can be timed."""

    name = "meta"
    type = "meta"
    memory_method = "predicted"

    @property
    def description(self) -> str:
        """What a table shows as the device."""
        return "meta (shapes only)"

    @property
    def default_dtype(self) -> Dtype:
        """Float32, as on a CPU."""
        return Dtype.FLOAT32

    def why_unsupported(self, dtype: Dtype) -> str:
        """Nothing is unsupported."""
        return ""

    def memory(self) -> MemorySize:
        """None."""
        return MemorySize(total_bytes=0, free_bytes=0)

    def clock(self) -> float:
        """Wall time in seconds."""
        return time.perf_counter()

    def synchronize(self) -> None:
        """Nothing to wait for."""

    def time_chunk(self, step: Callable[[], object], *, samples: int = 1, calls: int = 1, cold: bool = False) -> Chunk:
        """Refuse.

        Raises:
            DeviceError: Always.
        """
        _refuse("time")

    def reset_peak_memory(self) -> None:
        """Refuse.

        Raises:
            DeviceError: Always.
        """
        _refuse("memory")

    def read_peak_memory(self) -> PeakReading:
        """Refuse.

        Raises:
            DeviceError: Always.
        """
        _refuse("memory")


def _refuse(what: str) -> NoReturn:
    raise DeviceError(f"meta has no {what} to measure: it computes shapes alone. Use cpu or cuda.")
