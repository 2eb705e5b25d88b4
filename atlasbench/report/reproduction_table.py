"""A table of the paper beside our measurements."""

from __future__ import annotations

from collections.abc import Callable

from atlasbench.analysis.reproduced_row import ReproducedRow
from atlasbench.analysis.reproduction import Reproduction
from atlasbench.core.units import three_digits
from atlasbench.report.layout import Column, TextTable


def build_reproduction_table(reproduction: Reproduction) -> TextTable:
    """Every row of the paper's table with its number and ours; what disagrees is said below."""
    rows = reproduction.rows

    def column(title: str, read: Callable[[ReproducedRow], str], *, is_text: bool = False) -> Column:
        return Column(title=title, cells=[read(row) or "-" for row in rows], is_text=is_text)

    names = Column(title="Row", cells=[row.label for row in rows], is_identity=True, is_text=True)
    sizes = Column(title="px", cells=[str(row.resolution) for row in rows], is_identity=True)
    columns = [
        names,
        *([sizes] if len(set(sizes.cells)) > 1 else []),
        column("Paper", lambda row: f"{row.paper:.3g}"),  # 4.3 is not 4.30
        column("Ours", lambda row: _number(row.ours)),
        column("95 % interval", _interval),
        column("FLOPs", lambda row: _number(row.flops_ratio)),
        column("Remark", lambda row: row.remark, is_text=True),
    ]
    same_size = " at the same size" if len(set(sizes.cells)) > 1 else ""
    return TextTable(
        title=f"{reproduction.title}, on {reproduction.machine}",
        columns=columns,
        footnotes=[
            f"All relative to {reproduction.baseline}{same_size}. Paper: training time, from the paper. Ours: time per "
            f"image, measured{_explain_interval(reproduction)}. FLOPs: per image, counted.",
            *reproduction.sentences,
        ],
    )


def _explain_interval(reproduction: Reproduction) -> str:
    others = (row for row in reproduction.rows if row.label != reproduction.baseline)
    measured = {row.is_paired for row in others if row.ours is not None}
    quotients = ", with an interval from both medians' intervals"
    turns = f" in turns with {reproduction.baseline}, with an exact interval"
    if measured == {True, False}:
        return f"{turns} where the remark says so; elsewhere a quotient of medians{quotients}"
    return turns if measured == {True} else quotients


def _number(value: float | None) -> str:
    return "" if value is None else three_digits(value)


def _interval(row: ReproducedRow) -> str:
    if row.low is None or row.high is None or row.low == row.high:
        return ""
    return f"{three_digits(row.low)} to {three_digits(row.high)}"
