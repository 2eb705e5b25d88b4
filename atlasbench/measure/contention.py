"""How much of the cores others took while a workload was timed: other programs, or the host of a virtual machine."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import psutil

NOTICED_SHARE = 0.05  # of the cores' time: below it the system's own housekeeping
_SHORTEST_S = 0.2  # the system counts in hundredths of a second for each core


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreReading:
    """Clocks at one moment, in seconds from any origin.

    Attributes:
        wall_s: Wall time.
        own_s: CPU time of this process, all threads together.
        busy_s: Time that the cores were not idle, summed; time that the host took from them included.
    """

    wall_s: float
    own_s: float
    busy_s: float


def read_cores(cores: Sequence[int]) -> CoreReading | None:
    """Read the clocks of these logical cores; None where the system does not tell."""
    try:
        times = psutil.cpu_times(percpu=True)
        busy_s = sum(_busy(times[core]._asdict()) for core in cores)
    except (OSError, IndexError, RuntimeError):
        return None
    return CoreReading(wall_s=time.perf_counter(), own_s=time.process_time(), busy_s=busy_s)


def foreign_share(before: CoreReading | None, after: CoreReading | None, cores: int) -> float | None:
    """Share of the cores' time between two readings that others had; None where not known, or too short to say."""
    if before is None or after is None or after.wall_s - before.wall_s < _SHORTEST_S:
        return None
    foreign_s = (after.busy_s - before.busy_s) - (after.own_s - before.own_s)
    return min(max(foreign_s / ((after.wall_s - before.wall_s) * cores), 0.0), 1.0)


def _busy(times: dict[str, float]) -> float:
    # Guests' time is part of user time already.
    return sum(value for name, value in times.items() if name not in ("idle", "iowait", "guest", "guest_nice"))
