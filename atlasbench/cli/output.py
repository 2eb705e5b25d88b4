"""What commands say and how: tables to stdout, everything else to stderr."""

from __future__ import annotations

import csv
import io
import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import typer

from atlasbench.core.errors import InvalidOptionError

if TYPE_CHECKING:
    from atlasbench.report.layout import TextTable

INTERRUPTED = 130  # exit code after Ctrl-C
FORMATS = ("table", "json", "csv", "markdown")
_PIPED_WIDTH = 80  # columns of a table that goes to a file


def check_format(name: str) -> None:
    """Refuse an unknown format.

    Raises:
        InvalidOptionError: If it is none of `FORMATS`.
    """
    if name not in FORMATS:
        raise InvalidOptionError(f"--format: {name!r} is not one of {', '.join(FORMATS)}.")


def show_table(table: TextTable, output_format: str = "table") -> None:
    """Print a table for people."""
    from atlasbench.report.layout import render_markdown, render_text

    if output_format == "markdown":
        typer.echo(render_markdown(table))
    else:
        typer.echo(render_text(table, page_width()))


def show_rows(rows: Sequence[Mapping[str, Any]], output_format: str, *, title: str) -> None:
    """Print plain rows in any format."""
    from atlasbench.report.layout import Column, TextTable

    names = list(rows[0]) if rows else []
    if output_format == "json":
        typer.echo(json.dumps(list(rows), indent=1, ensure_ascii=False))
    elif output_format == "csv":
        text = io.StringIO()
        writer = csv.DictWriter(text, fieldnames=names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        typer.echo(text.getvalue().rstrip("\n"))
    elif rows:
        columns = [
            Column(
                title=name.capitalize(),
                cells=[str(row[name]) for row in rows],
                is_identity=index == 0,
                is_text=not all(isinstance(row[name], int) for row in rows),
            )
            for index, name in enumerate(names)
        ]
        show_table(TextTable(title=title, columns=columns), output_format)


def page_width() -> int:
    """Columns of the terminal, or of a file."""
    return shutil.get_terminal_size((_PIPED_WIDTH, 24)).columns


def say(text: str) -> None:
    """A line for the person, not for the pipe."""
    typer.echo(text, err=True)


def is_terminal() -> bool:
    """Whether progress can be drawn."""
    return sys.stderr.isatty()
