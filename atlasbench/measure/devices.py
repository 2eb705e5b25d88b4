"""Device names -> devices. Another accelerator is one file beside this one and one line in `_KINDS`."""

from __future__ import annotations

import re
from collections.abc import Callable

import torch

from atlasbench.core.errors import DeviceError
from atlasbench.core.workload import Dtype
from atlasbench.measure.cpu_device import CpuDevice
from atlasbench.measure.cuda_device import CudaDevice, count_cuda_devices
from atlasbench.measure.device import Device
from atlasbench.measure.meta_device import MetaDevice

DEVICE_NAMES = ("auto", "cpu", "cuda", "cuda:1", "meta")


def open_device(name: str, dtype: Dtype | None = None) -> Device:
    """The device of this name; checked to be there, without touching it.

    Args:
        name: `auto` (the first GPU, or else the CPU), `cpu`, `cuda`, `cuda:1` or `meta`.
        dtype: Arithmetic that it must be able to do. Asking this touches a GPU: a process that did must not fork.

    Raises:
        DeviceError: If there is no such device here, or it cannot do this arithmetic.
    """
    device = _find(name)
    if dtype is not None and (reason := device.why_unsupported(resolve_dtype(dtype, device))):
        raise DeviceError(f"{device.name} cannot do {dtype}: {reason}.")
    return device


def resolve_dtype(dtype: Dtype, device: Device) -> Dtype:
    """What `auto` is on this device; any other dtype as it is."""
    return device.default_dtype if dtype is Dtype.AUTO else dtype


def _find(name: str) -> Device:
    if name == "auto":
        return CudaDevice(0) if count_cuda_devices() else CpuDevice()
    match = re.fullmatch(r"([a-z]+)(?::(\d{1,4}))?", name)
    if match is None or match[1] not in _KINDS:
        raise DeviceError(f"{name!r} is not a device: write one of {', '.join(DEVICE_NAMES)}.")
    return _KINDS[match[1]](match[2])


def _open_cpu(index: str | None) -> Device:
    if index is not None:
        raise DeviceError(f"'cpu:{index}' is not a device: write cpu; --threads says how many cores it uses.")
    return CpuDevice()


def _open_meta(index: str | None) -> Device:
    if index is not None:
        raise DeviceError(f"'meta:{index}' is not a device: write meta.")
    return MetaDevice()


def _open_cuda(index: str | None) -> Device:
    name = "cuda" if index is None else f"cuda:{int(index)}"
    count = count_cuda_devices()
    if not torch.backends.cuda.is_built():
        raise DeviceError(f"{name} is not there: torch {torch.__version__} was built without CUDA. Use cpu or meta.")
    if count == 0:
        raise DeviceError(f"{name} is not there: torch finds no CUDA device on this machine. Use cpu or meta.")
    if int(index or 0) >= count:
        names = ", ".join(f"cuda:{number}" for number in range(count))
        plural = "device" if count == 1 else "devices"
        raise DeviceError(f"{name} is not there: this machine has {count} CUDA {plural} ({names}).")
    return CudaDevice(int(index or 0))


_KINDS: dict[str, Callable[[str | None], Device]] = {"cpu": _open_cpu, "cuda": _open_cuda, "meta": _open_meta}
