from __future__ import annotations

import time

import pytest
import torch

from atlasbench.core.errors import DeviceError
from atlasbench.core.workload import Dtype
from atlasbench.measure import devices
from atlasbench.measure.cpu_device import CpuDevice
from atlasbench.measure.cuda_device import CudaDevice
from atlasbench.measure.devices import open_device, resolve_dtype


def pretend_gpus(monkeypatch: pytest.MonkeyPatch, count: int, capability: tuple[int, int] = (9, 0)) -> None:
    monkeypatch.setattr(devices, "count_cuda_devices", lambda: count)
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda index: capability)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: "Fake GPU")


# Names


@pytest.mark.parametrize("name", ["cpu", "meta"])
def test_devices_that_are_always_there_open(name: str) -> None:
    device = open_device(name)
    assert (device.name, device.type) == (name, name)
    assert device.description


def test_auto_is_the_first_gpu_or_else_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_gpus(monkeypatch, 0)
    assert open_device("auto").name == "cpu"
    pretend_gpus(monkeypatch, 2)
    assert open_device("auto").name == "cuda:0"
    assert open_device("cuda").name == "cuda:0"
    assert open_device("cuda:1").name == "cuda:1"


@pytest.mark.parametrize(
    ("name", "count", "message"),
    [
        ("cuda:1", 1, "cuda:1 is not there: this machine has 1 CUDA device (cuda:0)."),
        ("cuda:7", 2, "cuda:7 is not there: this machine has 2 CUDA devices (cuda:0, cuda:1)."),
        ("cuda", 0, "cuda is not there: torch finds no CUDA device on this machine. Use cpu or meta."),
        ("tpu", 0, "'tpu' is not a device: write one of auto, cpu, cuda, cuda:1, meta."),
        ("cuda:x", 1, "'cuda:x' is not a device: write one of auto, cpu, cuda, cuda:1, meta."),
        ("cpu:0", 0, "'cpu:0' is not a device: write cpu; --threads says how many cores it uses."),
        ("meta:0", 0, "'meta:0' is not a device: write meta."),
    ],
)
def test_a_device_that_is_not_there_is_one_clear_line(monkeypatch, name: str, count: int, message: str) -> None:
    pretend_gpus(monkeypatch, count)
    with pytest.raises(DeviceError) as raised:
        open_device(name)
    assert str(raised.value) == message


def test_torch_without_cuda_is_named_as_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: False)
    with pytest.raises(DeviceError, match=r"cuda:0 is not there: torch \S+ was built without CUDA\. Use cpu or meta\."):
        open_device("cuda:0")


# Arithmetic


def test_auto_dtype_is_bfloat16_on_a_gpu_and_float32_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_gpus(monkeypatch, 1)
    assert resolve_dtype(Dtype.AUTO, open_device("cuda")) is Dtype.BFLOAT16
    assert resolve_dtype(Dtype.AUTO, open_device("cpu")) is Dtype.FLOAT32
    assert resolve_dtype(Dtype.AUTO, open_device("meta")) is Dtype.FLOAT32
    assert resolve_dtype(Dtype.PURE_FLOAT16, open_device("cuda")) is Dtype.PURE_FLOAT16


def test_an_old_gpu_cannot_do_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_gpus(monkeypatch, 1, capability=(7, 5))
    with pytest.raises(DeviceError) as raised:
        open_device("cuda", Dtype.PURE_BFLOAT16)
    assert str(raised.value) == (
        "cuda:0 cannot do pure-bfloat16: bfloat16 needs compute capability 8.0, Fake GPU has 7.5."
    )
    assert open_device("cuda", Dtype.AUTO).default_dtype is Dtype.FLOAT16


@pytest.mark.parametrize("dtype", list(Dtype))
def test_the_cpu_really_does_every_arithmetic_it_claims(dtype: Dtype) -> None:
    device = open_device("cpu", dtype)
    resolved = resolve_dtype(dtype, device)
    arithmetic = getattr(torch, resolved.torch_name)
    x = torch.randn(2, 3, 8, 8, dtype=arithmetic)
    y = torch.nn.functional.conv2d(x, torch.randn(4, 3, 3, 3, dtype=arithmetic)).flatten(2) @ torch.randn(
        36, 5, dtype=arithmetic
    )
    assert torch.nn.functional.layer_norm(y, (5,)).softmax(-1).dtype is arithmetic


# The CPU's clock and memory


def test_the_cpu_times_all_calls_of_a_sample_together() -> None:
    calls = []

    def step() -> None:
        calls.append(1)
        time.sleep(0.001)

    chunk = CpuDevice().time_chunk(step, samples=3, calls=4)
    assert len(calls) == 12
    assert len(chunk.samples_s) == len(chunk.host_s) == 3
    assert min(chunk.samples_s) >= 0.004


def test_cpu_time_is_the_processs_and_sleep_takes_none() -> None:
    chunk = CpuDevice().time_chunk(lambda: time.sleep(0.1))
    assert chunk.host_s[0] < chunk.samples_s[0] / 2


def test_caches_are_flushed_before_each_cold_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    device, log = CpuDevice(), []
    monkeypatch.setattr(device, "_flush_caches", lambda: log.append("flush"))
    device.time_chunk(lambda: log.append("step"), samples=2, cold=True)
    assert log == ["flush", "step", "flush", "step"]
    log.clear()
    device.time_chunk(lambda: log.append("step"), samples=2)
    assert log == ["step", "step"]


def test_the_flush_covers_the_last_level_cache_and_is_let_go_before_memory_is_watched() -> None:
    device = CpuDevice()
    device.time_chunk(lambda: None, cold=True)
    assert device._flushed is not None
    assert device._flushed.nbytes >= 64 * 2**20
    device.reset_peak_memory()
    assert device._flushed is None
    device.read_peak_memory()


def test_the_cpu_knows_its_memory() -> None:
    memory = CpuDevice().memory()
    assert 0 < memory.free_bytes <= memory.total_bytes


def test_meta_has_no_time_and_no_memory() -> None:
    device = open_device("meta")
    assert device.memory().total_bytes == 0
    with pytest.raises(DeviceError, match="meta has no time to measure"):
        device.time_chunk(lambda: None)
    with pytest.raises(DeviceError, match="meta has no memory to measure"):
        device.reset_peak_memory()


# Out of memory


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: ..."),
        RuntimeError("std::bad_alloc"),
        RuntimeError("Storage size calculation overflowed with sizes=[4611686018427387904, 4]"),
    ],
)
def test_the_cpu_recognises_running_out_of_memory(error: Exception) -> None:
    assert CpuDevice().is_out_of_memory(error)
    assert not CpuDevice().is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))


def test_a_real_allocation_that_is_too_large_is_recognised() -> None:
    with pytest.raises(RuntimeError) as raised:
        torch.empty(2**46, dtype=torch.uint8)
    assert CpuDevice().is_out_of_memory(raised.value)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB."),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    ],
)
def test_cuda_recognises_running_out_of_memory(error: Exception) -> None:
    assert CudaDevice(0).is_out_of_memory(error)
    assert not CudaDevice(0).is_out_of_memory(RuntimeError("CUDA error: an illegal memory access was encountered"))
