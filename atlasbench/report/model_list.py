"""What can be loaded, as a table: a heading for each family, a line for each backbone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from atlasbench.core.units import format_quantity
from atlasbench.report.layout import Column, TextTable

_OF_A_FAMILY = ("family", "paper", "year", "sizes")


def build_model_list(rows: Sequence[Mapping[str, Any]], resolution: str) -> TextTable:
    """The table of `atlasbench models`.

    Args:
        rows: As `atlasbench.api.search_models` gives them; rows of a family are neighbours.
        resolution: That the parameters are counted at.
    """
    headings: dict[int, str] = {}
    for index, row in enumerate(rows):
        if index == 0 or any(row[key] != rows[index - 1][key] for key in _OF_A_FAMILY):
            headings[index] = f"{row['family']}: {row['paper']} ({row['year']}). Sizes: {row['sizes']}."
    return TextTable(
        title="",
        columns=[
            Column(title="Name", cells=[row["name"] for row in rows], is_identity=True, is_text=True),
            Column(title="Params", cells=[_count(row["params"]) for row in rows]),
            Column(title="Mixing reaches", cells=[row["mixing"] for row in rows], is_text=True),
            Column(title="What", cells=[row["what"] for row in rows], is_text=True),
        ],
        footnotes=[f"Params: counted, for an image of {resolution} px; some models have more for a larger one."],
        headings=headings,
    )


def _count(params: int | None) -> str:
    return "" if params is None else format_quantity(params)
