"""Peak resident set of this process over a level: the CPU's stand-in for an allocator's peak."""

from __future__ import annotations

import ctypes
import gc
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

_STATUS = Path("/proc/self/status")
_CLEAR_REFS = Path("/proc/self/clear_refs")
_RESET_PEAK = "5"  # proc(5): resets the peak resident set to the current one

# glibc's mallopt parameters (malloc.h) with two settings of them. As usual, blocks up to 32 MiB are kept for reuse
# once freed: right for speed, but the resident set then holds tensors that are gone. While the peak is watched, blocks
# of 64 KiB and more go back to the system at once. On a ViT this took the peak from 16 to 28 % over the sum of live
# tensors, another number on every run, to 0.2 %.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_AT_ONCE = {_M_MMAP_THRESHOLD: 64 * 2**10, _M_TRIM_THRESHOLD: 64 * 2**10}
_AS_USUAL = {_M_MMAP_THRESHOLD: 32 * 2**20, _M_TRIM_THRESHOLD: 64 * 2**20}  # where glibc's adaptation ends up

NO_RESET = "the system cannot reset the peak: growth is that of the process's whole life, building and warm-up included"


@dataclass(frozen=True, slots=True, kw_only=True)
class ResidentPeak:
    """The level a growth is counted from.

    Attributes:
        level_bytes: Resident set when watching began, freed memory returned to the system.
        limitation: What the growth will include besides; empty if nothing.
    """

    level_bytes: int
    limitation: str = ""

    @classmethod
    def start(cls) -> ResidentPeak:
        """Return freed memory to the system, reset the peak where that is possible, and note the level."""
        _choose_block_handling(_AT_ONCE)
        return_freed_memory()
        limitation = "" if _reset_peak() else NO_RESET
        return cls(level_bytes=resident_bytes(), limitation=limitation)

    def growth_bytes(self) -> int:
        """Bytes by which the peak since then exceeds the level; ends the watching."""
        growth = max(0, peak_resident_bytes() - self.level_bytes)
        _choose_block_handling(_AS_USUAL)
        return growth


def return_freed_memory() -> None:
    """Collect garbage, and have the C library give free pages back.

    Without it a step finds all its memory in pages that the steps before it left behind, and nothing grows.
    """
    gc.collect()
    if sys.platform == "linux":
        try:
            ctypes.CDLL(None).malloc_trim(0)
        except (OSError, AttributeError):
            return  # another C library (musl) returns big blocks at once


def _choose_block_handling(settings: Mapping[int, int]) -> None:
    if sys.platform != "linux":
        return
    try:
        for parameter, value in settings.items():
            ctypes.CDLL(None).mallopt(parameter, value)
    except (OSError, AttributeError):
        return  # not glibc


def resident_bytes() -> int:
    """Resident set now."""
    return _status_bytes("VmRSS") or psutil.Process().memory_info().rss


def peak_resident_bytes() -> int:
    """Peak of the resident set since the reset, or of the process's life where there is none."""
    from_status = _status_bytes("VmHWM")
    if from_status is not None:
        return from_status
    import resource  # not on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # bytes on macOS, KiB elsewhere


def _reset_peak() -> bool:
    try:
        _CLEAR_REFS.write_text(_RESET_PEAK)
    except OSError:
        return False
    peak, now = _status_bytes("VmHWM"), _status_bytes("VmRSS")
    # Some sandboxes accept the write and do nothing.
    return peak is not None and now is not None and peak - now <= max(now // 100, 2**20)


def _status_bytes(field: str) -> int | None:
    try:
        found = re.search(rf"^{field}:\s+(\d+) kB$", _STATUS.read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(found[1]) * 1024 if found else None
