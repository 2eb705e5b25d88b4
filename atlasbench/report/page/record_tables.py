"""The page's tables of records: every number, what failed, and the command that measures each again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from atlasbench.analysis.commands import reproduce_command
from atlasbench.core.columns import flatten_record
from atlasbench.core.record import Measurement, Record, Status
from atlasbench.core.units import three_digits
from atlasbench.report.identity import describe_shared, identity_columns
from atlasbench.report.page.tables import Cell, Head, PageTable, RowGroup
from atlasbench.report.remarks import explain_numbers, remark_rows

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Quantity:
    """A column of numbers.

    Attributes:
        head: Title with the unit, and kind.
        read: Value in that unit; None where not known.
        show: Its text; three digits if not given.
    """

    head: Head
    read: Callable[[Row], float | None]
    show: Callable[[Row], str] | None = None


def _scaled(name: str, factor: float) -> Callable[[Row], float | None]:
    return lambda row: None if row[name] is None else row[name] / factor


def _is_predicted(row: Row) -> bool:
    return bool(row["memory_method"] == "predicted")


def _measured_memory(row: Row) -> float | None:
    return None if _is_predicted(row) else _scaled("peak_memory_bytes", 1e9)(row)


def _attention_share(row: Row) -> float | None:
    return 100 * row["flops_attention"] / row["flops"] if row["flops"] else None


def _interval(row: Row) -> str:
    low, high = (row["batch_size"] / row[name] for name in ("latency_high_s", "latency_low_s"))
    return f"{_digits(low)} to {_digits(high)}{'' if row['converged'] else ' *'}"


def _lower_end(row: Row) -> float | None:
    """What intervals are sorted by."""
    ends = row["latency_low_s"], row["latency_high_s"]
    return row["batch_size"] / row["latency_high_s"] if all(ends) else None


_QUANTITIES = (
    _Quantity(head=Head(title="Images/s", kind="measured"), read=_scaled("images_per_s", 1)),
    _Quantity(head=Head(title="95 % interval", kind="measured"), read=_lower_end, show=_interval),
    _Quantity(head=Head(title="Peak memory, GB", kind="measured"), read=_measured_memory),
    _Quantity(head=Head(title="Peak memory, GB", kind="predicted"), read=_scaled("predicted_peak_bytes", 1e9)),
    _Quantity(head=Head(title="GFLOPs/image", kind="counted"), read=_scaled("flops", 1e9)),
    _Quantity(head=Head(title="Attention, % of FLOPs", kind="counted"), read=_attention_share),
    _Quantity(head=Head(title="GMACs/image", kind="counted"), read=_scaled("macs", 1e9)),
    _Quantity(head=Head(title="Params, M", kind="counted"), read=_scaled("params", 1e6)),
    _Quantity(
        head=Head(title="Tokens", kind="counted"), read=_scaled("tokens", 1), show=lambda row: f"{row['tokens']:,}"
    ),
    _Quantity(head=Head(title="Time per batch, ms", kind="measured"), read=_scaled("latency_s", 1e-3)),
    _Quantity(
        head=Head(title="Samples", kind="measured"), read=_scaled("samples", 1), show=lambda row: str(row["samples"])
    ),
)


def build_number_table(records: Sequence[Record], name: str, machine: str) -> PageTable:
    """Every record a row, with the numbers that any of them has; sorted by the numbers, not by their text."""
    rows = [flatten_record(record) for record in records]
    heads, columns = _identify(records)
    if any(row["status"] != Status.OK.value for row in rows):
        heads.append(Head(title="Status", is_text=True))
        columns.append([Cell(text=row["status"]) for row in rows])
    for quantity in _QUANTITIES:
        values = [quantity.read(row) for row in rows]
        if any(value is not None for value in values):
            heads.append(quantity.head)
            columns.append([_number_cell(quantity, row, value) for row, value in zip(rows, values, strict=True)])
    # Why others failed stands in a table of its own.
    measurements = [
        record.measurement if record.measurement.status is Status.OK else Measurement(status=Status.OK)
        for record in records
    ]
    return PageTable(
        name=name,
        caption=_describe(f"Numbers, {machine}", records),
        heads=heads,
        groups=[RowGroup(rows=list(zip(*columns, strict=True)))],
        footnotes=[explain_numbers(records)],
        remarks=remark_rows([record.workload for record in records], measurements),
    )


def build_failure_table(records: Sequence[Record], name: str, machine: str) -> PageTable | None:
    """What ended without a measurement, and why; None if nothing did."""
    failed = [record for record in records if record.measurement.status is not Status.OK]
    if not failed:
        return None
    heads, columns = _identify(failed)
    heads += [Head(title="Status", is_text=True), Head(title="Reason", is_text=True)]
    columns += [
        [Cell(text=record.measurement.status.value) for record in failed],
        [Cell(text="; ".join(filter(None, (item.message, *item.notes)))) for item in (r.measurement for r in failed)],
    ]
    return PageTable(
        name=name,
        caption=_describe(f"Not measured, {machine}", failed),
        heads=heads,
        groups=[RowGroup(rows=list(zip(*columns, strict=True)))],
    )


def build_command_table(records: Sequence[Record], name: str, machine: str) -> PageTable:
    """The command that measures each record again."""
    heads, columns = _identify(records)
    return PageTable(
        name=name,
        caption=_describe(f"Commands, {machine}", records),
        heads=[*heads, Head(title="Command", is_text=True, is_code=True)],
        groups=[
            RowGroup(
                rows=[
                    [*cells, Cell(text=reproduce_command(record))]
                    for record, cells in zip(records, zip(*columns, strict=True), strict=True)
                ]
            )
        ],
    )


def _describe(what: str, records: Sequence[Record]) -> str:
    shared = describe_shared([record.workload for record in records])
    return f"{what}. All rows: {shared}." if shared else f"{what}."


def _identify(records: Sequence[Record]) -> tuple[list[Head], list[list[Cell]]]:
    """Model, size, and all else in which the records differ; what they share is for the caption."""
    heads = [Head(title="Model", is_text=True)]
    columns = [[Cell(text=record.workload.model) for record in records]]
    for column in identity_columns([record.workload for record in records]):
        if column.title == "px":
            cells = [
                Cell(text=text, sort=record.workload.resolution.pixels)
                for text, record in zip(column.cells, records, strict=True)
            ]
        else:
            cells = [Cell(text=text, sort=float(text) if text.isdecimal() else None) for text in column.cells]
        if column.title != "Model":
            heads.append(Head(title=column.title, is_text=column.is_text))
            columns.append(cells)
    return heads, columns


def _number_cell(quantity: _Quantity, row: Row, value: float | None) -> Cell:
    if value is None:
        return Cell(text="-")
    return Cell(text=quantity.show(row) if quantity.show else _digits(value), sort=value)


def _digits(value: float) -> str:
    """Three significant digits, thousands apart."""
    text = three_digits(value)
    return f"{int(text):,}" if text.isdecimal() else text
