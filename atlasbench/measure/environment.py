"""What this machine, its device, the libraries and our own source are: asked of the system, never failing."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import torch

import atlasbench
from atlasbench.core.record import Environment
from atlasbench.measure.device import Device
from atlasbench.measure.devices import open_device
from atlasbench.measure.machine import default_threads, memory_of_machine, processor_name, read_text, usable_core_count

__all__ = ["default_threads", "probe_environment"]

# Distributions whose version may change a number; timm is not imported for it, which would take seconds.
_DISTRIBUTIONS = ("timm", "numpy", "fvcore", "triton", "mamba-ssm", "causal-conv1d", "flash-attn")
_CPU_FREQUENCY = Path("/sys/devices/system/cpu/cpu0/cpufreq")
_CPU_CLOCKS = {
    "governor": _CPU_FREQUENCY / "scaling_governor",
    "max_khz": _CPU_FREQUENCY / "scaling_max_freq",
    "boost": _CPU_FREQUENCY.parent.parent / "cpufreq/boost",
    "no_turbo": _CPU_FREQUENCY.parent.parent / "intel_pstate/no_turbo",
}
_PATIENCE_S = 10  # for a program that is asked for something


def probe_environment(device: str, threads: int) -> Environment:
    """Describe where measurements are taken.

    Args:
        device: `auto`, `cpu`, `cuda`, `cuda:1` or `meta`. Asking about a GPU touches it: a process that did must
            not fork.
        threads: Threads that torch's operators use.

    Raises:
        DeviceError: If the device is not there.
    """
    opened = open_device(device)
    facts = opened.facts()
    commit, is_dirty = source_revision(Path(atlasbench.__file__).resolve().parent.parent)
    return Environment(
        machine=socket.gethostname(),
        os=_operating_system(),
        processor=processor_name(),
        cpu_count=usable_core_count(),
        memory_bytes=memory_of_machine()[0],
        device=opened.description,
        device_memory_bytes=opened.memory().total_bytes,
        driver=facts.driver or _driver_by_command(opened),
        threads=threads,
        versions={**library_versions(), **facts.versions},
        clocks={**_cpu_clocks(), **facts.clocks},
        git_commit=commit,
        git_dirty=is_dirty,
    )


def source_revision(source: Path) -> tuple[str, bool | None]:
    """Commit of the checkout whose top folder this is, and whether anything in it differs from the commit.

    Returns:
        `("", None)` where it is no checkout, belongs to someone else's (a virtual environment inside a repository),
        or git is missing.
    """
    top = _run_git(source, "rev-parse", "--show-toplevel")
    if not top or Path(top).resolve() != source.resolve():
        return "", None
    commit = _run_git(source, "rev-parse", "--verify", "HEAD")
    changes = _run_git(source, "status", "--porcelain")
    if not commit:
        return "", None  # nothing was committed yet
    return commit, None if changes is None else bool(changes)


def _run_git(folder: Path, *arguments: str) -> str | None:
    # Hooks run with GIT_DIR set, which would answer for another repository.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environment["GIT_OPTIONAL_LOCKS"] = "0"  # reading must not stop someone else's commit
    return _run(["git", "-C", str(folder), *arguments], environment)


def _run(command: list[str], environment: dict[str, str] | None = None) -> str | None:
    """What a program prints; None if it is missing, fails or takes too long."""
    program = shutil.which(command[0])
    if program is None:
        return None
    try:
        done = subprocess.run(
            [program, *command[1:]], capture_output=True, text=True, timeout=_PATIENCE_S, env=environment, check=True
        )
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return None
    return done.stdout.strip()


def _driver_by_command(device: Device) -> str:
    """Version of the NVIDIA driver where NVML's Python bindings are not installed; one for all GPUs."""
    if device.type != "cuda":
        return ""
    answer = _run(["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"])
    return answer.splitlines()[0].strip() if answer else ""


def _operating_system() -> str:
    if sys.platform == "darwin":
        return f"macOS {platform.mac_ver()[0]}"
    try:
        name = platform.freedesktop_os_release().get("PRETTY_NAME", "")
    except OSError:
        name = ""
    return f"{name}, {platform.system()} {platform.release()}" if name else platform.platform()


def library_versions() -> dict[str, str]:
    """Versions of what may change a number, by name; without what is not installed."""
    installed = {name.replace("-", "_"): _version_of(name) for name in _DISTRIBUTIONS}
    return {
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "atlasbench": atlasbench.__version__,
        **{name: version for name, version in installed.items() if version},
    }


def _version_of(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _cpu_clocks() -> dict[str, str]:
    settings = {f"cpu_{name}": read_text(path) for name, path in _CPU_CLOCKS.items()}
    return {name: value for name, value in settings.items() if value}
