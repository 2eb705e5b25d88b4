from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from atlasbench.core.errors import UnknownModelError, UnsupportedError
from atlasbench.core.protocol import Protocol
from atlasbench.core.record import Measurement, Status
from atlasbench.core.resolution import Resolution
from atlasbench.core.workload import AttentionBackend, Dtype, Mode, Workload
from atlasbench.measure import observe
from atlasbench.measure.cpu_device import CpuDevice
from atlasbench.measure.observe import measure_workload, quiet_collector, use_threads
from atlasbench.models.built import BuiltModel
from atlasbench.models.layers import selective_scan

BRIEF = Protocol(
    warmup_window=2, warmup_min_s=0, min_samples=20, min_time_s=0, give_up_s=0.01, half_width=1.0, warmup_max_s=5
)


@pytest.fixture(autouse=True)
def process_as_it_was() -> Iterator[None]:
    """Measuring changes the process for good; the other tests want it back."""
    threads = torch.get_num_threads()
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    yield
    torch.set_num_threads(threads)
    for task in observe._tasks() if cores else []:
        os.sched_setaffinity(task, cores)


class Tiny(nn.Module):
    """Gives logits; does something else on the call that is asked for."""

    def __init__(self, on_call: dict[int, Exception] | None = None) -> None:
        super().__init__()
        self.head = nn.Linear(3 * 64 * 64, 1000)
        self.on_call = on_call or {}
        self.calls = 0

    def forward(self, images: Tensor) -> Tensor:
        self.calls += 1
        if self.calls in self.on_call:
            raise self.on_call[self.calls]
        tokens = images.flatten(2)[:, None].contiguous()
        tokens = functional.scaled_dot_product_attention(tokens, tokens, tokens)
        return self.head(tokens.flatten(1))


def measure(
    model: nn.Module | Exception, notes: tuple[str, ...] = (), on_phase=lambda phase: None, **fields
) -> Measurement:
    asked = {}

    def build(name: str, **arguments: object) -> BuiltModel:
        asked.update(arguments, name=name)
        if isinstance(model, Exception):
            raise model
        return BuiltModel(model=model, notes=notes)

    options = {"model": "tiny", "resolution": Resolution(64, 64), "batch_size": 64, "scale_drop": "2-10", **fields}
    workload = Workload(**options)
    measurement = measure_workload(workload, BRIEF, threads=1, build=build, on_phase=on_phase)
    if asked:
        assert asked == {
            "name": "tiny",
            "resolution": workload.resolution,
            "options": workload.options,
            "scale_drop": "2-10",
            "probe": False,
        }
    return measurement


@pytest.mark.parametrize("mode", list(Mode))
def test_a_workload_gives_times_memory_kernels_and_phases(mode: Mode) -> None:
    phases: list[str] = []
    found = measure(Tiny(), ("padded",), phases.append, mode=mode)
    assert (found.status, found.message) == (Status.OK, "")
    assert found.notes[0] == "padded"
    assert found.timing is not None
    assert len(found.timing.samples_s) >= 20
    assert found.timing.latency_low_s <= found.timing.latency_s <= found.timing.latency_high_s
    assert found.timing.first_call_s > 0
    assert found.memory is not None
    assert found.memory.method == "resident_growth"
    assert found.kernels["attention"] in ("flash", "math")
    assert phases == ["setup", "build", "warmup", "timing", "memory"] == list(found.phases_s)
    assert found.counts is None


class Scans(nn.Module):
    """Gives logits, with or without a selective scan before them."""

    def __init__(self, *, scans: bool) -> None:
        super().__init__()
        self.head = nn.Linear(3, 5)
        self.scans = scans

    def forward(self, images: Tensor) -> Tensor:
        u = images.flatten(2)
        if self.scans:
            u = selective_scan(u, u, -torch.ones(3, 2), u[:, :2], u[:, :2])
        return self.head(u.mean(-1))


@pytest.mark.parametrize("mode", list(Mode))
def test_a_selective_scan_without_its_fast_kernel_is_noted(mode: Mode) -> None:
    note = "selective scan: PyTorch (mamba-ssm's kernel needs CUDA)"
    found = measure(Scans(scans=True), mode=mode)
    assert found.status is Status.OK, found.message
    assert found.kernels["scan"] == "pytorch"
    assert found.notes.count(note) == 1
    assert not [text for text in measure(Scans(scans=False), mode=mode).notes if "scan" in text]


def test_peak_memory_holds_parameters_and_input() -> None:
    found = measure(Tiny())
    at_least = 4 * (3 * 64 * 64 * 1000 + 1000) + 4 * 64 * 3 * 64 * 64
    assert found.memory is not None
    assert found.memory.peak_bytes is not None
    assert at_least < found.memory.peak_bytes < 1.3 * at_least


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system cannot pin threads")
def test_exactly_the_threads_and_cores_asked_for_are_used() -> None:
    seen = []

    class Looking(Tiny):
        def forward(self, images: Tensor) -> Tensor:
            seen.append((torch.get_num_threads(), len(os.sched_getaffinity(0))))
            return super().forward(images)

    measure(Looking())
    assert set(seen) == {(1, 1)}


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system cannot pin threads")
def test_more_threads_than_cores_are_noted() -> None:
    cores = len(os.sched_getaffinity(0))
    assert f"{cores + 1} threads share {cores} cores" in use_threads(cores + 1)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_threads_that_exist_already_are_pinned_too() -> None:
    torch.ones(2**22).add_(1)  # starts the pool
    use_threads(1)
    assert {len(os.sched_getaffinity(task)) for task in observe._tasks()} == {1}


def test_garbage_is_not_collected_while_times_are_taken() -> None:
    enabled = []

    class Looking(Tiny):
        def forward(self, images: Tensor) -> Tensor:
            enabled.append(gc.isenabled())
            return super().forward(images)

    measure(Looking())
    assert set(enabled) == {False}
    assert gc.isenabled()
    assert gc.get_freeze_count() == 0


def test_a_collector_that_was_off_stays_off() -> None:
    gc.disable()
    try:
        with quiet_collector():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_the_same_workload_has_the_same_weights() -> None:
    weights = []

    def build(name: str, **_: object) -> BuiltModel:
        model = Tiny()
        weights.append(model.head.weight.detach().clone())
        return BuiltModel(model=model)

    workload = Workload(model="tiny", resolution=Resolution(64, 64))
    for _ in range(2):
        measure_workload(workload, BRIEF, threads=1, build=build)
    assert torch.equal(*weights)


OUT_OF_MEMORY = RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 7 bytes.\nAnd a trace")


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (
            OUT_OF_MEMORY,
            Status.OOM,
            "out of memory: DefaultCPUAllocator: can't allocate memory: you tried to allocate 7",
        ),
        (MemoryError(), Status.OOM, "out of memory: MemoryError (in phase warmup)"),
        (UnsupportedError("The window would change."), Status.UNSUPPORTED, "The window would change."),
        (
            NotImplementedError("\"erfinv\" not implemented for 'Half'"),
            Status.UNSUPPORTED,
            "\"erfinv\" not implemented for 'Half'",
        ),
        (
            RuntimeError("Expected canUse32BitIndexMath(x) to be true"),
            Status.UNSUPPORTED,
            "Expected canUse32BitIndexMath",
        ),
        (ValueError("bad shape\nsecond line"), Status.ERROR, "ValueError: bad shape (in phase warmup)"),
        (NotImplementedError("forward is missing"), Status.ERROR, "NotImplementedError: forward is missing"),
        (AssertionError(), Status.ERROR, "AssertionError (in phase warmup)"),
    ],
)
def test_what_goes_wrong_in_a_step_is_a_status_with_its_reason(error: Exception, status: Status, message: str) -> None:
    found = measure(Tiny({1: error}))
    assert found.status is status
    assert found.message.startswith(message)
    assert "\n" not in found.message
    assert (found.timing, found.memory) == (None, None)
    assert set(found.phases_s) == {"setup", "build", "warmup"}


def test_running_out_of_memory_under_a_compiler_is_still_running_out_of_memory() -> None:
    wrapped = RuntimeError("backend='inductor' raised")
    wrapped.__cause__ = OUT_OF_MEMORY
    assert measure(Tiny({1: wrapped})).status is Status.OOM


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (UnsupportedError("Not at this size."), Status.UNSUPPORTED, "Not at this size."),
        (UnknownModelError("atlsa", ["atlas_s"]), Status.ERROR, "Unknown model 'atlsa'."),
        (MemoryError(), Status.OOM, "out of memory: MemoryError (in phase build)"),
    ],
)
def test_what_goes_wrong_in_building_is_a_status_too(error: Exception, status: Status, message: str) -> None:
    found = measure(error)
    assert found.status is status
    assert found.message.startswith(message)


def test_a_failure_while_timing_says_so() -> None:
    found = measure(Tiny({12: OUT_OF_MEMORY}))
    assert found.status is Status.OOM
    assert found.message.endswith("(in phase timing)")


def test_times_stand_when_the_memory_pass_fails() -> None:
    class FailsLast(Tiny):
        fail = False

        def forward(self, images: Tensor) -> Tensor:
            if self.fail:
                raise OUT_OF_MEMORY
            return super().forward(images)

    model = FailsLast()

    def on_phase(phase: str) -> None:
        model.fail = phase == "memory"

    found = measure(model, on_phase=on_phase)
    assert found.status is Status.OK
    assert found.timing is not None
    assert found.memory is not None
    assert found.memory.peak_bytes is None
    assert found.memory.method == "resident_growth"
    assert found.memory.note.startswith("unknown: the memory pass failed after the times were taken: out of memory")
    assert f"peak memory: {found.memory.note}" in found.notes


def test_a_dtype_that_the_device_cannot_do_is_unsupported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CpuDevice, "why_unsupported", lambda self, dtype: "too old")
    found = measure(Tiny(), dtype=Dtype.PURE_BFLOAT16)
    assert (found.status, found.message) == (Status.UNSUPPORTED, "cpu cannot do pure-bfloat16: too old.")


def test_an_attention_kernel_that_is_not_there_is_unsupported() -> None:
    found = measure(Tiny(), attention_backend=AttentionBackend.CUDNN)
    assert found.status is Status.UNSUPPORTED


def test_a_device_that_is_not_there_is_an_error_of_this_workload() -> None:
    found = measure(Tiny(), device="cuda:99")
    assert found.status is Status.ERROR
    assert "cuda:99 is not there" in found.message


def test_logits_that_are_not_finite_are_noted_and_measured() -> None:
    class Broken(Tiny):
        def forward(self, images: Tensor) -> Tensor:
            return super().forward(images) * float("nan")

    found = measure(Broken())
    assert found.status is Status.OK
    assert any("not finite" in note for note in found.notes)


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, SystemExit])
def test_interruptions_pass_through(interruption: type[BaseException]) -> None:
    class Interrupted(Tiny):
        def forward(self, images: Tensor) -> Tensor:
            raise interruption

    with pytest.raises(interruption):
        measure(Interrupted())


@pytest.mark.parametrize(("share", "is_flagged"), [(None, False), (0.04, False), (0.3, True)])
def test_a_share_of_the_cores_that_others_took_is_in_the_record_and_flagged(
    monkeypatch: pytest.MonkeyPatch, share: float | None, is_flagged: bool
) -> None:
    monkeypatch.setattr(observe, "foreign_share", lambda before, after, cores: share)
    timing = measure(Tiny()).timing
    assert timing is not None
    assert timing.foreign_core_share == share
    assert ("contended" in timing.flags) is is_flagged
