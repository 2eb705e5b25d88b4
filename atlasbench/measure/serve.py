"""The fork server: imports torch, timm and our models once, touches no device, and forks a process on request.

Run as `python -m atlasbench.measure.serve SOCKET`; see `workers.py` for the other end. Each connection gets a
fresh process (the worker), and a guardian that waits for it and reports how it ended when it could not itself.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import os
import select
import signal
import sys
import traceback
from multiprocessing.connection import Connection, Listener
from pathlib import Path
from typing import Any, NoReturn

from atlasbench.core.errors import AtlasBenchError
from atlasbench.measure.messages import Call, Died, Failed, Hello, Phase, Returned

PRELOAD = ("atlasbench.measure.jobs", "atlasbench.measure.count", "timm")
_PR_SET_PDEATHSIG = 1


def serve(address: str) -> None:
    """Accept connections until standard input closes, that is, until the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what Ctrl-C ends
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # guardians are reaped by the system
    with Listener(address, family="AF_UNIX", backlog=16) as listener:
        for name in PRELOAD:
            importlib.import_module(name)
        gc.freeze()  # what was imported stays shared with every fork
        accepting = listener._listener._socket  # type: ignore[attr-defined]
        while True:
            ready, _, _ = select.select([accepting, sys.stdin], [], [])
            if sys.stdin in ready:
                return
            connection = listener.accept()
            if os.fork() == 0:
                accepting.close()
                _guard(connection)
            connection.close()


def _guard(connection: Connection) -> NoReturn:
    """Fork the worker and wait for it; when a signal ended it, tell the client in its place."""
    _die_with_parent()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    kills_before = _out_of_memory_kills()
    worker = os.fork()
    if worker == 0:
        _die_with_parent()
        _work(connection)
    _, status = os.waitpid(worker, 0)
    if os.WIFSIGNALED(status):
        died = Died(signal_number=os.WTERMSIG(status), was_out_of_memory=_out_of_memory_kills() > kills_before)
        with contextlib.suppress(OSError):
            connection.send(died)
    os._exit(0)


def _work(connection: Connection) -> NoReturn:
    """Answer calls until the client closes the connection."""
    with contextlib.suppress(OSError):
        # If memory runs out, the system should end the worker and not the program that keeps the records.
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    with contextlib.suppress(EOFError, OSError):
        connection.send(Hello(pid=os.getpid()))
        while True:
            call: Call = connection.recv()
            connection.send(_answer(call, connection))
    os._exit(0)


def _answer(call: Call, connection: Connection) -> Returned | Failed:
    keywords: dict[str, Any] = dict(call.keywords)
    if call.wants_phases:
        keywords["on_phase"] = lambda name: connection.send(Phase(name=name))
    module_name, _, function_name = call.function.partition(":")
    try:
        function = getattr(importlib.import_module(module_name), function_name)
        return Returned(value=function(*call.arguments, **keywords))
    except AtlasBenchError as error:
        return Failed(kind=type(error).__name__, message=str(error))
    except Exception as error:  # a bug in a model or in us: the client decides what it means
        lines = str(error).strip().splitlines()
        return Failed(
            kind="",
            message=f"{type(error).__name__}: {lines[0] if lines else 'no message'}",
            traceback=traceback.format_exc(),
        )


def _die_with_parent() -> None:
    """Have the system end this process when its parent ends, however that happens (Linux)."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _out_of_memory_kills() -> int:
    """Processes the system has ended for lack of memory since it started; 0 where it does not say."""
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/vmstat").read_text(encoding="ascii").splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0


if __name__ == "__main__":
    _die_with_parent()
    serve(sys.argv[1])
