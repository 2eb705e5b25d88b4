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

RULES = {"turn_s": 0.010, "discard_s": 0.005, "slow_iteration_s": 0.050}
HASTY = {"warmup_window": 1, "warmup_min_s": 0.0, "warmup_max_s": 0.05}


def warm_taker(*durations_s: float, is_asynchronous: bool = False) -> tuple[TurnTaker, FakeStep, FakeDevice]:
    """A taker whose step takes the last of these times when it is warm, until it is told otherwise."""
    device = FakeDevice(is_asynchronous=is_asynchronous)
    step = FakeStep(device, chain(durations_s, repeat(durations_s[-1])))
    sampler = Sampler(step, device, Protocol())
    sampler.warm_up()
    taker = TurnTaker(step, device, sampler, **RULES)
    step.calls = 0
    device.chunk_sizes.clear()
    return taker, step, device


@pytest.mark.parametrize(
    ("iteration_s", "discarded", "counted"),
    [
        (0.001, 5, 10),
        (0.003, 2, 4),
        (0.006, 1, 2),
        (0.010, 1, 1),
        (0.050, 1, 1),
        (0.051, 0, 1),
        (5.0, 0, 1),
    ],
    ids=lambda value: f"{value}",
)
def test_a_turn_discards_5_ms_and_counts_10_ms(iteration_s: float, discarded: int, counted: int) -> None:
    taker, step, _ = warm_taker(iteration_s)

    assert taker.take_turn() == pytest.approx(iteration_s)

    assert (taker.discarded, taker.counted) == (discarded, counted)
    assert step.calls == discarded + counted


def test_a_turn_is_the_median_of_what_is_not_discarded() -> None:
    taker, step, device = warm_taker(0.004)  # discards 2, counts 3
    step_times = iter([9.0, 9.0, 0.007, 0.004, 0.005])
    step._durations_s = step_times

    assert taker.take_turn() == pytest.approx(0.005)
    assert next(step_times, None) is None
    assert device.chunk_sizes == [5]


def test_very_short_steps_are_timed_several_together() -> None:
    taker, step, _ = warm_taker(20e-6)  # 11 calls make a sample of 200 us and more

    assert taker.take_turn() == pytest.approx(20e-6)

    calls = step.calls // (taker.discarded + taker.counted)
    assert calls >= 10
    assert taker.counted * calls * 20e-6 >= RULES["turn_s"]
    assert taker.discarded * calls * 20e-6 >= RULES["discard_s"]


def test_an_asynchronous_device_takes_a_turn_in_one_chunk() -> None:
    taker, _, device = warm_taker(0.003, is_asynchronous=True)

    taker.take_turn()

    assert device.chunk_sizes == [taker.discarded + taker.counted] == [6]


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

    prepared = ask(worker, "prepare_turns", resolved, HASTY, threads=1, wants_memory=True, **RULES)

    assert prepared == {"allocated_bytes": None}  # a CPU has no allocator that would know
    assert all(0 < ask(worker, "take_turn") < 10 for _ in range(3))


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
        ask(worker, "take_turn")


def test_a_worker_says_which_interface_it_speaks_and_where_its_modules_come_from(worker: Worker) -> None:
    answer = ask(worker, "describe_source")

    package = Path(atlasbench.__file__).resolve().parent
    assert answer["interface_version"] == INTERFACE_VERSION
    assert str(package / "measure" / "turns.py") in answer["files"]
    assert all(Path(file).is_relative_to(package) for file in answer["files"])
