"""The interface that every device stands behind: what timing, memory and steps may ask of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch

from atlasbench.core.workload import Dtype


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """Samples taken between two synchronisations.

    Attributes:
        samples_s: Seconds of each sample, all of its calls together.
        host_s: Beside each sample: CPU time of the process (CPU), or host time spent on issuing it (CUDA).
        clock_mhz: Clock of the device's cores while it worked, where readable.
        throttle_reasons: Why the clocks were held down, in words; empty if they were not, or where not readable.
    """

    samples_s: tuple[float, ...]
    host_s: tuple[float, ...]
    clock_mhz: int | None = None
    throttle_reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MemorySize:
    """Memory of a device, in bytes: all of it, and what a new process could have now."""

    total_bytes: int
    free_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PeakReading:
    """What the device saw of its memory between `reset_peak_memory` and now.

    Attributes:
        peak_bytes: The peak.
        is_growth: Whether the peak leaves out what was there at the reset (weights, input, optimizer state).
        reserved_bytes: What the allocator held from the driver at its peak.
        note: What the number leaves out or adds.
    """

    peak_bytes: int
    is_growth: bool
    reserved_bytes: int | None = None
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceFacts:
    """What an environment says about a device: strings for people, versions for comparing."""

    driver: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    clocks: Mapping[str, str] = field(default_factory=dict)


class Device(ABC):
    """One device. Making it touches no hardware; the first question that needs the hardware does.

    Attributes:
        name: `cpu`, `cuda:0` or `meta`.
        type: `cpu`, `cuda` or `meta`.
        memory_method: How its peak memory is found: `allocated`, `resident_growth` or `predicted`.
        is_asynchronous: Whether calls return before the work is done, so that samples are taken in chunks.
    """

    name: str
    type: str
    memory_method: str
    is_asynchronous: bool = False

    @property
    def torch_device(self) -> torch.device:
        """Where tensors go."""
        return torch.device(self.name)

    @property
    @abstractmethod
    def description(self) -> str:
        """Name of the hardware, e.g. `NVIDIA H200`."""

    @property
    @abstractmethod
    def default_dtype(self) -> Dtype:
        """What `--dtype auto` becomes."""

    @abstractmethod
    def why_unsupported(self, dtype: Dtype) -> str:
        """Why the device cannot do this arithmetic; empty if it can."""

    @abstractmethod
    def memory(self) -> MemorySize:
        """Memory in all and free now."""

    @abstractmethod
    def clock(self) -> float:
        """Wall time in seconds, from any origin."""

    @abstractmethod
    def synchronize(self) -> None:
        """Wait until all work issued so far is done."""

    @abstractmethod
    def time_chunk(self, step: Callable[[], object], *, samples: int = 1, calls: int = 1, cold: bool = False) -> Chunk:
        """Time samples of `calls` steps each, and wait for the device once, at the end.

        Args:
            step: What is timed.
            samples: Number of samples.
            calls: Steps in each sample.
            cold: Whether caches are flushed before each sample, outside the timed part.
        """

    @abstractmethod
    def reset_peak_memory(self) -> None:
        """Give freed memory back to the system, and watch the peak from here on."""

    @abstractmethod
    def read_peak_memory(self) -> PeakReading:
        """Peak since the reset."""

    def start(self) -> None:
        """Make it this process's current device."""
        return  # most have nothing to do

    def facts(self) -> DeviceFacts:
        """Driver, versions and clock settings, where readable."""
        return DeviceFacts()

    def arithmetic_note(self, dtype: Dtype) -> str:
        """What a reader would misread about this arithmetic here; empty if nothing."""
        return ""

    def is_out_of_memory(self, error: BaseException) -> bool:
        """Whether an error says that memory ran out."""
        return isinstance(error, MemoryError)
