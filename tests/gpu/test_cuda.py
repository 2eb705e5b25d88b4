"""What only a real GPU can show; skips itself without one."""

from __future__ import annotations

import dataclasses
import time

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from atlasbench.core.protocol import QUICK
from atlasbench.core.record import Measurement, Status
from atlasbench.core.resolution import Resolution
from atlasbench.core.workload import AttentionBackend, Dtype, Mode, Workload
from atlasbench.measure.cuda_device import CudaDevice
from atlasbench.measure.devices import open_device
from atlasbench.measure.environment import probe_environment
from atlasbench.measure.observe import measure_workload
from atlasbench.measure.timing import Sampler
from atlasbench.models.built import BuiltModel

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

BRIEF = dataclasses.replace(QUICK, min_time_s=0.2, give_up_s=1.0)
MIB = 2**20


class Attention(nn.Module):
    """Patches of 16 pixels, one attention layer of 64-channel heads, logits."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 256, 16, stride=16)
        self.qkv = nn.Linear(256, 768)
        self.head = nn.Linear(256, 10)

    def forward(self, images: Tensor) -> Tensor:
        x = self.stem(images).flatten(2).transpose(1, 2)
        q, k, v = self.qkv(x).unflatten(2, (3, 4, 64)).permute(2, 0, 3, 1, 4)
        x = x + functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        return self.head(x.mean(1))


@pytest.fixture
def device() -> CudaDevice:
    opened = open_device("cuda")
    assert isinstance(opened, CudaDevice)
    opened.start()
    return opened


def measure(model: nn.Module | None = None, **fields) -> Measurement:
    built = BuiltModel(model=model or Attention())
    options = {"model": "tiny", "resolution": Resolution(256, 256), "batch_size": 4, "device": "cuda:0", **fields}
    return measure_workload(Workload(**options), BRIEF, threads=1, build=lambda *_, **__: built)


@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize("dtype", [dtype for dtype in Dtype if dtype is not Dtype.AUTO])
def test_every_arithmetic_is_measured_in_both_modes(mode: Mode, dtype: Dtype) -> None:
    found = measure(mode=mode, dtype=dtype)
    assert (found.status, found.message) == (Status.OK, "")
    assert found.timing is not None
    assert found.timing.minimum_s > 0
    assert found.memory is not None
    assert found.memory.method == "allocated"
    assert found.memory.peak_bytes is not None
    assert found.memory.reserved_bytes is not None
    assert found.memory.reserved_bytes >= found.memory.peak_bytes > 0


def test_event_times_agree_with_the_wall_clock_of_long_work(device: CudaDevice) -> None:
    matrix = torch.ones(8192, 8192, device="cuda")

    def step() -> None:
        for _ in range(20):
            torch.mm(matrix, matrix)

    step()
    torch.cuda.synchronize()
    started = time.perf_counter()
    chunk = device.time_chunk(step, samples=5)
    wall_s = time.perf_counter() - started
    assert sum(chunk.samples_s) == pytest.approx(wall_s, rel=0.05)


def test_the_host_runs_ahead_within_a_chunk(device: CudaDevice) -> None:
    matrix = torch.ones(8192, 8192, device="cuda")
    device.time_chunk(lambda: torch.mm(matrix, matrix))
    chunk = device.time_chunk(lambda: torch.mm(matrix, matrix), samples=10)
    assert sum(chunk.host_s) < 0.5 * sum(chunk.samples_s)


def test_short_kernels_are_timed_several_at_once(device: CudaDevice) -> None:
    x = torch.ones(8, device="cuda")
    sampler = Sampler(lambda: x.add_(1), device, BRIEF)
    sampler.first_call()
    sampler.warm_up()
    while not sampler.is_finished:
        sampler.sample()
    assert sampler.timing().calls_per_sample >= 5


def test_the_peak_is_the_largest_sum_of_live_tensors(device: CudaDevice) -> None:
    held = torch.ones(16 * MIB, dtype=torch.uint8, device="cuda")
    before = torch.cuda.memory_allocated()
    device.reset_peak_memory()
    first = torch.ones(64 * MIB, dtype=torch.uint8, device="cuda")
    second = torch.ones(32 * MIB, dtype=torch.uint8, device="cuda")
    del first, second
    torch.ones(80 * MIB, dtype=torch.uint8, device="cuda")
    reading = device.read_peak_memory()
    assert reading.peak_bytes == before + 96 * MIB
    assert held.numel() == 16 * MIB


def test_a_cold_run_keeps_its_flush_out_of_the_samples_and_of_the_peak(device: CudaDevice) -> None:
    x = torch.ones(8, device="cuda")
    cold = device.time_chunk(lambda: x.add_(1), samples=20, cold=True)
    assert sorted(cold.samples_s)[10] < 1e-3
    device.reset_peak_memory()
    assert device.read_peak_memory().peak_bytes < 64 * MIB + torch.cuda.memory_allocated()


def test_too_large_a_batch_is_out_of_memory() -> None:
    found = measure(batch_size=2**20, resolution=Resolution(1024, 1024))
    assert found.status is Status.OOM
    assert "out of memory" in found.message
    assert measure().status is Status.OK  # and the process goes on


@pytest.mark.parametrize(
    ("backend", "kernel"),
    [
        (AttentionBackend.MATH, "math"),
        (AttentionBackend.FLASH, "flash"),
        (AttentionBackend.EFFICIENT, "efficient"),
    ],
)
def test_the_attention_kernel_asked_for_is_the_one_that_ran(backend: AttentionBackend, kernel: str) -> None:
    found = measure(dtype=Dtype.BFLOAT16, attention_backend=backend)
    assert found.status is Status.OK
    assert found.kernels["attention"] == kernel


def test_flash_attention_in_float32_is_unsupported() -> None:
    found = measure(dtype=Dtype.FLOAT32, attention_backend=AttentionBackend.FLASH)
    assert found.status is Status.UNSUPPORTED


def test_tf32_convolutions_are_noted() -> None:
    assert any("TF32" in note for note in measure(dtype=Dtype.FLOAT32).notes)


def test_the_environment_names_the_gpu_and_its_driver() -> None:
    found = probe_environment("cuda", threads=1)
    assert found.device == torch.cuda.get_device_name(0)
    assert found.device_memory_bytes > 2**30
    assert found.driver
    assert found.versions["cuda"] == torch.version.cuda


def test_clocks_are_read_where_nvml_is_installed(device: CudaDevice) -> None:
    pytest.importorskip("pynvml")
    matrix = torch.ones(4096, 4096, device="cuda")
    chunk = device.time_chunk(lambda: torch.mm(matrix, matrix), samples=10)
    assert chunk.clock_mhz is not None
    assert chunk.clock_mhz > 100


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_a_compiled_step_is_measured() -> None:
    found = measure(compiled=True, dtype=Dtype.BFLOAT16)
    assert found.status is Status.OK
    assert found.kernels["compile"] == "inductor"
    assert found.timing is not None
    assert found.timing.first_call_s > found.timing.latency_s
