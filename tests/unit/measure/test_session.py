from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hand_made import make_workload

from atlasbench.core.errors import DeviceError, InvalidOptionError, UnknownModelError
from atlasbench.core.plan import Plan
from atlasbench.core.protocol import Protocol
from atlasbench.core.record import Counts, Measurement, Status
from atlasbench.core.resolution import Resolution
from atlasbench.core.workload import Workload
from atlasbench.measure import session as session_module
from atlasbench.measure.session import Session

# A time that is no measurement, in as few steps as can be.
HASTY = Protocol(
    warmup_window=1, warmup_min_s=0, min_samples=3, floor_samples=3, min_time_s=0.001, give_up_s=0.002,
    hard_stop_s=0.003, warmup_max_s=0.05, timeout_s=60,
)  # fmt: skip

MODELS = """
    import os, signal, sys, time
    import torch
    from torch import nn
    from atlasbench.core.errors import UnsupportedError

    def small(num_classes=10):
        return nn.Sequential(nn.Conv2d(3, 8, 16, 16), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, num_classes))

    def boom():
        raise ZeroDivisionError("boom")

    def crash():
        os.kill(os.getpid(), signal.SIGSEGV)

    def endless():
        time.sleep(600)

    def leaves():
        sys.exit(5)

    def unsupported():
        raise UnsupportedError("not at this size")

    class Dies(nn.Module):
        def forward(self, x):
            if x.device.type == "cpu" and type(x) is torch.Tensor:
                os.kill(os.getpid(), signal.SIGKILL)
            return x.mean((2, 3))

    def dies():
        return Dies()

    class Sleeps(Dies):
        def forward(self, x):
            if type(x) is torch.Tensor:
                time.sleep(600)
            return x.mean((2, 3))

    def sleeps():
        return Sleeps()
"""


@pytest.fixture(scope="module")
def session() -> Iterator[Session]:
    with Session(threads=1) as session:
        yield session


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("own") / "net.py"
    path.write_text(textwrap.dedent(MODELS))
    return path


def tiny(**fields: Any) -> Workload:
    return make_workload("atlas_ti", 64, **{"scale_drop": "12", **fields})


def make_plan(session: Session, workload: Workload) -> Plan:
    plan = session.plan(workload)
    assert isinstance(plan, Plan), plan
    return plan


def test_a_plan_has_the_resolved_workload_and_its_counts(session: Session) -> None:
    plan = make_plan(session, tiny(options={"num_classes": 100, "mlp_ratio": 2.0}))

    assert plan.family == "atlas"
    assert plan.workload.options == {"mlp_ratio": 2.0}  # 100 classes are the default
    assert plan.counts is not None
    assert plan.counts.flops == 2 * plan.counts.macs > 0


def test_a_planned_workload_is_measured(session: Session) -> None:
    phases: list[str] = []

    measurement = session.measure(make_plan(session, tiny()), HASTY, phases.append)

    assert measurement.status is Status.OK, measurement.message
    assert measurement.timing is not None
    assert measurement.timing.count >= 3
    assert phases == ["setup", "build", "warmup", "timing", "memory"]


@pytest.mark.parametrize(
    ("function", "status", "message"),
    [
        ("boom", Status.ERROR, "counting: ZeroDivisionError: boom"),
        ("leaves", Status.ERROR, "counting: SystemExit: 5"),
        ("crash", Status.ERROR, "counting: the worker process was ended by SIGSEGV"),
        ("unsupported", Status.UNSUPPORTED, "not at this size"),
        ("endless", Status.TIMEOUT, "counting: took longer than 2 s"),
    ],
)
def test_what_goes_wrong_while_counting_is_a_result(
    session: Session, own: Path, function: str, status: Status, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_module, "COUNT_TIMEOUT_S", 2.0)

    measurement = session.plan(make_workload(f"{own}:{function}", 64))

    assert isinstance(measurement, Measurement)
    assert (measurement.status, measurement.message) == (status, message)
    assert isinstance(session.plan(tiny()), Plan)


@pytest.mark.parametrize(
    ("function", "status", "message", "timeout_s"),
    [
        ("dies", Status.ERROR, "the worker process was ended by SIGKILL", 60),
        ("sleeps", Status.TIMEOUT, "took longer than 2 s (--timeout sets the limit)", 2),
    ],
)
def test_what_goes_wrong_while_measuring_is_a_result(
    session: Session, own: Path, function: str, status: Status, message: str, timeout_s: float
) -> None:
    plan = make_plan(session, make_workload(f"{own}:{function}", 64))

    measurement = session.measure(plan, Protocol(timeout_s=timeout_s))

    assert (measurement.status, measurement.message) == (status, message)


@pytest.mark.parametrize("force", [False, True])
def test_what_is_predicted_not_to_fit_is_refused_unless_forced(session: Session, own: Path, force: bool) -> None:
    plan = make_plan(session, make_workload(f"{own}:small", 64))
    counts = Counts(params=1, macs=1, flops=2, flops_by_part={}, activation_bytes=1, predicted_peak_bytes=10**18)
    oversized = Plan(workload=plan.workload, family="", notes=(), counts=counts)
    session._force = force

    try:
        measurement = session.measure(oversized, HASTY)
    finally:
        session._force = False

    if force:
        assert measurement.status is Status.OK, measurement.message
    else:
        assert measurement.status is Status.OOM
        assert measurement.message.startswith("not tried: predicted peak 1.00 EB, free ")


def test_a_name_or_an_option_that_is_wrong_is_refused_before_anything_is_planned(session: Session, own: Path) -> None:
    with pytest.raises(UnknownModelError, match="Did you mean 'atlas_ti'"):
        session.check_model(make_workload("atlas_tii", 64))
    with pytest.raises(InvalidOptionError, match="does not take the option 'nonsense'"):
        session.check_model(tiny(options={"nonsense": 1}))
    with pytest.raises(InvalidOptionError, match="has no function 'nothing'"):
        session.check_model(make_workload(f"{own}:nothing", 64))
    session.check_model(tiny())


@pytest.mark.parametrize("function", ["boom", "crash", "unsupported"])
def test_what_only_building_shows_is_told_when_its_turn_comes(session: Session, own: Path, function: str) -> None:
    session.check_model(make_workload(f"{own}:{function}", 64))


def test_two_files_may_import_different_modules_of_the_same_name(session: Session, tmp_path: Path) -> None:
    for folder, channels in (("one", 8), ("two", 16)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "sibling_of_net.py").write_text(f"channels = {channels}\n")
        (tmp_path / folder / "net.py").write_text(
            "from sibling_of_net import channels\nfrom torch import nn\n"
            "def build(): return nn.Sequential(nn.Conv2d(3, channels, 1, bias=False), nn.Flatten())\n"
        )

    counts = [
        make_plan(session, make_workload(f"{tmp_path}/{folder}/net.py:build", 64)).counts for folder in ("one", "two")
    ]

    assert [item.params for item in counts if item] == [24, 48]


def test_a_file_may_import_its_sibling_when_it_is_measured(session: Session, tmp_path: Path) -> None:
    (tmp_path / "sibling_of_mine.py").write_text("from torch import nn\nhead = nn.Linear\n")
    (tmp_path / "mine.py").write_text(
        "from torch import nn\n"
        "def build():\n"
        "    from sibling_of_mine import head\n"
        "    return nn.Sequential(nn.Flatten(), head(3 * 64 * 64, 5))\n"
    )

    measurement = session.measure(make_plan(session, make_workload(f"{tmp_path}/mine.py:build", 64)), HASTY)

    assert measurement.status is Status.OK, measurement.message


def test_devices_are_resolved_and_refused(session: Session) -> None:
    assert session.choose_device("cpu", ("auto", "bfloat16")) == ("cpu", ("float32", "bfloat16"))
    assert session.choose_device("meta", ()) == ("meta", ())
    with pytest.raises(DeviceError, match="'tpu' is not a device"):
        session.choose_device("tpu", ())


def test_the_environment_names_the_machine_and_the_versions(session: Session) -> None:
    environment = session.probe_environment("cpu")

    assert environment.machine
    assert environment.threads >= 1
    assert {"python", "torch", "timm", "atlasbench"} <= set(environment.versions)


def test_the_limits_of_the_device_are_measured_once_for_each_arithmetic(session: Session) -> None:
    limits = session.measure_limits("cpu", ("float32", "bfloat16", "pure-bfloat16"))

    assert limits is not None
    assert set(limits.matmul_flops_per_s) == {"float32", "bfloat16"}
    assert min(limits.matmul_flops_per_s.values()) > 1e8
    assert limits.copy_bytes_per_s > 1e8


def test_the_meta_device_has_no_limits(session: Session) -> None:
    assert session.measure_limits("meta", ("float32",)) is None


def test_a_counting_process_that_is_lost_is_replaced(session: Session) -> None:
    make_plan(session, tiny())
    assert session._counter is not None
    os.kill(session._counter.pid, signal.SIGKILL)

    lost = session.plan(tiny())

    assert isinstance(lost, Measurement)
    assert lost.message == "counting: the worker process was ended by SIGKILL"
    assert isinstance(session.plan(tiny()), Plan)


@pytest.mark.slow
def test_a_server_that_is_lost_is_replaced() -> None:
    with Session(threads=1) as session:
        plan = make_plan(session, tiny())
        os.kill(session._server.pid, signal.SIGKILL)
        session._server._process.wait()

        assert session.measure(plan, HASTY).status is Status.OK


PROFILE = (
    "import atlasbench; print(atlasbench.profile('atlas_ti', resolutions=64, device='meta')[0].measurement.status)"
)
IN_A_THREAD = f"""
import threading
def work():
    {PROFILE}
thread = threading.Thread(target=work)
thread.start()
thread.join()
"""


@pytest.mark.slow
@pytest.mark.parametrize("code", [PROFILE, IN_A_THREAD], ids=["plain", "thread"])
@pytest.mark.parametrize("how", ["file", "-c", "stdin"])
def test_a_program_needs_no_guard_to_profile(code: str, how: str, tmp_path: Path) -> None:
    (tmp_path / "statistics.py").write_text("raise RuntimeError('not the one of the standard library')")
    folder = tmp_path / "scripts"
    folder.mkdir()
    (folder / "script.py").write_text(code)
    arguments = {"file": [str(folder / "script.py")], "-c": ["-c", code], "stdin": ["-"]}[how]

    done = subprocess.run(
        [sys.executable, *arguments], input=code, capture_output=True, text=True, check=False, timeout=120,
        cwd=tmp_path if how == "file" else folder,
    )  # fmt: skip

    assert (done.returncode, done.stdout, done.stderr) == (0, "ok\n", "")


def test_profile_takes_one_value_or_several_and_names_what_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    import atlasbench
    from atlasbench import api

    seen: list[Any] = []

    class StopHereError(Exception):
        pass

    def stop(request: Any, **_: Any) -> Any:
        seen.append(request)
        raise StopHereError

    monkeypatch.setattr(api, "open_sweep", stop)
    with pytest.raises(StopHereError):
        atlasbench.profile("a", resolutions=64, batch_sizes=2, scale_drops="2-10", modes="train", dtypes="float32")
    with pytest.raises(StopHereError):
        atlasbench.profile(["a"], resolutions=[64, (32, 64)], batch_sizes=[2], num_classes=7)

    assert [request.resolutions for request in seen] == [
        (Resolution(64, 64),),
        (Resolution(64, 64), Resolution(32, 64)),
    ]
    assert (seen[0].models, seen[0].scale_drops, seen[0].batch_sizes) == (("a",), ("2-10",), (2,))
    assert seen[1].options == {"num_classes": 7}
    for wrong, message in (
        ({"modes": "dream"}, "modes: 'dream' is not one of infer, train."),
        ({"dtypes": ["int8"]}, "dtypes: 'int8' is not one of auto, float32"),
        ({"resolutions": "big"}, "'big' is not a resolution"),
        ({"num_classes": -1}, "must be 0 or more, got -1"),
        ({"attention_backend": "best"}, "attention_backend: 'best' is not one of auto, math"),
    ):
        with pytest.raises(atlasbench.api.InvalidWorkloadError, match=message):  # type: ignore[attr-defined]
            atlasbench.profile("a", **wrong)  # type: ignore[arg-type]
