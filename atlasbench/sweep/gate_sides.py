"""The two sides of a gate: what processes run them, whether these can serve, and what they count."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any
from typing import Protocol as Interface

from atlasbench.core.errors import AtlasBenchError, InstallationError, RevisionError
from atlasbench.core.workload import Workload
from atlasbench.measure.workers import (
    INTERFACE_VERSION,
    Worker,
    WorkerCallError,
    WorkerDiedError,
    WorkerTimeoutError,
)
from atlasbench.measure.worktree import Revision

ANSWER_TIMEOUT_S = 300.0  # a count takes seconds; the first answer of a server waits for torch to be imported
TURNS = "atlasbench.measure.turns"
_TOO_OLD = re.compile(
    r"No module named 'atlasbench|cannot import name .* from 'atlasbench|module 'atlasbench.* has no attribute"
)
_INSTEAD = "Compare record files instead: atlasbench gate --baseline FILES --current FILES."
_FAILED_ANSWERS = (AtlasBenchError, WorkerCallError, WorkerDiedError, WorkerTimeoutError)


class Source(Interface):
    """Where a side's code comes from: a server that has imported it (`WorkerServer`, `Session`)."""

    def start_worker(self) -> Worker:
        """A fresh process."""


class SideError(Exception):
    """One side cannot run its workload; the message says why.

    Attributes:
        is_current: Whether it is the current side, and not the base.
    """

    def __init__(self, message: str, *, is_current: bool) -> None:
        super().__init__(message)
        self.is_current = is_current


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """One side: a workload, and whose processes run it.

    Attributes:
        source: Starts its processes.
        workload: What they run; every default is resolved once it was counted.
        is_current: Whether it is the current side, and not the base.
        counts: `params`, `flops`, `predicted_peak_bytes`; empty where it cannot be counted, or was not yet.
        foreign: Folder of another revision, that a model must not import from; None where there is none.
        own: Folder of its own revision, which may lie in that one.
    """

    source: Source
    workload: Workload
    is_current: bool
    counts: Mapping[str, int] = field(default_factory=dict)
    foreign: Path | None = None
    own: Path | None = None

    @property
    def peak_bytes(self) -> int:
        """Predicted peak memory; 0 where it is not known."""
        return self.counts.get("predicted_peak_bytes", 0)


def check_serves(source: Source, revision: Revision, package: Path | None) -> Mapping[str, str]:
    """Refuse a revision that cannot take turns with this one.

    Args:
        source: Its server.
        revision: Names it.
        package: Folder that all of its modules of ours must come from; None where they may be this program's.

    Returns:
        Versions of its libraries, by name.

    Raises:
        RevisionError: If it is too old, too new or broken.
    """
    try:
        answer = ask(source, "describe_source")
    except _FAILED_ANSWERS as error:
        reason = "is too old to" if _TOO_OLD.search(str(error)) else "cannot"
        said = "" if _TOO_OLD.search(str(error)) else f" ({str(error).rstrip('.')})"
        raise RevisionError(f"Revision {revision} {reason} take turns with this one{said}. {_INSTEAD}") from None
    version = answer["interface_version"]
    # An installation for development finds in its own folder what an older revision lacks.
    is_mixed = package is not None and not all(Path(file).is_relative_to(package) for file in answer["files"])
    if version != INTERFACE_VERSION or is_mixed:
        kind = "new" if version > INTERFACE_VERSION else "old"
        raise RevisionError(f"Revision {revision} is too {kind} to take turns with this one. {_INSTEAD}")
    versions: Mapping[str, str] = answer["versions"]
    return versions


def ask(source: Source, function: str, *arguments: Any) -> Any:
    """The answer of a fresh process to one question of `measure.turns`."""
    with source.start_worker() as worker:
        return worker.call(f"{TURNS}:{function}", *arguments, timeout_s=ANSWER_TIMEOUT_S)


def count_side(side: Contender) -> Contender:
    """The side with its defaults resolved and its counts.

    Raises:
        SideError: If it cannot run the workload.
        RevisionError: If its model imports files of another revision: both sides would be the same.
    """
    with blaming(side):
        answer = ask(side.source, "count_workload", plain_fields(side.workload))
    for file in answer["files"]:
        is_own = side.own is not None and Path(file).is_relative_to(side.own)
        if side.foreign is not None and Path(file).is_relative_to(side.foreign) and not is_own:
            raise RevisionError(
                f"{side.workload.model} of the base imports {file!r}, which is no file of that revision: name the "
                "folder that it is imported from in PYTHONPATH."
            )
    return replace(side, workload=replace(side.workload, options=answer["options"]), counts=answer["counts"])


def plain_fields(workload: Workload) -> dict[str, Any]:
    """The fields by name, without those at their default: another revision may have more of them, or fewer."""
    usual = Workload(model=workload.model, resolution=workload.resolution)
    changed = {item.name for item in fields(workload) if getattr(workload, item.name) != getattr(usual, item.name)}
    return {name: getattr(workload, name) for name in ("model", "resolution", *sorted(changed))}


@contextmanager
def blaming(side: Contender) -> Iterator[None]:
    """Say whose fault it is when something other than a value comes back."""
    try:
        yield
    except InstallationError:
        raise  # its server is gone: that says nothing about the workload
    except _FAILED_ANSWERS as error:
        raise SideError(str(error), is_current=side.is_current) from error
