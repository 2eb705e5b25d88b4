"""What this process may use of the machine: cores (affinity, control group) and memory. Imports no torch."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import psutil

_CGROUP = Path("/sys/fs/cgroup")


def usable_cores() -> tuple[int, ...]:
    """Numbers of the logical cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return tuple(sorted(os.sched_getaffinity(0)))
    return tuple(range(os.cpu_count() or 1))


def usable_core_count() -> int:
    """Logical cores that this process may keep busy: affinity, and the control group's quota."""
    quota = cpu_quota()
    cores = len(usable_cores())
    return cores if quota is None else max(1, min(cores, int(quota)))


def default_threads() -> int:
    """One thread for each physical core that this process may use, within the control group's quota.

    Two threads on one physical core share its arithmetic units: matrix products gain nothing, and times vary more.
    """
    cores = usable_cores()
    if sys.platform == "linux":
        physical = len(one_core_of_each(cores))
    else:
        physical = psutil.cpu_count(logical=False) or len(cores)
    return max(1, min(physical, usable_core_count()))


def choose_cores(threads: int) -> tuple[int, ...]:
    """The cores to run this many threads on: one of each physical core first, then their siblings.

    Returns:
        `threads` logical cores, or all usable ones if there are fewer.
    """
    cores = usable_cores()
    first = one_core_of_each(cores)
    return tuple((*first, *(core for core in cores if core not in first))[:threads])


def one_core_of_each(cores: Sequence[int], system: Path = Path("/sys/devices/system/cpu")) -> tuple[int, ...]:
    """Of each physical core the first logical one; all of them where the system does not tell."""
    firsts: dict[str, int] = {}
    for core in cores:
        siblings = read_text(system / f"cpu{core}/topology/thread_siblings_list") or str(core)
        firsts.setdefault(siblings, core)
    return tuple(firsts.values())


def cpu_quota(root: Path = _CGROUP) -> float | None:
    """Cores' worth of time that the control group grants (versions 2 and 1); None without a limit."""
    try:
        quota, period = (root / "cpu.max").read_text().split()
    except (OSError, ValueError):
        quota = read_text(root / "cpu/cpu.cfs_quota_us")
        period = read_text(root / "cpu/cpu.cfs_period_us")
    if not quota.isdigit() or not period.isdigit() or int(period) == 0:
        return None  # "max" or "-1": no limit
    return int(quota) / int(period)


def memory_of_machine(root: Path = _CGROUP) -> tuple[int, int]:
    """Memory in all and free for a new process, in bytes, within the control group's limit."""
    machine = psutil.virtual_memory()
    limit = read_text(root / "memory.max") or read_text(root / "memory/memory.limit_in_bytes")
    used = read_text(root / "memory.current") or read_text(root / "memory/memory.usage_in_bytes")
    if not limit.isdigit() or not used.isdigit() or int(limit) >= machine.total:
        return machine.total, machine.available
    # File pages that nobody touches lately are dropped as soon as memory is short.
    cached = re.search(r"^(?:total_)?inactive_file (\d+)$", read_text(root / "memory.stat"), re.MULTILINE)
    free = int(limit) - int(used) + (int(cached[1]) if cached else 0)
    return int(limit), max(0, min(free, machine.available))


@lru_cache(maxsize=1)
def processor_name() -> str:
    """Model of the processor, e.g. `AMD EPYC 9654 96-Core Processor`."""
    if sys.platform == "darwin":
        try:
            command = ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"]
            return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
        except (OSError, subprocess.SubprocessError):
            return platform.machine()
    found = re.search(r"^model name\s*:\s*(.+)$", read_text(Path("/proc/cpuinfo")), re.MULTILINE)
    return found[1].strip() if found else platform.processor() or platform.machine()


def read_text(path: Path) -> str:
    """What a file of the system says, stripped; empty where it cannot be read."""
    try:
        return path.read_text().strip()
    except OSError:
        return ""
