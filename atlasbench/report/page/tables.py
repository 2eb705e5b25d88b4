"""Tables as the page's template takes them: cells that know what they are sorted by, heads that name the kind."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from atlasbench.report.layout import Column, TextTable

_FILTERED_FROM = 10  # rows; fewer are seen at once
_WIDE_FROM = 8  # columns; more are printed across
_PREFIXES = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18}
_SIZE = re.compile(r"(\d+)x(\d+)$")
_NUMBER = re.compile(r"([+-]?[\d,]*\.?\d+(?:e[+-]?\d+)?)(?: ([kMGTPE])(?![a-z]))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One cell.

    Attributes:
        text: What is shown.
        sort: Number that it is sorted by; None to sort by the text.
    """

    text: str
    sort: float | None = None

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to sort: such rows come last in both directions."""
        return self.text in ("", "-")


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """Head of a column.

    Attributes:
        title: With the unit.
        kind: `measured`, `counted`, `predicted` or `from the paper`; empty for what is no result.
        is_text: Whether cells are words (left) and not numbers (right).
        is_code: Whether cells are commands, to copy and not to sort by.
    """

    title: str
    kind: str = ""
    is_text: bool = False
    is_code: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RowGroup:
    """Rows that belong together, the first cell of each naming it.

    Attributes:
        rows: As many cells as there are heads.
        heading: Line above them; empty for none.
    """

    rows: Sequence[Sequence[Cell]]
    heading: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PageTable:
    """A table of the page.

    Attributes:
        name: Its `id`, unique on the page.
        caption: What it is about.
        heads: One a column.
        groups: Its rows.
        footnotes: Lines below it.
        remarks: What must be known about single rows; many are folded away.
    """

    name: str
    caption: str
    heads: Sequence[Head]
    groups: Sequence[RowGroup]
    footnotes: Sequence[str] = ()
    remarks: Sequence[str] = ()

    @property
    def count(self) -> int:
        """Number of rows."""
        return sum(len(group.rows) for group in self.groups)

    @property
    def is_sortable(self) -> bool:
        """Whether rows may change places: not out of their group."""
        return len(self.groups) == 1 and self.count > 1

    @property
    def has_filter(self) -> bool:
        """Whether it is long enough to search in."""
        return self.is_sortable and self.count >= _FILTERED_FROM

    @property
    def is_wide(self) -> bool:
        """Whether it needs a page across."""
        return len(self.heads) > _WIDE_FROM


def convert_table(table: TextTable, name: str) -> PageTable:
    """The same table for the page; numbers are read back from their text to be sorted by."""
    heads = [Head(title=column.title, is_text=column.is_text) for column in table.columns]
    rows = list(zip(*map(_cells_of, table.columns), strict=True))
    starts = sorted({0, *table.headings})
    groups = [
        RowGroup(rows=rows[start:end], heading=table.headings.get(start, ""))
        for start, end in zip(starts, [*starts[1:], len(rows)], strict=True)
    ]
    return PageTable(name=name, caption=table.title, heads=heads, groups=groups, footnotes=table.footnotes)


def _cells_of(column: Column) -> list[Cell]:
    return [
        Cell(text=cell.strip(), sort=None if column.is_text else read_number(cell.strip())) for cell in column.cells
    ]


def read_number(text: str) -> float | None:
    """The number that a text begins with: `31.1 M` -> 31100000; a size by its pixels' side: `768x1536` -> 1086."""
    if size := _SIZE.match(text):
        return math.sqrt(int(size[1]) * int(size[2]))
    number = _NUMBER.match(text)
    return float(number[1].replace(",", "")) * _PREFIXES[number[2] or ""] if number else None
