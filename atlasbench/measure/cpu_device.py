"""The CPU: every call is over when it returns, and memory is the process's resident set."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import torch

from atlasbench.core.workload import Dtype
from atlasbench.measure.device import Chunk, Device, MemorySize, PeakReading
from atlasbench.measure.machine import memory_of_machine, processor_name, read_text, usable_cores
from atlasbench.measure.resident import ResidentPeak

# What torch's CPU allocator, C++ and oneDNN say when memory runs out; a shape whose size overflows needs more
# memory than there can be.
_OUT_OF_MEMORY = (
    "DefaultCPUAllocator: can't allocate memory",
    "DefaultCPUAllocator: not enough memory",
    "Cannot allocate memory",
    "std::bad_alloc",
    "Storage size calculation overflowed",
)
_LEAST_FLUSH_BYTES = 64 * 2**20  # where cache sizes cannot be read


class CpuDevice(Device):
    """The machine's processor."""

    name = "cpu"
    type = "cpu"
    memory_method = "resident_growth"

    def __init__(self) -> None:
        self._resident: ResidentPeak | None = None
        self._flushed: torch.Tensor | None = None

    @property
    def description(self) -> str:
        """Model of the processor."""
        return processor_name()

    @property
    def default_dtype(self) -> Dtype:
        """Float32: many CPUs have no arithmetic in 16 bits."""
        return Dtype.FLOAT32

    def why_unsupported(self, dtype: Dtype) -> str:
        """Nothing: what has no 16-bit instructions is computed by way of float32, slowly but rightly."""
        return ""

    def memory(self) -> MemorySize:
        """The machine's memory, or the control group's where that is less."""
        total, free = memory_of_machine()
        return MemorySize(total_bytes=total, free_bytes=free)

    def clock(self) -> float:
        """Wall time in seconds."""
        return time.perf_counter()

    def synchronize(self) -> None:
        """Nothing to wait for."""

    def time_chunk(self, step: Callable[[], object], *, samples: int = 1, calls: int = 1, cold: bool = False) -> Chunk:
        """Wall time of each sample, and CPU time of the whole process beside it."""
        wall_s, cpu_s = [], []
        repeats = range(calls)
        for _ in range(samples):
            if cold:
                self._flush_caches()
            cpu_started = time.process_time_ns()
            started = time.perf_counter_ns()
            for _ in repeats:
                step()
            ended = time.perf_counter_ns()
            cpu_s.append((time.process_time_ns() - cpu_started) / 1e9)
            wall_s.append((ended - started) / 1e9)
        return Chunk(samples_s=tuple(wall_s), host_s=tuple(cpu_s))

    def reset_peak_memory(self) -> None:
        """Return freed memory to the system, and take the level that growth is counted from."""
        self._flushed = None
        self._resident = ResidentPeak.start()

    def read_peak_memory(self) -> PeakReading:
        """Growth of the peak resident set over its level at the reset."""
        if self._resident is None:
            raise RuntimeError("read_peak_memory() before reset_peak_memory()")
        growth = self._resident.growth_bytes()
        return PeakReading(peak_bytes=growth, is_growth=True, note=self._resident.limitation)

    def is_out_of_memory(self, error: BaseException) -> bool:
        """Whether the allocator of torch, C++ or Python gave up."""
        return isinstance(error, MemoryError) or any(text in str(error) for text in _OUT_OF_MEMORY)

    def _flush_caches(self) -> None:
        # Twice the last-level cache, read and written by all of torch's threads, so that each core's own go too.
        if self._flushed is None:
            self._flushed = torch.zeros(max(2 * _last_level_cache_bytes(), _LEAST_FLUSH_BYTES), dtype=torch.uint8)
        self._flushed.add_(1)


def _last_level_cache_bytes() -> int:
    """Bytes of all last-level caches that the usable cores have; 0 where not readable."""
    sizes: dict[str, int] = {}
    for core in usable_cores():
        levels = sorted(Path(f"/sys/devices/system/cpu/cpu{core}/cache").glob("index[0-9]"))
        size = read_text(levels[-1] / "size").removesuffix("K") if levels else ""
        if size.isdigit():
            sizes[read_text(levels[-1] / "shared_cpu_list")] = int(size) * 1024
    return sum(sizes.values())
