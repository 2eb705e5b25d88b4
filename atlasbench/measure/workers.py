"""Fresh processes for measuring in, each a fork of a server that has torch and the models imported."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Client, Connection
from pathlib import Path
from typing import Any

from atlasbench.core import errors
from atlasbench.measure.messages import Call, Died, Failed, Hello, Phase, Returned

START_TIMEOUT_S = 300.0  # importing torch from a cold disk


class WorkerTimeoutError(Exception):
    """A call took longer than it was given; its worker has been ended."""


class WorkerDiedError(Exception):
    """A worker was ended by a signal in the middle of a call."""

    def __init__(self, died: Died | None) -> None:
        self.was_out_of_memory = died is not None and died.was_out_of_memory
        if died is None:
            message = "the worker process ended without an answer"
        elif self.was_out_of_memory:
            message = "the system ran out of memory and ended the worker process"
        else:
            message = f"the worker process was ended by {_signal_name(died.signal_number)}"
        super().__init__(message)


class WorkerCallError(Exception):
    """A call raised something that is not a user's mistake.

    Attributes:
        traceback: As the worker saw it.
    """

    def __init__(self, failed: Failed) -> None:
        super().__init__(failed.message)
        self.traceback = failed.traceback


class Worker:
    """One process that answers one call at a time; closing it ends the process."""

    def __init__(self, connection: Connection, pid: int) -> None:
        self._connection = connection
        self._pid = pid

    def call(
        self,
        function: str,
        *arguments: Any,
        timeout_s: float,
        on_phase: Callable[[str], None] | None = None,
        **keywords: Any,
    ) -> Any:
        """Call `package.module:function` in the worker and give back its value.

        Raises:
            AtlasBenchError: What the call raised, of the same class.
            WorkerCallError: If it raised anything else.
            WorkerTimeoutError: If it took longer than `timeout_s`; the worker is gone then.
            WorkerDiedError: If the worker was ended by a signal.
        """
        try:
            self._connection.send(
                Call(
                    function=function,
                    arguments=arguments,
                    keywords=keywords,
                    wants_phases=on_phase is not None,
                )
            )
            return self._wait_for_answer(time.monotonic() + timeout_s, timeout_s, on_phase)
        except (EOFError, ConnectionError) as error:
            raise WorkerDiedError(None) from error

    def _wait_for_answer(self, deadline: float, timeout_s: float, on_phase: Callable[[str], None] | None) -> Any:
        while True:
            if not self._connection.poll(max(0.0, deadline - time.monotonic())):
                self.close()
                raise WorkerTimeoutError(f"took longer than {timeout_s:g} s")
            message = self._connection.recv()
            if isinstance(message, Phase):
                if on_phase is not None:
                    on_phase(message.name)
            elif isinstance(message, Returned):
                return message.value
            elif isinstance(message, Died):
                raise WorkerDiedError(message)
            elif isinstance(message, Failed):
                raise _as_exception(message)

    def close(self) -> None:
        """End the process, whatever it is doing."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)
        self._connection.close()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class WorkerServer:
    """Starts the fork server, and workers from it; closing it ends them all."""

    def __init__(self) -> None:
        self._folder = tempfile.mkdtemp(prefix="atlasbench-")
        self._address = str(Path(self._folder) / "socket")
        self._log = Path(self._folder) / "log"
        # A session of its own, so that Ctrl-C reaches this program alone; its standard input closes with us.
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "atlasbench.measure.serve", self._address],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,
            )

    def start_worker(self) -> Worker:
        """Fork a fresh process.

        Raises:
            RuntimeError: If the server cannot start; with what it printed.
        """
        connection = self._connect()
        if not connection.poll(START_TIMEOUT_S):
            raise RuntimeError("The fork server did not answer.")
        try:
            hello: Hello = connection.recv()
        except (EOFError, ConnectionError) as error:
            raise RuntimeError(f"The fork server ended: {self._last_words()}") from error
        return Worker(connection, hello.pid)

    def _connect(self) -> Connection:
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                return Client(self._address, family="AF_UNIX")
            except (FileNotFoundError, ConnectionRefusedError) as error:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"The fork server ended: {self._last_words()}") from error
                time.sleep(0.01)

    def _last_words(self) -> str:
        printed = self._log.read_text(encoding="utf-8", errors="replace").strip()
        self.close()
        return printed[-2000:] or "it said nothing"

    def close(self) -> None:
        """End the server and every worker."""
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        if self._process.stdin:
            self._process.stdin.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> WorkerServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _as_exception(failed: Failed) -> Exception:
    kind: type[errors.AtlasBenchError] | None = getattr(errors, failed.kind, None) if failed.kind else None
    if kind is None:
        return WorkerCallError(failed)
    error = kind.__new__(kind)  # the message is ready: some classes would make it again from its pieces
    Exception.__init__(error, failed.message)
    return error


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
