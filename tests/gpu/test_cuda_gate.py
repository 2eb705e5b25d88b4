"""The gate on a real GPU; skips itself without one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from atlasbench.core.protocol import QUICK
from atlasbench.core.resolution import Resolution
from atlasbench.core.workload import Dtype, Workload
from atlasbench.measure.session import Session
from atlasbench.sweep.gate_dealers import LaunchDealer, Terms
from atlasbench.sweep.gate_sides import Contender, count_side

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.slow,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

NET = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 256, 16, 16)
        self.head = nn.Linear(256, 10)

    def forward(self, x):
        for _ in range({times}):
            y = self.stem(x)
        held = torch.empty({held_mib} * 2**20, dtype=torch.uint8, device=x.device)
        return self.head(y.mean((2, 3)))
"""
MODEL = "net.py:Net --res 256 --batch 64 --device cuda"


def write_net(folder: Path, *, times: int = 1, held_mib: int = 1) -> None:
    (folder / "net.py").write_text(NET.format(times=times, held_mib=held_mib))


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    write_net(tmp_path)
    identity = ("-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
    for command in (("init", "--quiet"), ("add", "."), (*identity, "commit", "--quiet", "--message", "base")):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    return tmp_path


def gate(folder: Path, command: str) -> tuple[int, dict[str, Any]]:
    arguments = ["gate", "--format", "json", "--max-time", "20", *command.split()]
    ended = subprocess.run(
        [sys.executable, "-m", "atlasbench", *arguments], cwd=folder, capture_output=True, text=True, check=False
    )
    assert ended.returncode in (0, 1), ended.stderr
    return ended.returncode, json.loads(ended.stdout)


def counted(found: dict[str, Any]) -> dict[str, tuple[int, int]]:
    (workload,) = found["workloads"]
    return {item["name"]: (item["base"], item["current"]) for item in workload["counted"]}


def test_equal_sides_pass_and_hold_the_same_memory(repository: Path) -> None:
    code, found = gate(repository, f"--against HEAD -- {MODEL}")
    assert code == 0
    assert found["workloads"][0]["pairs"] >= 10
    before, now = counted(found)["peak_allocated_bytes"]
    assert before == now > 2**20


def test_more_work_fails(repository: Path) -> None:
    write_net(repository, times=4)
    code, found = gate(repository, f"--against HEAD -- {MODEL}")
    assert code == 1
    assert found["workloads"][0]["verdict"] == "slower"


def test_memory_that_no_count_predicts_is_found_in_the_allocator(repository: Path) -> None:
    write_net(repository, held_mib=512)
    code, found = gate(repository, f"--against HEAD -- {MODEL}")
    assert code == 1
    before, now = counted(found)["peak_allocated_bytes"]
    assert now - before >= 400 * 2**20
    assert found["workloads"][0]["is_worse"]


def test_a_ratio_to_another_model_is_stored_and_compared(repository: Path) -> None:
    code, _ = gate(repository, "--relative-to vit_ti --write ratios.json resnet18 --res 224 --device cuda")
    assert code == 0
    code, found = gate(repository, "--relative-to vit_ti --ratio ratios.json resnet18 --res 224 --device cuda")
    assert code == 0
    assert found["workloads"][0]["pairs"] >= 10


def test_sides_that_are_launched_for_each_turn_take_them() -> None:
    with Session() as session:
        workload = Workload(model="vit_ti", resolution=Resolution(224, 224), device="cuda:0", dtype=Dtype.BFLOAT16)
        sides = [count_side(Contender(source=session, workload=workload, is_current=now)) for now in (False, True)]
        dealer = LaunchDealer(*sides, Terms(protocol=QUICK, threads=1))
        with dealer.launch_pair(base_first=True) as (base, current):
            assert 0 < base.take_turn() < 1
            assert 0 < current.take_turn() < 1
