from __future__ import annotations

from types import SimpleNamespace

import pytest

from atlasbench.measure import nvml


class NVMLError(Exception):
    pass


def refuse(*_: object) -> None:
    raise NVMLError("not supported")


def find_handle(uuid: str) -> str:
    if uuid != "GPU-1234":
        raise NVMLError("not found")
    return "handle"


def fake_nvml(**functions: object) -> SimpleNamespace:
    known: dict[str, object] = {
        "NVMLError": NVMLError,
        "NVML_CLOCK_SM": 1,
        "NVML_CLOCK_MEM": 2,
        "nvmlInit": lambda: None,
        "nvmlDeviceGetHandleByUUID": find_handle,
        "nvmlDeviceGetClockInfo": lambda handle, kind: 1980,
        "nvmlDeviceGetPowerManagementLimit": lambda handle: 700_000,
        "nvmlDeviceGetMaxClockInfo": refuse,
        "nvmlSystemGetDriverVersion": lambda: b"570.1",
    }
    return SimpleNamespace(**{**known, **functions})


def use_nvml(monkeypatch: pytest.MonkeyPatch, fake: SimpleNamespace) -> None:
    monkeypatch.setattr(nvml.importlib, "import_module", lambda name: fake)


@pytest.mark.parametrize(
    "function", ["nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetCurrentClocksThrottleReasons"]
)
def test_throttle_reasons_are_words_under_either_name_of_the_call(monkeypatch, function: str) -> None:
    idle_and_user_set = 0x1 | 0x2
    use_nvml(monkeypatch, fake_nvml(**{function: lambda handle: idle_and_user_set | 0x4 | 0x40}))
    gpu = nvml.NvmlGpu.find("1234")
    assert gpu is not None
    assert gpu.read_clock() == nvml.GpuClock(
        clock_mhz=1980, throttle_reasons=("power cap", "hardware thermal slowdown")
    )


def test_an_idle_gpu_or_one_with_clocks_set_by_its_owner_is_not_throttled(monkeypatch: pytest.MonkeyPatch) -> None:
    use_nvml(monkeypatch, fake_nvml(nvmlDeviceGetCurrentClocksEventReasons=lambda handle: 0x3))
    gpu = nvml.NvmlGpu.find("GPU-1234")
    assert gpu is not None
    assert gpu.read_clock().throttle_reasons == ()


def test_what_nvml_cannot_read_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    use_nvml(monkeypatch, fake_nvml())
    gpu = nvml.NvmlGpu.find("1234")
    assert gpu is not None
    assert gpu.settings() == {"power_limit_w": "700"}
    assert gpu.read_clock().throttle_reasons == ()
    assert gpu.driver() == "570.1"


def test_without_nvml_or_with_an_unknown_gpu_there_is_nothing_to_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    use_nvml(monkeypatch, fake_nvml())
    assert nvml.NvmlGpu.find("another") is None

    def not_installed(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(nvml.importlib, "import_module", not_installed)
    assert nvml.NvmlGpu.find("1234") is None
