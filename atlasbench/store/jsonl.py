"""Files of records: appended so that a kill loses at most the workload in hand, read so that damage costs one line."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from atlasbench.core.errors import OutputError, RecordsError
from atlasbench.core.record import Record
from atlasbench.store.codec import NewerSchemaError, decode_record, encode_record

SUFFIX = ".jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class UnreadableLine:
    """A line that is no record, and why."""

    path: Path
    line_number: int
    reason: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line_number}: {self.reason}"


class RecordFile:
    """One run's records, a line each; every line is on the disk before `append` returns."""

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
            start = os.fstat(self._descriptor).st_size
            written = 0
            try:
                while written < len(line):
                    written += os.write(self._descriptor, line[written:])
                os.fsync(self._descriptor)
            except OSError:
                with contextlib.suppress(OSError):
                    os.ftruncate(self._descriptor, start)
                raise
        except OSError as error:
            raise OutputError(f"Cannot write {str(self.path)!r}: {error.strerror or error}.") from error

    def _create(self) -> int:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        # The name of a new file is safe only when its folder is synced too.
        with contextlib.suppress(OSError):
            folder = os.open(self.path.parent, os.O_RDONLY)
            os.fsync(folder)
            os.close(folder)
        return descriptor

    def __enter__(self) -> RecordFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)


def check_writable(folder: Path) -> None:
    """Make the folder and try a file in it, before anything is measured.

    Raises:
        OutputError: If records could not be written there.
    """
    probe = folder / f".atlasbench-{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"\n")
        probe.unlink()
    except OSError as error:
        raise OutputError(
            f"Cannot write records to {str(folder)!r}: {error.strerror or error}. "
            "Give another folder with --out, or keep none with --no-save."
        ) from error


def load_records(sources: Iterable[Path]) -> tuple[list[Record], list[UnreadableLine]]:
    """Read files of records, and folders of such files (subfolders too), oldest record first.

    Returns:
        The records, and the lines that are none.

    Raises:
        RecordsError: If a path is not there, there is no file of records, or no line can be read.
    """
    records: list[Record] = []
    unreadable: list[UnreadableLine] = []
    sources = list(sources)
    paths = [path for source in sources for path in _files_of(source)]
    for path in paths:
        found, bad = _load_file(path)
        records += found
        unreadable += bad
    if not records:
        where = ", ".join(repr(str(source)) for source in sources)
        if unreadable:
            raise RecordsError(f"No record can be read from {where}: {unreadable[0]}.")
        raise RecordsError(f"No records in {where}: run `atlasbench profile MODEL --res 1024` to make some.")
    records.sort(key=lambda record: record.time)
    return records, unreadable


def _files_of(source: Path) -> list[Path]:
    if source.is_dir():
        return sorted(source.rglob(f"*{SUFFIX}"))
    if not source.is_file():
        raise RecordsError(f"There is no file or folder {str(source)!r}.")
    return [source]


def _load_file(path: Path) -> tuple[list[Record], list[UnreadableLine]]:
    records: list[Record] = []
    unreadable: list[UnreadableLine] = []
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise RecordsError(f"Cannot read {str(path)!r}: {error.strerror or error}.") from error
    for number, raw in enumerate(lines, start=1):
        if not raw.strip():
            continue
        try:
            records.append(decode_record(raw.decode()))
        except NewerSchemaError as error:
            raise NewerSchemaError(f"{path}:{number}: {error}.") from error
        except (RecordsError, UnicodeDecodeError) as error:
            unreadable.append(UnreadableLine(path=path, line_number=number, reason=str(error)))
    return records, unreadable
