"""A table in the words of a recipe: its title, and a name for each row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from atlasbench.report.layout import Column, TextTable

_NAMED = ("Model", "Options")  # what a row's name stands for


def name_rows(table: TextTable, title: str, names: Sequence[str]) -> TextTable:
    """Put a title before the table's own, and names in place of the columns that they stand for.

    Args:
        table: With a row for each of the first names.
        title: Empty for none.
        names: At least one for each row; columns stay as they are where they say no more than those.
    """
    rows = len(table.columns[0].cells)
    column = Column(title="Row", cells=list(names[:rows]), is_identity=True, is_text=True)
    models = next((item.cells for item in table.columns if item.title == "Model"), None)
    columns = list(table.columns)
    if len(set(column.cells)) > 1 and column.cells != models:
        columns = [column, *(item for item in table.columns if item.title not in _NAMED)]
    return replace(table, title=". ".join(filter(None, (title, table.title))), columns=columns)
