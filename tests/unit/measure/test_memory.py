from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from fake_device import FakeDevice

from atlasbench.core.record import Memory
from atlasbench.measure import resident
from atlasbench.measure.cpu_device import CpuDevice
from atlasbench.measure.device import PeakReading
from atlasbench.measure.memory import measure_memory

MIB = 2**20
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def fake_step(device: FakeDevice, *, resident_bytes: int = 1000, least_growth_bytes: int = 50):
    def run() -> None:
        device.log.append("step")

    class Step(SimpleNamespace):
        def __call__(self) -> None:
            run()

    return Step(resident_bytes=resident_bytes, least_growth_bytes=least_growth_bytes)


def test_the_peak_is_watched_around_one_step_and_read_after_waiting() -> None:
    device = FakeDevice(peak=PeakReading(peak_bytes=700, is_growth=False, reserved_bytes=900))
    memory = measure_memory(fake_step(device), device)
    assert device.log == ["synchronize", "reset", "step", "synchronize", "read"]
    assert memory == Memory(peak_bytes=700, method="allocated", reserved_bytes=900)


def test_growth_is_added_to_what_was_there_before_the_step() -> None:
    device = FakeDevice(peak=PeakReading(peak_bytes=50, is_growth=True))
    assert measure_memory(fake_step(device), device).peak_bytes == 1050


def test_growth_below_what_a_step_adds_is_unknown() -> None:
    device = FakeDevice(peak=PeakReading(peak_bytes=49, is_growth=True, note="cannot reset"))
    memory = measure_memory(fake_step(device), device)
    assert memory.peak_bytes is None
    assert memory.note == (
        "unknown: the resident set grew by 49 bytes, less than the 50 bytes that a step is known to add; cannot reset"
    )


class AllocatingStep:
    """Holds two tensors at once, then a third alone."""

    resident_bytes = 10 * MIB
    least_growth_bytes = 64 * MIB

    def __call__(self) -> None:
        first = torch.ones(64 * MIB, dtype=torch.uint8)
        second = torch.ones(32 * MIB, dtype=torch.uint8)
        del first, second
        torch.ones(80 * MIB, dtype=torch.uint8)


@linux_only
def test_the_cpus_peak_is_the_largest_sum_of_live_tensors_even_after_many_steps() -> None:
    step, device = AllocatingStep(), CpuDevice()
    for _ in range(5):
        step()
    for _ in range(2):
        memory = measure_memory(step, device)
        assert memory.method == "resident_growth"
        assert memory.peak_bytes == pytest.approx((10 + 64 + 32) * MIB, abs=3 * MIB)
        assert memory.note == ""


class SmallTensorsStep:
    """Tensors of a size that the C library keeps for reuse once freed: 20 at a time, then as many again."""

    resident_bytes = 0
    least_growth_bytes = 10 * MIB

    def __call__(self) -> None:
        for _ in range(2):
            held = [torch.ones(MIB // 2 + 4096 * index, dtype=torch.uint8) for index in range(20)]
            del held


@linux_only
def test_memory_that_earlier_steps_freed_is_not_missed() -> None:
    # In a process of its own, as a measurement is: what other tests left in the heap would take the tensors in.
    code = "from test_memory import *; step = SmallTensorsStep(); step(); step(); "
    code += "print(measure_memory(step, CpuDevice()).peak_bytes)"
    peak = int(subprocess.check_output([sys.executable, "-c", code], cwd=Path(__file__).parent, text=True))
    expected = sum(MIB // 2 + 4096 * index for index in range(20))
    assert expected * 0.98 <= peak <= expected * 1.15


def test_where_the_peak_cannot_be_reset_the_note_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resident, "_reset_peak", lambda: False)
    device = CpuDevice()
    memory = measure_memory(AllocatingStep(), device)
    assert "the system cannot reset the peak" in memory.note
    assert memory.peak_bytes is None or memory.peak_bytes >= 100 * MIB


def test_without_proc_the_peak_comes_from_getrusage(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    if sys.platform == "linux":
        true_peak = resident.peak_resident_bytes()
        true_now = resident.resident_bytes()
    monkeypatch.setattr(resident, "_STATUS", tmp_path / "missing")
    monkeypatch.setattr(resident, "_CLEAR_REFS", tmp_path / "missing" / "clear_refs")
    watched = resident.ResidentPeak.start()
    assert watched.limitation == resident.NO_RESET
    assert watched.level_bytes > 10 * MIB
    if sys.platform == "linux":
        assert resident.resident_bytes() == pytest.approx(true_now, rel=0.5)
        assert resident.peak_resident_bytes() >= true_peak * 0.5


@linux_only
def test_a_sandbox_that_accepts_the_reset_and_does_nothing_is_noticed(monkeypatch, tmp_path) -> None:
    status = tmp_path / "status"
    status.write_text("VmHWM:\t  900000 kB\nVmRSS:\t  500000 kB\n")
    monkeypatch.setattr(resident, "_STATUS", status)
    monkeypatch.setattr(resident, "_CLEAR_REFS", tmp_path / "clear_refs")
    assert resident.ResidentPeak.start().limitation == resident.NO_RESET
    status.write_text("VmHWM:\t  500100 kB\nVmRSS:\t  500000 kB\n")
    watched = resident.ResidentPeak.start()
    assert watched.limitation == ""
    assert watched.level_bytes == 500_000 * 1024
    status.write_text("VmHWM:\t  700000 kB\nVmRSS:\t  500000 kB\n")
    assert watched.growth_bytes() == 200_000 * 1024


def test_a_peak_is_not_read_before_it_is_watched() -> None:
    with pytest.raises(RuntimeError, match="before reset_peak_memory"):
        CpuDevice().read_peak_memory()


def test_a_memory_is_a_value() -> None:
    memory = Memory(peak_bytes=1, method="allocated")
    with pytest.raises(dataclasses.FrozenInstanceError):
        memory.peak_bytes = 2  # type: ignore[misc]
