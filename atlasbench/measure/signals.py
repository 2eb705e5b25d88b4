"""Signals that end the program, while there is something to clean up."""

from __future__ import annotations

import signal
import threading
from types import TracebackType
from typing import Any

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class FirstSignal:
    """The first signal ends the program as an exception does, but not while it is held; later ones change nothing.

    So a second Ctrl-C, or the SIGTERM that CI sends after it, does not stop the cleaning up. It is held from the
    beginning. Signals that are ignored (`nohup`) stay so; only in the main thread does this do anything.
    """

    def __init__(self) -> None:
        self._is_held = True
        self._number = 0
        self._was_raised = False
        self._earlier: dict[signal.Signals, Any] = {}

    def hold(self) -> None:
        """From now on a signal waits until it is released, or the context ends."""
        self._is_held = True

    def release(self) -> None:
        """From now on a signal is an exception.

        Raises:
            KeyboardInterrupt: If it came meanwhile.
            SystemExit: If another one did.
        """
        self._is_held = False
        self._raise()

    def __enter__(self) -> FirstSignal:
        if threading.current_thread() is threading.main_thread():
            heeded = [number for number in _ENDING if signal.getsignal(number) is not signal.SIG_IGN]
            self._earlier = {number: signal.signal(number, self._receive) for number in heeded}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, handler in self._earlier.items():
            signal.signal(number, handler)
        self.release()

    def _receive(self, number: int, _: object) -> None:
        self._number = self._number or number
        if not self._is_held:
            self._raise()

    def _raise(self) -> None:
        if self._number and not self._was_raised:
            self._was_raised = True
            raise KeyboardInterrupt if self._number == signal.SIGINT else SystemExit(128 + self._number)
