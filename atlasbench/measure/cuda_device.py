"""CUDA: work is issued ahead of the GPU and timed there, between events; the allocator knows its own peak."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cached_property

import torch

from atlasbench.core.workload import Dtype
from atlasbench.measure.device import Chunk, Device, DeviceFacts, MemorySize, PeakReading
from atlasbench.measure.nvml import GpuClock, NvmlGpu

# The allocator raises its own error type; libraries that allocate by themselves only say so.
_OUT_OF_MEMORY = (
    "CUDA out of memory",
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "CUSOLVER_STATUS_ALLOC_FAILED",
)
_BFLOAT16_CAPABILITY = (8, 0)  # older GPUs emulate it: the time would be the emulation's
_LEAST_FLUSH_BYTES = 64 * 2**20  # where the size of the L2 cache cannot be read


def count_cuda_devices() -> int:
    """CUDA devices that torch may use; asks the driver's management library, so that a process may fork later."""
    return torch.cuda.device_count() if torch.backends.cuda.is_built() else 0


class CudaDevice(Device):
    """One CUDA GPU."""

    type = "cuda"
    memory_method = "allocated"
    is_asynchronous = True

    def __init__(self, index: int) -> None:
        self.index = index
        self.name = f"cuda:{index}"
        self._flushed: torch.Tensor | None = None

    @property
    def description(self) -> str:
        """Name of the GPU, e.g. `NVIDIA H200`."""
        return torch.cuda.get_device_name(self.index)

    @property
    def default_dtype(self) -> Dtype:
        """Bfloat16 autocast; float16 where the GPU is too old for it."""
        return Dtype.FLOAT16 if self.why_unsupported(Dtype.BFLOAT16) else Dtype.BFLOAT16

    def why_unsupported(self, dtype: Dtype) -> str:
        """Bfloat16 needs a GPU of compute capability 8.0 or later."""
        capability = torch.cuda.get_device_capability(self.index)
        if dtype in (Dtype.BFLOAT16, Dtype.PURE_BFLOAT16) and capability < _BFLOAT16_CAPABILITY:
            return f"bfloat16 needs compute capability 8.0, {self.description} has {capability[0]}.{capability[1]}"
        return ""

    def memory(self) -> MemorySize:
        """The GPU's memory; free is what no process holds, this one's cache included in what is held."""
        free, total = torch.cuda.mem_get_info(self.index)
        return MemorySize(total_bytes=total, free_bytes=free)

    def clock(self) -> float:
        """Wall time of the host in seconds."""
        return time.perf_counter()

    def synchronize(self) -> None:
        """Wait until the GPU has done everything."""
        torch.cuda.synchronize(self.index)

    def start(self) -> None:
        """Make it current: kernels of other compilers (Triton) go where the current device is."""
        torch.cuda.set_device(self.index)

    def time_chunk(self, step: Callable[[], object], *, samples: int = 1, calls: int = 1, cold: bool = False) -> Chunk:
        """Time on the GPU between a pair of events around each sample; one wait for the whole chunk.

        Beside it, the host time spent on issuing each sample: where it is as long as the sample, the GPU waited for
        the host. It includes waiting for room in the GPU's queue, so it is never much longer either.
        """
        with torch.cuda.device(self.index):
            events = [
                (torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)) for _ in range(samples)
            ]
            host_s, repeats = [], range(calls)
            for before, after in events:
                if cold:
                    self._flush_cache()
                started = time.perf_counter_ns()
                before.record()
                for _ in repeats:
                    step()
                after.record()
                host_s.append((time.perf_counter_ns() - started) / 1e9)
            # Read before the wait, while the GPU still works: an idle GPU shows idle clocks.
            reading = self._nvml.read_clock() if self._nvml else GpuClock()
            torch.cuda.synchronize(self.index)
        samples_s = tuple(before.elapsed_time(after) / 1e3 for before, after in events)  # events count milliseconds
        return Chunk(
            samples_s=samples_s,
            host_s=tuple(host_s),
            clock_mhz=reading.clock_mhz,
            throttle_reasons=reading.throttle_reasons,
        )

    def reset_peak_memory(self) -> None:
        """Hand cached blocks back, so that the reserved peak is this step's own, and start both peaks afresh."""
        self._flushed = None
        torch.cuda.synchronize(self.index)
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(self.index)

    def read_peak_memory(self) -> PeakReading:
        """Peaks of the allocator: tensors (allocated), and what it held from the driver (reserved)."""
        return PeakReading(
            peak_bytes=torch.cuda.max_memory_allocated(self.index),
            is_growth=False,
            reserved_bytes=torch.cuda.max_memory_reserved(self.index),
        )

    def facts(self) -> DeviceFacts:
        """Driver, CUDA and cuDNN versions, clock settings."""
        cudnn = torch.backends.cudnn.version() if torch.backends.cudnn.is_available() else None
        versions = {"cuda": torch.version.cuda or "", "cudnn": str(cudnn or "")}
        capability = torch.cuda.get_device_capability(self.index)
        versions["compute_capability"] = f"{capability[0]}.{capability[1]}"
        return DeviceFacts(
            driver=self._nvml.driver() if self._nvml else "",
            versions={name: version for name, version in versions.items() if version},
            clocks=self._nvml.settings() if self._nvml else {},
        )

    def arithmetic_note(self, dtype: Dtype) -> str:
        """Whether float32 really is float32: torch rounds inputs of convolutions to TF32 by default."""
        if dtype is not Dtype.FLOAT32:
            return ""
        in_tf32 = []
        if torch.backends.cudnn.allow_tf32:
            in_tf32.append("convolutions")
        if torch.get_float32_matmul_precision() != "highest":
            in_tf32.append("matrix products")
        return f"float32: {' and '.join(in_tf32)} may run in TF32" if in_tf32 else ""

    def is_out_of_memory(self, error: BaseException) -> bool:
        """Whether the CUDA allocator, a CUDA library or the host gave up."""
        if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
            return True
        return any(text in str(error) for text in _OUT_OF_MEMORY)

    @cached_property
    def _nvml(self) -> NvmlGpu | None:
        uuid = getattr(torch.cuda.get_device_properties(self.index), "uuid", None)
        return NvmlGpu.find(str(uuid)) if uuid is not None else None

    def _flush_cache(self) -> None:
        # In stream order before the first event, so it is over when the sample begins.
        if self._flushed is None:
            cache = int(getattr(torch.cuda.get_device_properties(self.index), "L2_cache_size", 0))
            size = max(2 * cache, _LEAST_FLUSH_BYTES)
            self._flushed = torch.empty(size, dtype=torch.uint8, device=self.torch_device)
        self._flushed.zero_()
