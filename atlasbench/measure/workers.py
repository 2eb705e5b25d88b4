"""Fresh processes for measuring in, each a fork of a server that has torch and the models imported."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

from atlasbench.core import errors
from atlasbench.measure.messages import Call, Died, Failed, Hello, Phase, Returned

# Of `turns.py` as another revision calls it, and of `messages.py`: counts up when either changes.
INTERFACE_VERSION = 3

START_TIMEOUT_S = 300.0  # importing torch from a cold disk
_LONGEST_TEARDOWN_S = 30.0  # hundreds of gigabytes take seconds to give back
_TEARDOWN_POLL_S = 0.002
_LONGEST_POLL_S = 3600.0  # the system's limit is some weeks

# The server imports what this program would import, wherever it was started and however it was told where to look;
# under another interpreter, what that one would import.
_START = "import sys; sys.path[:] = sys.argv[2:]; from atlasbench.measure.serve import main; main()"
_START_OTHER = "import sys; sys.path[:0] = sys.argv[2:]; from atlasbench.measure.serve import main; main()"


class WorkerTimeoutError(Exception):
    """A call took longer than it was given; its worker has been ended."""


class WorkerDiedError(Exception):
    """A worker ended in the middle of a call."""

    def __init__(self, died: Died | None) -> None:
        self.was_out_of_memory = died is not None and died.was_out_of_memory
        if died is None:
            message = "the worker process ended without an answer"
        elif self.was_out_of_memory:
            message = "the system ran out of memory and ended the worker process"
        elif died.signal_number:
            message = f"the worker process was ended by {_signal_name(died.signal_number)}"
        else:
            message = f"the worker process ended itself with exit code {died.exit_code}"
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
    """One process that answers one call at a time; closing it ends the process.

    Attributes:
        pid: Its process id.
    """

    def __init__(self, connection: Connection, pid: int, folder: Path | None = None) -> None:
        self.pid = pid
        self._connection = connection
        self._folder = folder  # that calls are made in; where this program is when None
        self._has_ended = False

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
            WorkerDiedError: If the worker is gone.
        """
        call = Call(
            function=function,
            folder=str(self._folder or Path.cwd()),
            arguments=arguments,
            keywords=keywords,
            wants_phases=on_phase is not None,
        )
        try:
            if self._connection.closed:
                raise EOFError
            with contextlib.suppress(ConnectionError):  # if it is gone, its last message says how
                self._connection.send(call)
            return self._wait_for_answer(timeout_s, on_phase)
        except (EOFError, ConnectionError, UnpicklingError) as error:  # cut off in the middle of a message
            self._has_ended = True
            raise WorkerDiedError(None) from error

    def _wait_for_answer(self, timeout_s: float, on_phase: Callable[[str], None] | None) -> Any:
        deadline = time.monotonic() + timeout_s
        while True:
            left_s = deadline - time.monotonic()
            if not self._connection.poll(max(0.0, min(left_s, _LONGEST_POLL_S))):
                if left_s > _LONGEST_POLL_S:
                    continue
                self.close()
                raise WorkerTimeoutError(f"took longer than {timeout_s:g} s")
            message = self._connection.recv()
            if isinstance(message, Phase):
                if on_phase is not None:
                    on_phase(message.name)
            elif isinstance(message, Returned):
                return message.value
            elif isinstance(message, Failed):
                raise _as_exception(message)
            elif isinstance(message, Died):
                self._has_ended = True
                raise WorkerDiedError(message)

    def close(self) -> None:
        """End the process, whatever it is doing."""
        if not self._has_ended:
            self._has_ended = True
            self._kill()
        self._connection.close()

    def _kill(self) -> None:
        """End the process and wait until it is gone: the next one shall find its memory free."""
        deadline = time.monotonic() + _LONGEST_TEARDOWN_S
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
            while time.monotonic() < deadline:
                os.kill(self.pid, 0)  # raises once the process has been reaped
                time.sleep(_TEARDOWN_POLL_S)

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class WorkerServer:
    """Starts the fork server, and workers from it; closing it ends them all.

    On Linux they also end when this program does, even by SIGKILL, and when the thread ends that made the server.

    Args:
        sources: Folders that imports are looked for in first: of another revision.
        python: Interpreter, with its own packages; this program's when None.
        folder: Where calls are made; where this program is at that moment when None.

    Raises:
        InstallationError: If the interpreter cannot be started.
    """

    def __init__(self, *, sources: Sequence[Path] = (), python: Path | None = None, folder: Path | None = None) -> None:
        self._folder = folder
        first = list(map(str, sources))
        if python is None:
            command = [sys.executable, "-c", _START]
            first += map(str, sys.path)
        else:
            command = [str(python), "-c", _START_OTHER]
        # A file without a name, not a pipe: nobody has to read what models print.
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 (open as long as the server runs)
        self._control, theirs = socket.socketpair()
        # A session of its own, so that Ctrl-C reaches this program alone.
        with theirs:
            try:
                self._process = subprocess.Popen(
                    [*command, str(theirs.fileno()), *first],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=self._log,
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,
                )
            except OSError as error:
                self._control.close()
                self._log.close()
                raise errors.InstallationError(f"{command[0]!r} cannot be started: {error.strerror}.") from None

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def start_worker(self) -> Worker:
        """Fork a fresh process.

        Raises:
            InstallationError: If the server cannot start or has ended; with the last line it printed.
            WorkerDiedError: If the worker was ended before it could answer.
        """
        connection, theirs = Pipe()
        try:
            with theirs:
                socket.send_fds(self._control, [b"w"], [theirs.fileno()])
            if not connection.poll(START_TIMEOUT_S):
                raise errors.InstallationError(f"Importing torch and timm took longer than {START_TIMEOUT_S:g} s.")
            hello = connection.recv()
        except (EOFError, OSError) as error:
            connection.close()
            raise errors.InstallationError(
                f"The process that holds torch and the models ended: {self._last_words()}"
            ) from error
        if isinstance(hello, Died):
            connection.close()
            raise WorkerDiedError(hello)
        assert isinstance(hello, Hello), "a worker that lives says hello first"
        return Worker(connection, hello.pid, self._folder)

    def _last_words(self) -> str:
        size = os.fstat(self._log.fileno()).st_size
        printed = os.pread(self._log.fileno(), 2000, max(0, size - 2000)).decode(errors="replace").strip()
        return printed.splitlines()[-1] if printed else "it said nothing."

    def close(self) -> None:
        """End the server and every worker."""
        self._control.close()
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._log.close()

    def __enter__(self) -> WorkerServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _as_exception(failed: Failed) -> Exception:
    kind = getattr(errors, failed.kind, None) if failed.kind else None
    if not (isinstance(kind, type) and issubclass(kind, errors.AtlasBenchError)):
        return WorkerCallError(failed)
    error = kind.__new__(kind)  # the message is ready: some classes would make it again from its pieces
    Exception.__init__(error, failed.message)
    return error


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
