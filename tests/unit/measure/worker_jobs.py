"""Functions that a worker of the tests is asked to call."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from atlasbench.core import errors


def echo(*arguments: Any, **keywords: Any) -> Any:
    return arguments, keywords


def pid() -> int:
    return os.getpid()


def folder() -> str:
    return str(Path.cwd())


def parents() -> tuple[int, int]:
    """Process ids of the guardian and of the process group, which is the server's."""
    return os.getppid(), os.getpgrp()


def payload(size: int) -> bytes:
    return b"x" * size


def remember(value: int) -> list[int]:
    remembered: list[int] = sys.modules[__name__].__dict__.setdefault("_remembered", [])
    remembered.append(value)
    return remembered


def imported() -> list[str]:
    return list(sys.modules)


def sleep(seconds: float) -> None:
    time.sleep(seconds)


def phases(names: list[str], on_phase: Callable[[str], None]) -> str:
    for name in names:
        on_phase(name)
    return "done"


def flood(lines: int) -> int:
    for stream in (sys.stdout, sys.stderr):
        for _ in range(lines):
            stream.write("x" * 99 + "\n")
        stream.flush()
    return lines


def kill(number: int) -> None:
    os.kill(os.getpid(), number)
    time.sleep(60)


def segfault() -> None:
    ctypes.string_at(0)


def leave(code: int) -> None:
    os._exit(code)


def leave_politely() -> None:
    sys.exit("enough")


def fail(kind: str, message: str) -> None:
    error = getattr(errors, kind)
    raise error(message, ["atlas_s"]) if kind == "UnknownModelError" else error(message)


def fail_otherwise() -> None:
    raise ZeroDivisionError("first line\nsecond line")


def fail_without_words() -> None:
    raise KeyError


def unpicklable() -> Any:
    return lambda: None


def ignore_termination_and_fail() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise ZeroDivisionError
