"""Another revision of a git checkout, in a folder of its own for a while; the checkout itself stays as it is."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from atlasbench.core.errors import RevisionError
from atlasbench.measure.signals import FirstSignal

# The temporary folder of a revision, and what stands in it.
_PREFIX = "atlasbench-"
_SOURCE = "source"
_LOCK = "lock"


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """A commit whose files are in a folder of their own.

    Attributes:
        name: As typed, e.g. `main`.
        commit: Its hash.
        top: The folder that holds the revision's files.
        folder: What stands there for the folder that the program runs in.
    """

    name: str
    commit: str
    top: Path
    folder: Path

    def __str__(self) -> str:
        return f"{self.name} ({self.commit[:10]})"


def top_of_checkout(folder: Path) -> Path:
    """The top folder of the git checkout that a folder belongs to.

    Raises:
        RevisionError: If it belongs to none, or git is missing.
    """
    try:
        return Path(_git(folder, "rev-parse", "--show-toplevel")).resolve()
    except _GitError as error:
        if "not a git repository" in str(error):
            raise RevisionError(
                f"{str(folder)!r} is in no git checkout: --against compares revisions of one."
            ) from None
        raise RevisionError(f"git cannot read the checkout of {str(folder)!r}: {error}") from None


@contextmanager
def check_out(name: str, folder: Path) -> Iterator[Revision]:
    """Put the files of a revision in a temporary folder, and remove it at the end, whatever happens.

    What is not committed, the index and the user's branches are not touched; hooks of the repository do not run.
    Submodules stay empty. SIGTERM and SIGHUP end the program as Ctrl-C does, by an exception. What a program left that
    was killed by SIGKILL, the next one removes.

    Args:
        name: Branch, tag or commit, as git understands it.
        folder: Any folder of the checkout.

    Raises:
        RevisionError: If there is no such revision, no checkout, or git is missing or refuses.
    """
    top = top_of_checkout(folder)
    commit = _find_commit(name, top)
    inside = folder.resolve().relative_to(top)
    _remove_leftovers(top)
    with FirstSignal() as signals:
        holder = Path(tempfile.mkdtemp(prefix=_PREFIX)).resolve()
        place = holder / _SOURCE
        lock = contextlib.ExitStack()
        with contextlib.suppress(OSError):  # a file system without locks: there, nothing is taken for a leftover
            lock.enter_context(_take_lock(holder))
        try:
            try:
                _git(top, "worktree", "add", "--detach", "--quiet", str(place), commit)
            except _GitError as error:
                raise RevisionError(f"git cannot check out {name}: {error}") from None
            signals.release()  # not before: git would leave half a worktree behind
            there = place / inside
            try:
                there.mkdir(parents=True, exist_ok=True)  # a folder that the revision lacks has none of its files
            except OSError:  # a file stands there, or on the way
                raise RevisionError(f"{str(inside)!r} is no folder in {name}: start from another one.") from None
            yield Revision(name=name, commit=commit, top=place, folder=there)
        finally:
            try:
                signals.hold()
            finally:
                _remove(top, holder)
                lock.close()


def _remove_leftovers(top: Path) -> None:
    """Remove what a program left that could not: nobody holds its lock any more."""
    for line in _git(top, "worktree", "list", "--porcelain").splitlines():
        place = Path(line.removeprefix("worktree "))
        holder = place.parent
        if place.name == _SOURCE and holder.name.startswith(_PREFIX) and (holder / _LOCK).is_file():
            with contextlib.suppress(OSError), _take_lock(holder):
                _remove(top, holder)


def _remove(top: Path, holder: Path) -> None:
    """Remove the folder of a revision and git's entry; the lock last, by which what is left is found again."""
    # Its files first: then git has only to forget the entry, also one that it had not finished.
    shutil.rmtree(holder / _SOURCE, ignore_errors=True)
    with contextlib.suppress(_GitError):  # there is no entry if it could not be added
        _git(top, "worktree", "remove", "--force", "--force", str(holder / _SOURCE))
    shutil.rmtree(holder, ignore_errors=True)


def _take_lock(holder: Path) -> TextIO:
    """Mark a folder as one that a living program uses: the system lets go of the lock when that ends, however it does.

    Raises:
        BlockingIOError: If another one holds it.
    """
    lock = (holder / _LOCK).open("w", encoding="utf-8")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        raise
    return lock


class _GitError(Exception):
    """What git said when it refused, in one line."""


def _find_commit(name: str, top: Path) -> str:
    try:
        return _git(top, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
    except _GitError:
        is_shallow = _git(top, "rev-parse", "--is-shallow-repository") == "true"
        hint = "This clone is shallow: fetch it first (fetch-depth: 0)." if is_shallow else "See `git branch --all`."
        raise RevisionError(f"There is no revision {name!r} in {str(top)!r}. {hint}") from None


def _git(folder: Path, *arguments: str) -> str:
    """What git prints, stripped.

    Raises:
        RevisionError: If git is missing.
        _GitError: If it refuses.
    """
    # Hooks run with GIT_DIR set, which would answer for another repository; GIT_CONFIG_* says which may be trusted.
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("GIT_") or name.startswith("GIT_CONFIG_")
    }
    environment |= {"GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}  # messages are read here
    try:
        ended = subprocess.run(
            ["git", "-C", str(folder), "-c", f"core.hooksPath={os.devnull}", *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            env=environment,
            check=False,
            start_new_session=True,  # Ctrl-C reaches this program alone
        )
    except OSError as error:
        raise RevisionError(f"git cannot be started ({error.strerror}): --against needs it.") from None
    if ended.returncode:
        lines = ended.stderr.strip().splitlines()
        raise _GitError(lines[-1].removeprefix("fatal: ") if lines else f"it ended with {ended.returncode}")
    return ended.stdout.strip()
