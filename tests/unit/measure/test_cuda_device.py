from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from atlasbench.core.workload import Dtype
from atlasbench.measure import cuda_device, nvml
from atlasbench.measure.cuda_device import CudaDevice


class FakeCuda:
    """Stands in for `torch.cuda`: a queue on which work takes time only when it is waited for."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.gpu_ms = 0.0

    def step(self) -> None:
        self.log.append("step")
        self.gpu_ms += 2.0

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        fake = self

        class Event:
            def __init__(self, *, enable_timing: bool) -> None:
                assert enable_timing

            def record(self) -> None:
                fake.log.append("event")
                self.at_ms = fake.gpu_ms

            def elapsed_time(self, end: Event) -> float:
                assert fake.log[-1] == "synchronize", "an event is read only after waiting"
                return end.at_ms - self.at_ms

        class OnDevice:
            def __init__(self, index: int) -> None:
                fake.log.append(f"device {index}")

            def __enter__(self) -> None: ...

            def __exit__(self, *_: object) -> None: ...

        monkeypatch.setattr(torch.cuda, "Event", Event)
        monkeypatch.setattr(torch.cuda, "device", OnDevice)
        monkeypatch.setattr(torch.cuda, "synchronize", lambda index: fake.log.append("synchronize"))


@pytest.fixture
def fake_cuda(monkeypatch: pytest.MonkeyPatch) -> FakeCuda:
    fake = FakeCuda()
    fake.install(monkeypatch)
    return fake


def cuda_with_nvml(gpu: object | None) -> CudaDevice:
    device = CudaDevice(1)
    device.__dict__["_nvml"] = gpu  # where cached_property keeps it
    return device


def test_cuda_waits_once_for_a_chunk_and_puts_a_pair_of_events_around_each_sample(fake_cuda: FakeCuda) -> None:
    chunk = cuda_with_nvml(None).time_chunk(fake_cuda.step, samples=3, calls=2)
    assert fake_cuda.log == ["device 1", *["event", "step", "step", "event"] * 3, "synchronize"]
    assert chunk.samples_s == pytest.approx([0.004] * 3)
    assert len(chunk.host_s) == 3
    assert chunk.clock_mhz is None


def test_cuda_flushes_outside_the_events(fake_cuda: FakeCuda, monkeypatch: pytest.MonkeyPatch) -> None:
    device = cuda_with_nvml(None)

    def flush() -> None:
        fake_cuda.log.append("flush")
        fake_cuda.gpu_ms += 50.0

    monkeypatch.setattr(device, "_flush_cache", flush)
    chunk = device.time_chunk(fake_cuda.step, samples=2, cold=True)
    assert fake_cuda.log[1:] == [*["flush", "event", "step", "event"] * 2, "synchronize"]
    assert chunk.samples_s == pytest.approx([0.002] * 2)


def test_clocks_are_read_while_the_gpu_still_works(fake_cuda: FakeCuda) -> None:
    def read_clock() -> nvml.GpuClock:
        fake_cuda.log.append("clock")
        return nvml.GpuClock(clock_mhz=1980, throttle_reasons=("power cap",))

    chunk = cuda_with_nvml(SimpleNamespace(read_clock=read_clock)).time_chunk(fake_cuda.step)
    assert fake_cuda.log[-2:] == ["clock", "synchronize"]
    assert (chunk.clock_mhz, chunk.throttle_reasons) == (1980, ("power cap",))


def test_cudas_peaks_are_reset_after_the_cache_is_handed_back(monkeypatch: pytest.MonkeyPatch) -> None:
    log = []
    for name in ("synchronize", "reset_peak_memory_stats"):
        monkeypatch.setattr(torch.cuda, name, lambda index, name=name: log.append(name))
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: log.append("empty_cache"))
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda index: 10)
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda index: 20)
    device = CudaDevice(0)
    device.reset_peak_memory()
    reading = device.read_peak_memory()
    assert log == ["synchronize", "empty_cache", "reset_peak_memory_stats"]
    assert (reading.peak_bytes, reading.reserved_bytes, reading.is_growth) == (10, 20, False)


def test_cuda_devices_are_counted_only_by_a_torch_that_has_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: False)
    assert cuda_device.count_cuda_devices() == 0
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: True)
    assert cuda_device.count_cuda_devices() == 3


def test_tf32_is_named_where_float32_is_not_quite_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    device = CudaDevice(0)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    assert device.arithmetic_note(Dtype.FLOAT32) == "float32: convolutions may run in TF32"
    assert device.arithmetic_note(Dtype.BFLOAT16) == ""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    assert device.arithmetic_note(Dtype.FLOAT32) == ""
    monkeypatch.setattr(torch, "get_float32_matmul_precision", lambda: "high")
    assert device.arithmetic_note(Dtype.FLOAT32) == "float32: matrix products may run in TF32"
