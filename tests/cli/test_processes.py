"""The program as a process: killed, interrupted, piped, and on a terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import random
import re
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil
import pytest

import atlasbench
from atlasbench.store.jsonl import load_records

PROGRAM = [sys.executable, "-c", "from atlasbench.cli.app import main; main()"]
HASTY = (
    "--timing warmup_window=1 warmup_min_s=0 warmup_max_s=0.05 min_samples=3 floor_samples=3 min_time_s=0.001 "
    "give_up_s=0.002 hard_stop_s=0.003 --threads 1"
)
SIZES = "32 48 64 80 96 112 128 144"

SLOW_AT_64 = """
import time, torch
from torch import nn

class Net(nn.Module):
    def forward(self, x):
        if x.shape[-1] == 64 and type(x) is torch.Tensor:
            time.sleep(600)
        return x.mean((2, 3))

def build():
    return Net()
"""

pytestmark = pytest.mark.slow


def start(folder: Path, command: str, *, own_group: bool = True) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*PROGRAM, *command.split()],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=own_group,
    )


def family_of(process: subprocess.Popen[str]) -> list[psutil.Process]:
    try:
        return psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def assert_gone(processes: Sequence[psutil.Process]) -> None:
    _, alive = psutil.wait_procs(processes, timeout=10)
    assert [process for process in alive if process.status() != psutil.STATUS_ZOMBIE] == []


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.05)


def lines_in(folder: Path) -> int:
    return sum(path.read_bytes().count(b"\n") for path in folder.glob("*.jsonl"))


@pytest.mark.parametrize("where", ["--device meta", f"--device cpu {HASTY}"], ids=["meta", "cpu"])
def test_a_sweep_that_is_killed_again_and_again_ends_with_each_workload_once(tmp_path: Path, where: str) -> None:
    command = f"profile atlas_ti --res {SIZES} --batch 1 2 {where} --out out --resume"
    chance = random.Random(20261121)
    kills_between_records = 0
    for _ in range(3):
        before = lines_in(tmp_path / "out")
        process = start(tmp_path, command)
        wait_for(lambda: process.poll() is not None or lines_in(tmp_path / "out") > before)  # noqa: B023
        time.sleep(chance.uniform(0, 1.0))
        family = family_of(process)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert_gone(family)
        kills_between_records += process.returncode == -signal.SIGKILL

    last = start(tmp_path, command)
    _, errors = last.communicate(timeout=300)

    assert last.returncode == 0, errors
    assert kills_between_records >= 2
    records, _ = load_records([tmp_path / "out"])
    workloads = [(str(record.workload.resolution), record.workload.batch_size) for record in records]
    assert sorted(workloads) == sorted((size, batch) for size in SIZES.split() for batch in (1, 2))
    assert {record.measurement.status for record in records} == {"ok"}
    assert len({record.run_id for record in records}) >= 2


def test_no_process_survives_a_kill_while_torch_is_being_imported(tmp_path: Path) -> None:
    process = start(tmp_path, "profile atlas_ti --res 64 --device meta")
    wait_for(lambda: bool(family_of(process)))

    family = family_of(process)
    process.kill()
    process.communicate()

    assert_gone(family)


@pytest.mark.parametrize("target", ["process", "group"])
def test_ctrl_c_ends_with_130_and_keeps_what_is_finished(tmp_path: Path, target: str) -> None:
    (tmp_path / "net.py").write_text(SLOW_AT_64)
    process = start(tmp_path, f"profile net.py:build --res 32 64 96 --device cpu {HASTY}")
    wait_for(lambda: lines_in(tmp_path / "results") == 1)
    time.sleep(0.5)
    family = family_of(process)

    (os.kill if target == "process" else os.killpg)(process.pid, signal.SIGINT)
    out, errors = process.communicate(timeout=30)

    assert process.returncode == 130
    assert_gone(family)
    assert list(atlasbench.load_results(tmp_path / "results")["height"]) == [32]
    assert errors.splitlines()[-1] == "interrupted: 1 of 3 workloads done, kept in results; --resume goes on"
    assert "Traceback" not in errors
    assert "Images/s" in out


def test_ctrl_c_during_the_first_workload_says_that_nothing_is_kept(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(SLOW_AT_64)
    process = start(tmp_path, f"profile net.py:build --res 64 96 --device cpu {HASTY}")
    assert process.stderr is not None
    assert process.stderr.readline().startswith("2 workloads on cpu")
    assert process.stderr.readline().startswith("[1/2]")

    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=30)

    assert (process.returncode, out) == (130, "")
    assert errors.splitlines()[-1] == "interrupted: 0 of 2 workloads done"


@pytest.mark.parametrize("delay_s", [0.5, 1.5])
def test_ctrl_c_before_anything_is_measured_ends_with_130(tmp_path: Path, delay_s: float) -> None:
    process = start(tmp_path, "profile atlas_ti --res 64 --device cpu")
    wait_for(lambda: bool(family_of(process)))
    time.sleep(delay_s)
    family = family_of(process)

    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=30)

    assert (process.returncode, out) == (130, "")
    assert errors.splitlines()[-1].startswith("interrupted")
    assert "kept" not in errors
    assert_gone(family)


@pytest.mark.parametrize("output_format", ["table", "csv"])
def test_a_pipe_that_is_closed_early_is_no_error(tmp_path: Path, output_format: str) -> None:
    with start(tmp_path, f"profile atlas_ti --res 32 64 --device meta --no-save --format {output_format}") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()  # nobody reads: the first write fails, as it does after `| head -1` has ended
        errors = process.stderr.read()

    assert "counted" in errors
    assert "Traceback" not in errors
    assert "Error" not in errors


def test_two_runs_at_once_in_one_folder_do_not_collide(tmp_path: Path) -> None:
    processes = [start(tmp_path, f"profile atlas_ti --res {SIZES} --device meta") for _ in range(2)]

    for process in processes:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors

    frame = atlasbench.load_results(tmp_path / "results")
    assert len(list((tmp_path / "results").iterdir())) == 2
    assert frame.groupby("run_id").size().tolist() == [8, 8]


def test_a_terminal_sees_one_line_of_progress_that_never_wraps(tmp_path: Path) -> None:
    (tmp_path / "a_name_that_is_rather_long_for_a_file.py").write_text(SLOW_AT_64)
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    name = "a_name_that_is_rather_long_for_a_file.py:build"
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "80"}
    process = subprocess.Popen(
        [
            *PROGRAM,
            *f"profile {name} --res 32 48 96 --device cpu --timing min_time_s=0.3 --threads 1 --no-save".split(),
        ],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=follower,
        stdin=subprocess.DEVNULL,
        env=environment,
    )
    os.close(follower)

    shown = read_all(leader)
    process.communicate(timeout=60)

    assert process.returncode == 0
    frames = [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line).strip() for line in re.split(r"[\r\n]+", shown)]
    progress = [frame for frame in frames if "/3]" in frame]
    assert any(frame.startswith("timing") and frame.endswith(" s left") for frame in progress)
    assert {"[1/3]", "[2/3]", "[3/3]"} <= {frame.split()[1] for frame in progress}
    assert max(map(len, frames)) <= 80
    assert len({frame.count("[") for frame in progress}) == 1


def read_all(descriptor: int) -> str:
    data = b""
    while True:
        try:
            chunk = os.read(descriptor, 65536)
        except OSError:  # the other end is closed
            chunk = b""
        if not chunk:
            os.close(descriptor)
            return data.decode(errors="replace")
        data += chunk
