"""Tables as text: columns that do not fit the width go into a second table below, never into broken numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table as RichTable
from rich.text import Text

_GAP = 2  # blanks between columns


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of ready text.

    Attributes:
        title: Head, with the unit where the cells have none.
        cells: One for each row.
        is_identity: Whether it says which row this is; repeated when the table is cut.
        is_text: Whether cells are words (left) and not numbers (right).
    """

    title: str
    cells: Sequence[str]
    is_identity: bool = False
    is_text: bool = False

    @property
    def width(self) -> int:
        """Characters of the widest line."""
        return max(map(len, [self.title, *self.cells]))


@dataclass(frozen=True, slots=True, kw_only=True)
class TextTable:
    """A table ready to be drawn.

    Attributes:
        title: What the table is about.
        columns: Identity columns first.
        footnotes: Lines below it.
    """

    title: str
    columns: Sequence[Column]
    footnotes: Sequence[str] = ()


def cut_columns(columns: Sequence[Column], width: int) -> list[list[Column]]:
    """Spread columns over as many tables as it takes for each to fit, each with the identity columns first."""
    identity = [column for column in columns if column.is_identity]
    used = sum(column.width + _GAP for column in identity)
    blocks: list[list[Column]] = [[]]
    left = width - used
    for column in columns:
        if column.is_identity:
            continue
        if blocks[-1] and column.width + _GAP > left:
            blocks.append([])
            left = width - used
        blocks[-1].append(column)
        left -= column.width + _GAP
    return [identity + block for block in blocks]


def render_text(table: TextTable, console: Console) -> RenderableType:
    """The table for a terminal of the console's width."""
    parts: list[RenderableType] = [Text(table.title, style="bold")]
    for block in cut_columns(table.columns, console.width):
        drawn = RichTable(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, _GAP, 0, 0), show_edge=False)
        for column in block:
            # Words may be cut when even one column is too wide for the terminal; numbers may not.
            drawn.add_column(
                column.title,
                justify="left" if column.is_text else "right",
                no_wrap=not column.is_text,
                overflow="fold",
                min_width=None if column.is_text else column.width,
            )
        for row in zip(*(column.cells for column in block), strict=True):
            drawn.add_row(*map(Text, row))
        parts += [drawn, Text("")]
    parts += [Text(line) for line in table.footnotes]
    return Group(*parts)


def render_markdown(table: TextTable) -> str:
    """The table as GitHub Markdown, all columns in one."""
    lines = [
        "| " + " | ".join(_escape(column.title) for column in table.columns) + " |",
        "|" + "|".join(":---" if column.is_text else "---:" for column in table.columns) + "|",
    ]
    for row in zip(*(column.cells for column in table.columns), strict=True):
        lines.append("| " + " | ".join(map(_escape, row)) + " |")
    notes = [f"\n{_escape(line)}" for line in table.footnotes]
    return "\n".join([f"**{_escape(table.title)}**", "", *lines, *notes])


def _escape(text: str) -> str:
    return text.replace("|", "\\|")
