from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import pytest
from fake_device import FakeDevice, FakeStep
from hand_made import make_workload

import atlasbench
from atlasbench.core.plan import Plan
from atlasbench.core.protocol import Protocol
from atlasbench.core.workload import Workload
from atlasbench.measure.timing import Sampler
from atlasbench.measure.turns import TurnTaker
from atlasbench.measure.workers import INTERFACE_VERSION, Worker, WorkerCallError, WorkerServer

HASTY = {"warmup_window": 1, "warmup_min_s": 0.0, "warmup_max_s": 0.05}
TURN = {"calls": 1, "discarded": 2, "counted": 3}


def warm_taker(*durations_s: float, is_asynchronous: bool = False) -> tuple[TurnTaker, FakeStep, FakeDevice]:
    """A taker whose step takes the last of these times when it is warm, until it is told otherwise."""
    device = FakeDevice(is_asynchronous=is_asynchronous)
    step = FakeStep(device, chain(durations_s, repeat(durations_s[-1])))
    sampler = Sampler(step, device, Protocol())
    sampler.warm_up()
    taker = TurnTaker(step, device, sampler, least_s=0.010)
    step.calls = 0
    device.chunk_sizes.clear()
    return taker, step, device


def test_a_turn_is_the_median_of_what_is_not_discarded() -> None:
    taker, step, device = warm_taker(0.004)
    step_times = iter([9.0, 9.0, 0.007, 0.004, 0.005])
    step._durations_s = step_times

    assert taker.take_turn(**TURN) == pytest.approx(0.005)
    assert next(step_times, None) is None
    assert device.chunk_sizes == [5]


def test_very_short_steps_are_timed_several_together() -> None:
    taker, step, _ = warm_taker(20e-6)

    assert taker.take_turn(calls=12, discarded=2, counted=3) == pytest.approx(20e-6)

    assert taker.calls == 11  # make a sample of 200 us and more
    assert step.calls == 12 * 5


def test_a_pace_is_the_fastest_iteration_so_that_other_programs_do_not_slow_it() -> None:
    taker, *_ = warm_taker(0.2, 0.004, *[0.050] * 300)

    assert taker.iteration_s == pytest.approx(0.004)


def test_a_pace_is_known_where_the_first_call_was_all_of_the_warm_up() -> None:
    taker, *_ = warm_taker(60.0)

    assert (taker.iteration_s, taker.calls) == (60.0, 1)


def test_an_asynchronous_device_takes_a_turn_in_one_chunk() -> None:
    taker, _, device = warm_taker(0.003, is_asynchronous=True)

    taker.take_turn(**TURN)

    assert device.chunk_sizes == [5]


@pytest.fixture(scope="module")
def server() -> Iterator[WorkerServer]:
    with WorkerServer() as server:
        yield server


@pytest.fixture
def worker(server: WorkerServer) -> Iterator[Worker]:
    with server.start_worker() as worker:
        yield worker


def ask(worker: Worker, function: str, *arguments: Any, **keywords: Any) -> Any:
    return worker.call(f"atlasbench.measure.turns:{function}", *arguments, timeout_s=60, **keywords)


def fields_of(**changes: Any) -> dict[str, Any]:
    workload = make_workload("vit_tiny_patch16_224", 32, **changes)
    return {name: getattr(workload, name) for name in asdict(workload)}


def test_a_worker_is_prepared_once_and_takes_turns_as_often_as_it_is_asked(worker: Worker) -> None:
    counted = ask(worker, "count_workload", fields_of())
    resolved = {**fields_of(), "options": counted["options"]}

    prepared = ask(worker, "prepare_turns", resolved, HASTY, threads=1, wants_memory=True, least_s=0.01)

    assert prepared["allocated_bytes"] is None  # a CPU has no allocator that would know
    assert 0 < prepared["iteration_s"] < 10
    assert prepared["calls"] >= 1
    assert all(0 < ask(worker, "take_turn", **TURN) < 10 for _ in range(3))


def test_counts_are_those_of_a_profile(worker: Worker) -> None:
    answer = ask(worker, "count_workload", fields_of())

    plan: Plan = worker.call("atlasbench.measure.jobs:plan_workload", Workload(**fields_of()), timeout_s=60)
    assert plan.counts is not None
    assert answer["counts"] == {
        "params": plan.counts.params,
        "flops": plan.counts.flops,
        "predicted_peak_bytes": plan.counts.predicted_peak_bytes,
    }
    assert answer["options"] == plan.workload.options


def test_the_files_that_a_model_imports_are_told_but_not_installed_packages(worker: Worker, tmp_path: Path) -> None:
    blocks = "import sqlite3; from torch import nn; pool = nn.AdaptiveAvgPool2d(1), nn.Flatten()"
    (tmp_path / "blocks.py").write_text(blocks)
    (tmp_path / "own.py").write_text(
        "from blocks import *\ndef build():\n    return nn.Sequential(*pool, nn.Linear(3, 2))\n"
    )
    workload = {**fields_of(), "model": f"{tmp_path / 'own.py'}:build", "device": "meta"}

    answer = ask(worker, "count_workload", workload)

    assert answer["files"] == [str(tmp_path / "blocks.py"), str(tmp_path / "own.py")]


def test_a_turn_before_anything_is_prepared_is_a_bug_that_is_said(worker: Worker) -> None:
    with pytest.raises(WorkerCallError, match=r"take_turn\(\) before prepare_turns\(\)"):
        ask(worker, "take_turn", **TURN)


def test_a_worker_says_which_interface_it_speaks_and_where_its_modules_come_from(worker: Worker) -> None:
    answer = ask(worker, "describe_source")

    package = Path(atlasbench.__file__).resolve().parent
    assert answer["interface_version"] == INTERFACE_VERSION
    assert str(package / "measure" / "turns.py") in answer["files"]
    assert all(Path(file).is_relative_to(package) for file in answer["files"])
