"""Which records a verdict is about: of one series, those that have the quantity."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from atlasbench.analysis.scaling.quantities import Quantity, read_value
from atlasbench.analysis.series import Machine, Series, group_series, series_key, split_machines
from atlasbench.core.record import Record
from atlasbench.core.resolution import Resolution
from atlasbench.core.workload import Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """Records of one series that have a quantity, smallest first, and where they were taken.

    Attributes:
        label: The series, told from all others on any machine.
        machine: Empty for what is counted, which is the same on every machine.
        quantity: What they all have.
        records: One for each size.
    """

    label: str
    machine: str
    quantity: Quantity
    records: tuple[Record, ...]


def find_curves(records: Sequence[Record]) -> Iterator[Curve]:
    """Curves of every series: of what is counted one for all machines, of what is measured one for each.

    Args:
        records: Oldest first.
    """
    machines = split_machines(records)
    parts = [series for machine in machines for series in group_series(machine)]
    for key, label in _label_series(records).items():
        yield from _find_curves([part for part in parts if _key_anywhere(part.workload) == key], label)


def _label_series(records: Sequence[Record]) -> dict[Any, str]:
    """The label of every series by its key, both whatever machine it ran on."""
    if not records:
        return {}
    anywhere = tuple(replace(record, workload=replace(record.workload, device="meta")) for record in records)
    machine = Machine(name="", environment=records[0].environment, records=anywhere)
    return {series_key(series.workload): series.label for series in group_series(machine)}


def _key_anywhere(workload: Workload) -> Any:
    return series_key(replace(workload, device="meta"))


def _find_curves(parts: Sequence[Series], label: str) -> Iterator[Curve]:
    """Curves of a series.

    Args:
        parts: Its records machine by machine.
        label: Of the series.
    """
    for quantity in (quantity for quantity in Quantity if quantity.is_counted):
        if counted := _count_sizes([record for part in parts for record in part.records], quantity):
            yield Curve(label=label, machine="", quantity=quantity, records=counted)
    for part in parts:
        for quantity in (quantity for quantity in Quantity if not quantity.is_counted):
            measured = [record for record in part.records if read_value(record, quantity)]
            if quantity is Quantity.MEMORY:
                measured = _of_one_method(measured)
            if measured:
                yield Curve(label=label, machine=part.machine, quantity=quantity, records=tuple(measured))


def _count_sizes(records: Sequence[Record], quantity: Quantity) -> tuple[Record, ...]:
    """One record for each size: the first that knows its layers, or else the first."""
    counted = [record for record in records if read_value(record, quantity) is not None]
    sizes: dict[Resolution, Record] = {}
    for record in sorted(counted, key=lambda record: not _knows_layers(record)):
        sizes.setdefault(record.workload.resolution, record)
    return tuple(sorted(sizes.values(), key=lambda record: record.workload.resolution.pixels))


def _of_one_method(records: Sequence[Record]) -> list[Record]:
    """Those whose memory was found in the way of most."""
    methods = [record.measurement.memory.method for record in records if record.measurement.memory]
    usual = max(methods, key=methods.count, default="")
    return [record for record, method in zip(records, methods, strict=True) if method == usual]


def _knows_layers(record: Record) -> bool:
    return record.measurement.counts is not None and bool(record.measurement.counts.layers)
