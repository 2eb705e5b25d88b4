"""What tells the rows of a table apart, and what they share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from atlasbench.core.workload import AttentionBackend, MemoryFormat, Workload
from atlasbench.report.layout import Column


@dataclass(frozen=True, slots=True, kw_only=True)
class _Field:
    """One thing that may tell rows apart.

    Attributes:
        title: Head of its column.
        read: Its cell; empty where it does not apply.
        phrase: How a title or a label says it.
        is_text: Whether cells are words.
    """

    title: str
    read: Callable[[Workload], str]
    phrase: str = "{}"
    is_text: bool = True


_FIELDS = (
    _Field(title="Model", read=lambda workload: workload.model),
    _Field(title="px", read=lambda workload: str(workload.resolution), phrase="{} px", is_text=False),
    _Field(title="D", read=lambda workload: workload.scale_drop, phrase="D {}", is_text=False),
    _Field(title="Batch", read=lambda workload: str(workload.batch_size), phrase="batch {}", is_text=False),
    _Field(title="Mode", read=lambda workload: workload.mode.value, is_text=False),
    _Field(title="Dtype", read=lambda workload: workload.dtype.value, is_text=False),
    _Field(title="Compile", read=lambda workload: "compiled" if workload.compiled else "", is_text=False),
    _Field(
        title="Layout",
        read=lambda workload: "" if workload.memory_format is MemoryFormat.CONTIGUOUS else workload.memory_format.value,
        is_text=False,
    ),
    _Field(
        title="Attention",
        read=lambda workload: (
            "" if workload.attention_backend is AttentionBackend.AUTO else workload.attention_backend.value
        ),
        phrase="{} attention",
        is_text=False,
    ),
    _Field(title="Options", read=lambda workload: " ".join(workload.settings)),
    _Field(title="Device", read=lambda workload: workload.device, phrase="on {}", is_text=False),
)
_SIZE = _FIELDS[1]


def identity_columns(workloads: Sequence[Workload]) -> list[Column]:
    """A column for the size and for everything else in which the rows differ."""
    return [
        Column(
            title=field.title,
            cells=[field.read(workload) or "-" for workload in workloads],
            is_identity=True,
            is_text=field.is_text,
        )
        for field in _FIELDS
        if field is _SIZE or _differs(field, workloads)
    ]


def describe_shared(workloads: Sequence[Workload]) -> str:
    """What all rows share, for the title."""
    shared = (field for field in _FIELDS if field is not _SIZE and not _differs(field, workloads))
    return _phrases(shared, workloads[0], ", ")


def label_rows(workloads: Sequence[Workload], rows: Sequence[int]) -> str:
    """A name for some of the rows, as short as tells them from all others: `vit_b`, or `vit_b 64 px train, ...`."""
    chosen = [workloads[row] for row in rows]
    differing = [field for field in _FIELDS if _differs(field, workloads)]
    for field in differing:
        values = {field.read(workload) for workload in chosen}
        if sum(field.read(workload) in values for workload in workloads) == len(chosen):
            return ", ".join(dict.fromkeys(_phrases([field], workload, "") for workload in chosen))
    return ", ".join(dict.fromkeys(_phrases(differing, workload, " ") for workload in chosen))


def _differs(field: _Field, workloads: Sequence[Workload]) -> bool:
    return len({field.read(workload) for workload in workloads}) > 1


def _phrases(fields: Iterable[_Field], workload: Workload, separator: str) -> str:
    return separator.join(field.phrase.format(text) for field in fields if (text := field.read(workload)))
