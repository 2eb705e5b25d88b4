"""Tables as text: columns that do not fit the width go into a second table below, never into broken numbers."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import zip_longest

_GAP = "  "
_NARROWEST = 16  # characters that a column of words keeps
_ROOM_FOR_NAMES = 0.6  # of the width; if the columns that name a row need more, rows get numbers


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of ready text.

    Attributes:
        title: Head, with the unit where the cells have none.
        cells: One for each row.
        is_identity: Whether it says which row this is; repeated when the table is cut.
        is_text: Whether cells are words (left, may be wrapped) and not numbers (right, never broken).
        limit: Characters that its cells may take; None for as many as they need.
    """

    title: str
    cells: Sequence[str]
    is_identity: bool = False
    is_text: bool = False
    limit: int | None = None

    @property
    def width(self) -> int:
        """Characters of the widest line."""
        natural = max(map(len, [self.title, *self.cells]))
        return natural if self.limit is None else min(natural, self.limit)


@dataclass(frozen=True, slots=True, kw_only=True)
class TextTable:
    """A table ready to be drawn.

    Attributes:
        title: What the table is about.
        columns: Identity columns first.
        footnotes: Lines below it.
        headings: Lines above some rows, by the row's number from 0; rows below one belong together.
    """

    title: str
    columns: Sequence[Column]
    footnotes: Sequence[str] = ()
    headings: Mapping[int, str] = field(default_factory=dict)


def render_text(table: TextTable, width: int) -> str:
    """The table for a terminal or a page of this width."""
    title = [wrap_words(table.title, width)] if table.title else []
    blocks = ["\n".join(_draw(block, table.headings, width)) for block in cut_columns(table.columns, width)]
    notes = ["\n".join(wrap_words(line, width, indent="  ") for line in table.footnotes)] if table.footnotes else []
    return "\n".join([*title, "\n\n".join([*blocks, *notes])])


def wrap_words(text: str, width: int, indent: str = "") -> str:
    """Break lines between words; further lines are indented."""
    return textwrap.fill(text, max(width, 20), subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def cut_columns(columns: Sequence[Column], width: int) -> list[list[Column]]:
    """Spread columns over as many blocks as it takes for each to fit, so that every block says which row is which.

    Columns of words are made narrower first. When the identity columns leave no room beside them, rows get numbers:
    the identity columns come in blocks of their own, and every block starts with the number.
    """
    narrowed = _narrow(columns, width)
    if _total(narrowed) <= width:
        return [narrowed]
    limit = max(_NARROWEST, width // 3)
    columns = [replace(column, limit=limit) if column.is_text else column for column in columns]
    identity = [column for column in columns if column.is_identity]
    rest = [column for column in columns if not column.is_identity]
    if _total(identity) <= width * _ROOM_FOR_NAMES:
        return _fill_blocks(identity, rest, width)
    rows = range(1, len(columns[0].cells) + 1)
    number = Column(title="#", cells=[str(row) for row in rows], is_identity=True)
    return _fill_blocks([number], identity, width) + _fill_blocks([number], rest, width)


def _narrow(columns: Sequence[Column], width: int) -> list[Column]:
    """Take from the widest columns of words what is too much, as far as they can give."""
    narrowed = list(columns)
    while _total(narrowed) > width:
        words = [index for index, column in enumerate(narrowed) if column.is_text and column.width > _NARROWEST]
        if not words:
            break
        widest = max(words, key=lambda index: narrowed[index].width)
        narrowed[widest] = replace(narrowed[widest], limit=narrowed[widest].width - 1)
    return narrowed


def _fill_blocks(identity: Sequence[Column], rest: Sequence[Column], width: int) -> list[list[Column]]:
    blocks: list[list[Column]] = [[*identity]]
    for column in rest:
        if len(blocks[-1]) > len(identity) and _total([*blocks[-1], column]) > width:
            blocks.append([*identity])
        blocks[-1].append(column)
    return blocks


def _total(columns: Sequence[Column]) -> int:
    return sum(column.width for column in columns) + len(_GAP) * (len(columns) - 1)


def _draw(columns: Sequence[Column], headings: Mapping[int, str], width: int) -> Iterator[str]:
    yield _join(columns, [column.title for column in columns])
    yield "─" * _total(columns)
    for index, row in enumerate(zip(*(column.cells for column in columns), strict=True)):
        if index in headings:
            yield "\n" * (index > 0) + wrap_words(headings[index], width, indent="  ")
        folded = [_fold(cell, column.width) for column, cell in zip(columns, row, strict=True)]
        for line in zip_longest(*folded, fillvalue=""):
            yield _join(columns, line)


def _join(columns: Sequence[Column], cells: Sequence[str]) -> str:
    aligned = (
        cell.ljust(column.width) if column.is_text else cell.rjust(column.width)
        for column, cell in zip(columns, cells, strict=True)
    )
    return _GAP.join(aligned).rstrip()


def _fold(text: str, width: int) -> list[str]:
    """Cut text into lines, after a blank or a sign that joins words where there is one in the second half."""
    lines = []
    while len(text) > width:
        cut = 1 + max(text.rfind(sign, 0, width) for sign in " _./,;:-")
        cut = cut if cut > width // 2 else width
        lines.append(text[:cut].rstrip())
        text = text[cut:].lstrip()
    return [*lines, text]


def render_markdown(table: TextTable) -> str:
    """The table as GitHub Markdown, all columns in one."""
    rows = zip(*(column.cells for column in table.columns), strict=True)
    lines = [
        "| " + " | ".join(_escape(column.title) for column in table.columns) + " |",
        "|" + "|".join(":---" if column.is_text else "---:" for column in table.columns) + "|",
        *("| " + " | ".join(map(_escape, row)) + " |" for row in rows),
    ]
    notes = [f"\n{_escape(line)}" for line in table.footnotes]
    title = [f"**{_escape(table.title)}**", ""] if table.title else []
    return "\n".join([*title, *lines, *notes])


def _escape(text: str) -> str:
    return text.replace("|", "\\|")
