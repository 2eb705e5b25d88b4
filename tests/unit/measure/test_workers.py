from __future__ import annotations

import gc
import inspect
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from atlasbench.core import errors
from atlasbench.core.errors import AtlasBenchError, InstallationError
from atlasbench.measure import workers
from atlasbench.measure.workers import (
    Worker,
    WorkerCallError,
    WorkerDiedError,
    WorkerServer,
    WorkerTimeoutError,
)

KINDS = [name for name, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, AtlasBenchError)]


@pytest.fixture(scope="module")
def server() -> Iterator[WorkerServer]:
    with WorkerServer() as server:
        yield server


@pytest.fixture
def worker(server: WorkerServer) -> Iterator[Worker]:
    with server.start_worker() as worker:
        yield worker


def call(worker: Worker, function: str, *arguments: Any, **keywords: Any) -> Any:
    return worker.call(f"worker_jobs:{function}", *arguments, **{"timeout_s": 30.0, **keywords})


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return bool(state) and not state.startswith("Z")


def wait_until_gone(*pids: int) -> None:
    deadline = time.monotonic() + 10
    while any(map(is_running, pids)) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not [pid for pid in pids if is_running(pid)]


def test_a_call_gives_back_its_value(worker: Worker) -> None:
    assert call(worker, "echo", 1, "two", key=[3]) == ((1, "two"), {"key": [3]})


def test_a_worker_keeps_its_state_between_calls(worker: Worker) -> None:
    assert call(worker, "remember", 1) == [1]
    assert call(worker, "remember", 2) == [1, 2]


def test_a_call_is_made_in_the_folder_that_it_comes_from(
    worker: Worker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    assert call(worker, "folder") == str(tmp_path)


def test_every_worker_is_a_fresh_process(server: WorkerServer, worker: Worker) -> None:
    call(worker, "remember", 1)
    with server.start_worker() as other:
        assert call(other, "remember", 2) == [2]
        assert call(other, "pid") == other.pid != worker.pid


def test_workers_have_torch_timm_and_our_models_before_the_first_call(worker: Worker) -> None:
    assert {"torch", "timm", "atlasbench.models.atlas"} <= set(call(worker, "imported"))


def test_many_workers_can_wait_at_once(server: WorkerServer) -> None:
    pool = [server.start_worker() for _ in range(20)]
    pids = [call(worker, "pid") for worker in pool]

    for worker in pool:
        worker.close()

    assert len(set(pids)) == 20
    wait_until_gone(*pids)


def test_a_large_value_comes_through(worker: Worker) -> None:
    assert len(call(worker, "payload", 50_000_000)) == 50_000_000


def test_phases_are_told_in_order_before_the_value(worker: Worker) -> None:
    heard: list[str] = []

    assert call(worker, "phases", ["warmup", "timing"], on_phase=heard.append) == "done"
    assert heard == ["warmup", "timing"]


def test_what_models_print_blocks_nobody(worker: Worker) -> None:
    assert call(worker, "flood", 100_000) == 100_000


def test_a_call_that_takes_too_long_ends_its_worker(worker: Worker) -> None:
    with pytest.raises(WorkerTimeoutError, match=r"took longer than 0\.2 s"):
        call(worker, "sleep", 600, timeout_s=0.2)

    wait_until_gone(worker.pid)
    with pytest.raises(WorkerDiedError):
        call(worker, "pid")


def test_a_limit_of_weeks_can_be_waited_for(worker: Worker) -> None:
    assert call(worker, "echo", timeout_s=1e9) == ((), {})


@pytest.mark.parametrize(
    ("job", "argument", "message"),
    [
        ("kill", signal.SIGKILL, "was ended by SIGKILL"),
        ("kill", signal.SIGTERM, "was ended by SIGTERM"),
        ("segfault", None, "was ended by SIGSEGV"),
        ("leave", 7, "ended itself with exit code 7"),
    ],
)
def test_a_worker_that_ends_says_how(worker: Worker, job: str, argument: Any, message: str) -> None:
    with pytest.raises(WorkerDiedError, match=message) as caught:
        call(worker, job, *([] if argument is None else [argument]))

    assert not caught.value.was_out_of_memory
    with pytest.raises(WorkerDiedError):
        call(worker, "pid")


def test_a_worker_that_ended_between_calls_is_told_at_the_next(worker: Worker) -> None:
    os.kill(worker.pid, signal.SIGKILL)
    wait_until_gone(worker.pid)

    with pytest.raises(WorkerDiedError, match="was ended by SIGKILL"):
        call(worker, "pid")


@pytest.mark.parametrize("kind", KINDS)
def test_a_users_mistake_keeps_its_class_and_its_message(worker: Worker, kind: str) -> None:
    with pytest.raises(getattr(errors, kind)) as caught:
        call(worker, "fail", kind, "atlas_x")

    assert type(caught.value).__name__ == kind
    assert "atlas_x" in str(caught.value)
    assert call(worker, "echo") == ((), {})


def test_every_mistake_of_a_user_is_tried() -> None:
    assert {"AtlasBenchError", "UnknownModelError", "UnsupportedError", "OutputError"} <= set(KINDS)


@pytest.mark.parametrize(
    ("job", "message"),
    [
        ("fail_otherwise", "ZeroDivisionError: first line"),
        ("fail_without_words", "KeyError: no message"),
        ("leave_politely", "SystemExit: enough"),
        ("no_such_job", "AttributeError: .*no_such_job.*"),
    ],
)
def test_anything_else_that_is_raised_is_told_with_its_traceback(worker: Worker, job: str, message: str) -> None:
    with pytest.raises(WorkerCallError, match=f"^{message}$") as caught:
        call(worker, job)

    assert "Traceback" in caught.value.traceback
    assert call(worker, "echo") == ((), {})


def test_a_value_that_cannot_be_sent_is_an_error_of_the_call(worker: Worker) -> None:
    with pytest.raises(WorkerCallError, match="pickle"):
        call(worker, "unpicklable")

    assert call(worker, "echo") == ((), {})


def test_closing_a_worker_ends_it_whatever_it_does(server: WorkerServer) -> None:
    worker = server.start_worker()
    with pytest.raises(WorkerCallError):
        call(worker, "ignore_termination_and_fail")

    os.kill(worker.pid, signal.SIGTERM)
    assert call(worker, "pid") == worker.pid
    worker.close()
    worker.close()

    wait_until_gone(worker.pid)


def test_a_worker_that_nobody_holds_ends_by_itself(server: WorkerServer) -> None:
    worker = server.start_worker()
    pid = worker.pid

    del worker
    gc.collect()

    wait_until_gone(pid)


def test_a_worker_hears_no_ctrl_c(worker: Worker) -> None:
    os.kill(worker.pid, signal.SIGINT)

    assert call(worker, "pid") == worker.pid


def test_a_worker_lives_in_a_process_group_of_the_server(server: WorkerServer, worker: Worker) -> None:
    assert call(worker, "parents")[1] == server.pid != os.getpgrp()


def test_workers_can_be_started_and_called_from_any_thread(server: WorkerServer) -> None:
    values: list[Any] = []

    def work() -> None:
        with server.start_worker() as worker:
            values.append(call(worker, "echo", 1))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(30)

    assert values == [((1,), {})]


def test_closing_the_server_ends_everything(server_of_nothing: WorkerServer) -> None:
    worker = server_of_nothing.start_worker()
    guardian, _ = call(worker, "parents")

    server_of_nothing.close()
    server_of_nothing.close()

    wait_until_gone(worker.pid, guardian, server_of_nothing.pid)


def test_killing_the_server_ends_its_workers_and_is_told(server_of_nothing: WorkerServer) -> None:
    worker = server_of_nothing.start_worker()
    guardian, _ = call(worker, "parents")

    os.kill(server_of_nothing.pid, signal.SIGKILL)

    wait_until_gone(worker.pid, guardian)
    with pytest.raises(WorkerDiedError):
        call(worker, "pid")
    with pytest.raises(InstallationError, match="The process that holds torch and the models ended: it said nothing"):
        server_of_nothing.start_worker()


def test_a_server_that_cannot_start_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "_START", "raise ModuleNotFoundError(\"No module named 'torch'\")")

    with (
        WorkerServer() as server,
        pytest.raises(InstallationError, match=r"ended: ModuleNotFoundError: No module named 'torch'$"),
    ):
        server.start_worker()


def test_a_server_that_does_not_answer_is_not_waited_for_forever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "_START", "import time; time.sleep(600)")
    monkeypatch.setattr(workers, "START_TIMEOUT_S", 0.2)

    with WorkerServer() as server, pytest.raises(InstallationError, match=r"took longer than 0\.2 s"):
        server.start_worker()


def test_the_program_that_starts_a_server_may_be_killed_at_any_time() -> None:
    program = (
        "import os, signal, sys; from atlasbench.measure import serve, workers; "
        "workers._START = workers._START.replace('main()', 'serve = sys.modules[\"atlasbench.measure.serve\"]; "
        "serve.PRELOAD = (); main()'); server = workers.WorkerServer(); worker = server.start_worker(); "
        "print(server.pid, worker.pid, *worker.call('worker_jobs:parents', timeout_s=9)); sys.stdout.flush(); "
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=False)

    assert done.returncode == -signal.SIGKILL
    pids = [int(word) for word in done.stdout.split()]
    assert len(pids) == 4
    wait_until_gone(*pids)


@pytest.fixture
def server_of_nothing(monkeypatch: pytest.MonkeyPatch) -> Iterator[WorkerServer]:
    """A server that imports nothing ahead, and is there in no time."""
    without_preload = "import atlasbench.measure.serve as serve; serve.PRELOAD = (); serve.main()"
    monkeypatch.setattr(workers, "_START", f"import sys; sys.path[:] = sys.argv[2:]; {without_preload}")
    with WorkerServer() as server:
        yield server


def test_a_closed_worker_is_gone_before_the_next_one_starts(server: WorkerServer) -> None:
    worker = server.start_worker()
    worker.close()
    with pytest.raises(ProcessLookupError):
        os.kill(worker.pid, 0)
