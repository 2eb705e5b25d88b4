"""What the fork server's workers and their client say to each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """First word of a worker: its process id, by which it can be ended."""

    pid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """Ask a worker to call `package.module:function` in a folder, so that relative paths are the client's."""

    function: str
    folder: str
    arguments: tuple[Any, ...] = ()
    keywords: Mapping[str, Any] = field(default_factory=dict)
    wants_phases: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """A worker has entered another phase of its call."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Returned:
    """The call's value."""

    value: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """The call raised: a user's mistake by the name of its class, or (empty kind) anything else."""

    kind: str
    message: str
    traceback: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Died:
    """The worker ended in the middle of a call: by a signal, or (0) by itself, with an exit code."""

    signal_number: int
    exit_code: int
    was_out_of_memory: bool
