"""The fork server: imports torch, timm and our models once, touches no device, and forks a process on request.

See `workers.py` for the other end. Every request carries one end of a connection, which gets a fresh process (the
worker) and a guardian that waits for it and says how it ended when it could not itself.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import os
import signal
import socket
import sys
import traceback
from collections.abc import Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NoReturn

from atlasbench.core.errors import AtlasBenchError
from atlasbench.measure.messages import Call, Died, Failed, Hello, Phase, Returned
from atlasbench.registry import MODELS

PRELOAD = (
    "atlasbench.measure.jobs",
    "timm",
    *sorted({entry.builder.partition(":")[0] for entry in MODELS.values()}),
)
_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Serve the program that started this process; its first argument is the number of the control socket."""
    _die_with_parent()
    serve(socket.socket(fileno=int(sys.argv[1])))


def serve(control: socket.socket) -> None:
    """Fork for every connection that comes in, until the other end is closed, that is, the program is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the program decides what Ctrl-C ends
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # guardians are reaped by the system
    for name in PRELOAD:
        importlib.import_module(name)
    gc.freeze()  # what was imported stays shared with every fork
    while (connection := _receive_connection(control)) is not None:
        server = os.getpid()
        if os.fork() == 0:
            control.close()
            _guard(connection, server)
        connection.close()
    if os.getpgrp() == os.getpid():  # workers too, where the system does not see to it
        os.killpg(os.getpgrp(), signal.SIGKILL)


def _receive_connection(control: socket.socket) -> Connection | None:
    try:
        _, descriptors, _, _ = socket.recv_fds(control, 1, 1)
    except ConnectionError:
        return None
    return Connection(descriptors[0]) if descriptors else None


def _guard(connection: Connection, server: int) -> NoReturn:
    """Fork the worker and wait for it; when a signal ended it, tell the client in its place."""
    _die_with_parent(server)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    kills_before = _out_of_memory_kills()
    guardian = os.getpid()
    worker = os.fork()
    if worker == 0:
        _die_with_parent(guardian)
        _work(connection)
    _, status = os.waitpid(worker, 0)
    signal_number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    died = Died(
        signal_number=signal_number,
        exit_code=os.WEXITSTATUS(status) if os.WIFEXITED(status) else 0,
        was_out_of_memory=signal_number == signal.SIGKILL and _out_of_memory_kills() > kills_before,
    )
    with contextlib.suppress(OSError):  # nobody listens when the worker ended because it was no longer needed
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
            _send(_answer(connection.recv(), connection), connection)
    os._exit(0)


def _send(answer: Returned | Failed, connection: Connection) -> None:
    try:
        connection.send(answer)
    except OSError:
        raise
    except Exception as error:  # a value that cannot be pickled, whatever its class raises then
        connection.send(_describe_failure(error))


def _answer(call: Call, connection: Connection) -> Returned | Failed:
    keywords: Mapping[str, Any] = call.keywords
    if call.wants_phases:
        keywords = {**keywords, "on_phase": lambda name: connection.send(Phase(name=name))}
    module_name, _, function_name = call.function.partition(":")
    try:
        os.chdir(call.folder)
        function = getattr(importlib.import_module(module_name), function_name)
        return Returned(value=function(*call.arguments, **keywords))
    except AtlasBenchError as error:
        return Failed(kind=type(error).__name__, message=str(error))
    except (Exception, SystemExit) as error:  # a bug in a model or in us: the client decides what it means
        return _describe_failure(error)


def _describe_failure(error: BaseException) -> Failed:
    lines = str(error).strip().splitlines()
    return Failed(
        kind="",
        message=f"{type(error).__name__}: {lines[0] if lines else 'no message'}",
        traceback="".join(traceback.format_exception(error)),
    )


def _die_with_parent(parent: int | None = None) -> None:
    """Have the system end this process when its parent ends, however that happens (Linux).

    Args:
        parent: Its process id, to notice when it has ended already.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if parent is not None and os.getppid() != parent:
        os._exit(1)


def _out_of_memory_kills() -> int:
    """Processes the system has ended for lack of memory since it started; 0 where it does not say."""
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/vmstat").read_text(encoding="ascii").splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0
