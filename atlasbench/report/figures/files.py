"""Pictures as files in a folder."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from atlasbench.core.errors import OutputError
from atlasbench.report.figures.picture import FileFormat, Picture, render_picture
from atlasbench.report.figures.theme import Theme


def check_folder(folder: Path) -> None:
    """Look whether files can be made in a folder, which may not be there yet; leaves no trace.

    Raises:
        OutputError: If they cannot.
    """
    try:
        nearest = next(place for place in (folder, *folder.parents) if place.exists())
    except OSError as error:
        raise _refuse(folder, error.strerror or str(error)) from error
    if not nearest.is_dir():
        raise _refuse(folder, f"{str(nearest)!r} is a file")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise _refuse(folder, f"{str(nearest)!r} cannot be written to")


def write_pictures(
    pictures: Sequence[Picture], folder: Path, formats: Sequence[FileFormat], theme: Theme
) -> Iterator[Path]:
    """Write every picture in every format; gives each file once it is there.

    Raises:
        OutputError: If a file cannot be written.
    """
    for picture in pictures:
        for file_format in formats:
            path = folder / f"{picture.name}.{file_format}"
            content = render_picture(picture, file_format, theme)
            try:
                folder.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            except OSError as error:
                raise _refuse(folder, error.strerror or str(error)) from error
            yield path


def _refuse(folder: Path, reason: str) -> OutputError:
    return OutputError(f"Cannot write pictures to {str(folder)!r}: {reason}. Give another folder with --out.")
