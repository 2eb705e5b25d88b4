"""Which records a verdict is about: of one series, those that have the quantity."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from atlasbench.analysis.scaling.quantities import Quantity, read_value
from atlasbench.analysis.series import Series, series_key
from atlasbench.core.record import Record
from atlasbench.core.resolution import Resolution


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """Records of one series that have a quantity, smallest first, and where they were taken."""

    label: str
    machine: str
    records: tuple[Record, ...]


def find_curves(series: Sequence[Series], quantity: Quantity) -> Iterator[Curve]:
    """Curves of a quantity: one for each series, or, of what is counted, one for its sizes on all machines together."""
    return _counted_curves(series, quantity) if quantity.is_counted else _measured_curves(series, quantity)


def _counted_curves(series: Sequence[Series], quantity: Quantity) -> Iterator[Curve]:
    """The sizes of a series from every machine together; of equal sizes the record that knows its layers."""
    together: dict[Any, dict[Resolution, Record]] = {}
    labels: dict[Any, str] = {}
    for item in series:
        key = series_key(replace(item.workload, device="meta"))
        labels.setdefault(key, item.label)
        sizes = together.setdefault(key, {})
        for record in item.records:
            known = sizes.get(record.workload.resolution)
            if read_value(record, quantity) is not None and (known is None or not _knows_layers(known)):
                sizes[record.workload.resolution] = record
    for key, sizes in together.items():
        if sizes:
            records = sorted(sizes.values(), key=lambda record: record.workload.resolution.pixels)
            yield Curve(label=labels[key], machine="", records=tuple(records))


def _measured_curves(series: Sequence[Series], quantity: Quantity) -> Iterator[Curve]:
    for item in series:
        records = [record for record in item.records if read_value(record, quantity)]
        if quantity is Quantity.MEMORY:
            records = _of_one_method(records)
        if records:
            yield Curve(label=item.label, machine=item.machine, records=tuple(records))


def _of_one_method(records: Sequence[Record]) -> list[Record]:
    """Those whose memory was found in the way of most."""
    methods = [record.measurement.memory.method for record in records if record.measurement.memory]
    usual = max(methods, key=methods.count, default="")
    return [record for record, method in zip(records, methods, strict=True) if method == usual]


def _knows_layers(record: Record) -> bool:
    return record.measurement.counts is not None and bool(record.measurement.counts.layers)
