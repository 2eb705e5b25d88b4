"""A device whose clock moves only when a step says so: the logic of timing and memory is tested to the digit."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from atlasbench.core.workload import Dtype
from atlasbench.measure.device import Chunk, Device, MemorySize, PeakReading


class FakeDevice(Device):
    name = "fake"
    type = "fake"
    memory_method = "allocated"

    def __init__(self, *, is_asynchronous: bool = False, peak: PeakReading | None = None) -> None:
        self.is_asynchronous = is_asynchronous
        self.now = 100.0
        self.peak = peak
        self.log: list[str] = []
        self.chunk_sizes: list[int] = []
        self.flush_s = 0.0
        self.clock_mhz: int | None = None
        self.throttle_reasons: tuple[str, ...] = ()
        self.host_share = 0.5  # of a sample: spent on issuing it, the first of a chunk

    description = "a fake"
    default_dtype = Dtype.FLOAT32

    def why_unsupported(self, dtype: Dtype) -> str:
        return ""

    def memory(self) -> MemorySize:
        return MemorySize(total_bytes=1, free_bytes=1)

    def clock(self) -> float:
        return self.now

    def synchronize(self) -> None:
        self.log.append("synchronize")

    def time_chunk(self, step: Callable[[], object], *, samples: int = 1, calls: int = 1, cold: bool = False) -> Chunk:
        self.chunk_sizes.append(samples)
        seconds = []
        for _ in range(samples):
            if cold:
                self.now += self.flush_s
            started = self.now
            for _ in range(calls):
                step()
            seconds.append(self.now - started)
        return Chunk(
            samples_s=tuple(seconds),
            host_s=(self.host_share * seconds[0], *seconds[1:]),
            clock_mhz=self.clock_mhz,
            throttle_reasons=self.throttle_reasons,
        )

    def reset_peak_memory(self) -> None:
        self.log.append("reset")

    def read_peak_memory(self) -> PeakReading:
        self.log.append("read")
        assert self.peak is not None
        return self.peak


class FakeStep:
    """A step that takes the next of the given times, and the last one for ever after."""

    def __init__(self, device: FakeDevice, durations_s: Iterator[float]) -> None:
        self._device = device
        self._durations_s = durations_s
        self.calls = 0

    def __call__(self) -> None:
        self.calls += 1
        self._device.log.append("step")
        self._device.now += next(self._durations_s)
