"""Whether every field of a record holds what it is declared to hold: lines may come from anywhere."""

from __future__ import annotations

import dataclasses
import reprlib
from collections.abc import Mapping
from functools import cache
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from atlasbench.core.record import Record
from atlasbench.core.scales import parse_scale_drop
from atlasbench.core.workload import canonical_json

_LARGEST = 1e30  # beyond every count; products of such numbers are still finite
_SMALLEST = -1.0  # a correlation is the only number that may be below 0
_SHORTEST_S = 1e-12  # below what any clock resolves


def check_record(record: Record) -> None:
    """Refuse a record that later work would stumble over.

    Raises:
        ValueError: If a field holds another type, or a number that is not finite, too large or negative; names it.
        ScaleDropError: If the scale drop is none.
    """
    _check_fields(record, "")
    timing = record.measurement.timing
    if timing is not None and min(timing.latency_s, timing.latency_low_s, timing.latency_high_s) < _SHORTEST_S:
        raise ValueError("a latency is not above 0")
    limits = (*record.environment.matmul_flops_per_s.values(), record.environment.copy_bytes_per_s)
    if any(limit is not None and limit <= 0 for limit in limits):
        raise ValueError("a limit of the device is not above 0")
    parse_scale_drop(record.workload.scale_drop or "none")


def _check_fields(value: Any, where: str) -> None:
    kind: Any = type(value)
    for name, hint in _hints_of(kind).items():
        item = getattr(value, name)
        if not _fits(item, hint):
            raise ValueError(f"{where}{name} is {reprlib.repr(item)}")
        for part in item if isinstance(item, tuple) else (item,):
            if dataclasses.is_dataclass(part):
                _check_fields(part, f"{where}{name}.")


@cache
def _hints_of(kind: type) -> dict[str, Any]:
    hints = get_type_hints(kind)
    return {item.name: hints[item.name] for item in dataclasses.fields(kind)}


def _fits(value: Any, hint: Any) -> bool:
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is Any:
        return _is_writable(canonical_json(value))
    if origin in (Union, UnionType):
        return any(_fits(value, argument) for argument in arguments)
    if origin is tuple:
        hints = arguments[:1] * len(value) if arguments[-1] is ... and isinstance(value, tuple) else arguments
        return isinstance(value, tuple) and len(value) == len(hints) and all(map(_fits, value, hints))
    if origin is Mapping:
        return isinstance(value, dict) and all(
            _fits(key, arguments[0]) and _fits(item, arguments[1]) for key, item in value.items()
        )
    if hint is int:
        return type(value) is int and 0 <= value <= _LARGEST
    if hint is float:
        return isinstance(value, (int, float)) and _SMALLEST <= value <= _LARGEST
    if hint is str:
        return isinstance(value, str) and _is_writable(value)
    return isinstance(value, hint)


def _is_writable(text: str) -> bool:
    """Whether no half of a surrogate pair is in it, which JSON can name and UTF-8 cannot write."""
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)
