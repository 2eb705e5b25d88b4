"""Files of records: appended so that a kill loses at most the workload in hand, read so that damage costs one line."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from atlasbench.core.errors import OutputError, RecordsError
from atlasbench.core.record import Record
from atlasbench.store.codec import NewerSchemaError, decode_record, encode_record

SUFFIX = ".jsonl"
_LINES_NAMED = 3  # of the unreadable ones, in a message


@dataclass(frozen=True, slots=True, kw_only=True)
class UnreadableLine:
    """A line that is no record, and why.

    Attributes:
        path: File.
        line_number: From 1; 0 if the file itself cannot be read.
        reason: What is wrong with it.
        is_cut: Whether it has no line break, as a kill in the middle of writing leaves it.
    """

    path: Path
    line_number: int
    reason: str
    is_cut: bool = False

    def __str__(self) -> str:
        return f"{self.path}:{self.line_number}: {self.reason}" if self.line_number else f"{self.path}: {self.reason}"


def describe_unreadable(lines: Sequence[UnreadableLine]) -> str:
    """One line: how many were skipped, and where."""
    named = "; ".join(map(str, lines[:_LINES_NAMED])) + ("; ..." if len(lines) > _LINES_NAMED else "")
    return f"{len(lines)} unreadable line{'' if len(lines) == 1 else 's'} skipped: {named}"


class RecordFile:
    """One run's records, a line each; every line is on the disk before `append` returns.

    The file is made when the first record comes.

    Attributes:
        path: `<folder>/<run_id>.jsonl`.
    """

    def __init__(self, folder: Path, run_id: str) -> None:
        self.path = folder / f"{run_id}{SUFFIX}"
        self._descriptor: int | None = None

    def append(self, record: Record) -> None:
        """Write one record whole, flushed and synced.

        Raises:
            OutputError: If the disk is full or the file cannot be written; what was there stays readable.
        """
        line = (encode_record(record) + "\n").encode()
        try:
            if self._descriptor is None:
                self._descriptor = self._create()
            _write_whole(self._descriptor, line)
        except OSError as error:
            raise OutputError(f"Cannot write {str(self.path)!r}: {error.strerror or error}.") from error

    def _create(self) -> int:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)
        # The name of a new file is safe only when its folder is synced too.
        with contextlib.suppress(OSError):
            folder = os.open(self.path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        return descriptor

    def close(self) -> None:
        """Close the file."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> RecordFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _write_whole(descriptor: int, line: bytes) -> None:
    """Write and sync a line, or leave the file as it was."""
    start = os.fstat(descriptor).st_size
    try:
        written = 0
        while written < len(line):
            written += os.write(descriptor, line[written:])
        os.fsync(descriptor)
    except BaseException:  # Ctrl-C too
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, start)
        raise


def check_writable(folder: Path) -> None:
    """Try a file in the folder before anything is measured, and leave no trace of it.

    Raises:
        OutputError: If records could not be written there.
    """
    missing = [parent for parent in (folder, *folder.parents) if not parent.exists()]
    probe = folder / f".atlasbench-{secrets.token_hex(4)}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            probe.write_bytes(b"\n")
        finally:
            probe.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(
            f"Cannot write records to {str(folder)!r}: {error.strerror or error}. "
            "Give another folder with --out, or keep none with --no-save."
        ) from error
    finally:
        with contextlib.suppress(OSError):  # one that is not empty: another run has begun to use it
            for made in missing:
                made.rmdir()


def load_records(sources: Iterable[Path]) -> tuple[list[Record], list[UnreadableLine]]:
    """Read files of records, and folders of such files (subfolders too), oldest record first.

    Returns:
        The records, and the lines that are none.

    Raises:
        RecordsError: If a path is not there, there is no file of records, no line can be read, or a newer version
            wrote one.
    """
    sources = list(sources)
    records, unreadable = _load_all(sources)
    if records:
        return records, unreadable
    where = ", ".join(repr(str(source)) for source in sources) or "no files"
    if unreadable:
        raise RecordsError(f"No record can be read from {where}: {describe_unreadable(unreadable)}.")
    raise RecordsError(f"No records in {where}: run `atlasbench profile MODEL --res 1024` to make some.")


def load_earlier_records(folder: Path) -> tuple[list[Record], list[UnreadableLine]]:
    """Read what earlier runs left in a folder, oldest record first; there may be nothing yet.

    Raises:
        RecordsError: If there are lines, none of which can be read, or a newer version wrote one. Lines that were
            cut when their run was killed do not count.
    """
    records, unreadable = _load_all([folder]) if folder.is_dir() else ([], [])
    if not records and not all(line.is_cut for line in unreadable):
        raise RecordsError(f"No record can be read from {str(folder)!r}: {describe_unreadable(unreadable)}.")
    return records, unreadable


def _load_all(sources: Iterable[Path]) -> tuple[list[Record], list[UnreadableLine]]:
    records: list[Record] = []
    unreadable: list[UnreadableLine] = []
    paths = {path.resolve(): path for source in sources for path in _files_of(source)}
    for path in paths.values():
        found, bad = _load_file(path)
        records += found
        unreadable += bad
    records.sort(key=lambda record: record.time)
    return records, unreadable


def _files_of(source: Path) -> list[Path]:
    if source.is_dir():
        return sorted(path for path in source.rglob(f"*{SUFFIX}") if path.is_file())
    if not source.exists():
        raise RecordsError(f"There is no file or folder {str(source)!r}.")
    return [source]


def _load_file(path: Path) -> tuple[list[Record], list[UnreadableLine]]:
    records: list[Record] = []
    unreadable: list[UnreadableLine] = []
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        return [], [UnreadableLine(path=path, line_number=0, reason=error.strerror or str(error))]
    for number, raw in enumerate(lines, start=1):
        if not raw.strip():
            continue
        try:
            records.append(decode_record(raw))
        except NewerSchemaError as error:
            raise NewerSchemaError(f"{path}:{number}: {error}.") from error
        except RecordsError as error:
            is_cut = number == len(lines)  # what follows the last line break
            unreadable.append(UnreadableLine(path=path, line_number=number, reason=str(error), is_cut=is_cut))
    return records, unreadable
