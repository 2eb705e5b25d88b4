"""Writes a page whole, or leaves what was there."""

from __future__ import annotations

import contextlib
import secrets
from pathlib import Path

from atlasbench.core.errors import OutputError


def check_place(path: Path) -> None:
    """Try whether a page can be written here, before any work, and leave no trace of it.

    Raises:
        OutputError: If it is a folder, or its folder is not there or takes no file.
    """
    if path.is_dir():
        raise OutputError(f"Cannot write the page to {str(path)!r}: it is a folder. Name a file, e.g. report.html.")
    if path.exists() and not path.is_file():
        raise OutputError(f"Cannot write the page to {str(path)!r}: it is no ordinary file.")
    probe = _beside(path)
    try:
        try:
            probe.touch()
        finally:
            probe.unlink(missing_ok=True)
    except OSError as error:
        raise _cannot(path, error) from error


def save_page(path: Path, text: str) -> None:
    """Write a page; a reader sees the old file or the new one, never a part.

    Raises:
        OutputError: If the disk is full or the file cannot be written; what was there stays.
    """
    draft = _beside(path)
    try:
        try:
            draft.write_bytes(text.encode(errors="replace"))  # names of files may hold what UTF-8 cannot write
            draft.replace(path)
        finally:
            with contextlib.suppress(OSError):
                draft.unlink()
    except OSError as error:
        raise _cannot(path, error) from error


def _beside(path: Path) -> Path:
    """A file of the same folder that nobody else has: only there is a rename one step."""
    return path.parent / f".atlasbench-{secrets.token_hex(4)}.html"


def _cannot(path: Path, error: OSError) -> OutputError:
    return OutputError(
        f"Cannot write the page to {str(path)!r}: {error.strerror or error}. Give another file with --out."
    )
