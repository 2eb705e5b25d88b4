"""Which records belong together: one machine, one curve, the newest of what was measured twice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from atlasbench.core.errors import RecordsError, ScaleDropError
from atlasbench.core.record import Environment, Record, environment_key
from atlasbench.core.scales import default_scale_drop, format_scale_drop, parse_scale_drop
from atlasbench.core.workload import AttentionBackend, MemoryFormat, Workload, canonical_json

COUNTED = "counted on meta"  # the machine of records that were only counted: counts are the same on every machine


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """The records of one environment; absolute times are compared only inside it.

    Attributes:
        name: Tells it from the others, e.g. `NVIDIA H200` or `AMD EPYC, 2 threads`.
        environment: Where they were taken; of the newest record.
        records: The newest of each workload, oldest first.
    """

    name: str
    environment: Environment
    records: tuple[Record, ...]

    @property
    def is_counted(self) -> bool:
        """Whether nothing was run there: shapes alone."""
        return _is_meta(self.environment)


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One model on one machine as the image grows: everything but the size is the same.

    Attributes:
        label: Tells it from the other series of the machine, as short as that goes; no two are equal.
        machine: Name of the machine.
        records: One for each size, smallest image first.
    """

    label: str
    machine: str
    records: tuple[Record, ...] = field(repr=False)

    @property
    def workload(self) -> Workload:
        """Of the smallest size: model, options, batch, mode, dtype and so on are the same at all."""
        return self.records[0].workload


def split_machines(records: Sequence[Record]) -> list[Machine]:
    """Records by environment, the one with the newest record first; of equal workloads the newest record stays.

    Args:
        records: Oldest first.
    """
    groups: dict[tuple[str, ...], dict[Any, Record]] = {}
    for record in records:
        newest = groups.setdefault(environment_key(record.environment), {})
        newest.pop(record.key, None)
        newest[record.key] = record
    lists = [tuple(group.values()) for group in groups.values()]
    lists.sort(key=lambda group: group[-1].time, reverse=True)
    names = _name_environments([group[-1].environment for group in lists])
    return [
        Machine(name=name, environment=group[-1].environment, records=group)
        for name, group in zip(names, lists, strict=True)
    ]


def choose_machine(machines: Sequence[Machine], name: str) -> Machine:
    """The machine that a text names: its name, host or device, or a part of one that only it has.

    Raises:
        RecordsError: If it names none, or several.
    """
    wanted = name.casefold()
    exact = [item for item in machines if wanted in map(str.casefold, _names_of(item))]
    found = exact or [item for item in machines if any(wanted in other.casefold() for other in _names_of(item))]
    if len(found) == 1:
        return found[0]
    there = "; ".join(item.name for item in (found or machines))
    raise RecordsError(f"--machine: {name!r} names {'several' if found else 'none'} of the machines: {there}.")


def group_series(machine: Machine) -> list[Series]:
    """One series for each model and setting, in the order of their first records.

    Several scale drops at one size are series of their own; default drops, whose entries change with the number of
    scales, are one.
    """
    groups: dict[tuple[Any, ...], dict[str, Record]] = {}
    for record in machine.records:
        groups.setdefault(series_key(record.workload), {})[str(record.workload.resolution)] = record
    lists = [
        sorted(
            group.values(),
            key=lambda record: (record.workload.resolution.pixels, record.workload.resolution.height),
        )
        for group in groups.values()
    ]
    labels = _label_workloads([group[0].workload for group in lists])
    return [
        Series(label=label, machine=machine.name, records=tuple(group))
        for label, group in zip(labels, lists, strict=True)
    ]


def series_key(workload: Workload) -> tuple[Any, ...]:
    """What all workloads of a series share."""
    return (
        *model_key(workload),
        workload.batch_size,
        workload.mode,
        workload.dtype,
        workload.device_type,
        workload.compiled,
        workload.memory_format,
        workload.attention_backend,
    )


def model_key(workload: Workload) -> tuple[str, ...]:
    """What is a model's own, whatever the size of the image: name, options and scale drop."""
    lasting = {key: value for key, value in workload.options.items() if key != "img_size"}
    return workload.model, canonical_json(lasting), drop_class(workload.scale_drop)


def drop_class(scale_drop: str) -> str:
    """`default` for two blocks at every scale but the last, whatever their number; any other scale drop as it is."""
    depths = parse_scale_drop(scale_drop) if scale_drop else None
    if depths is None:
        return scale_drop
    try:
        is_default = depths == default_scale_drop(len(depths))
    except ScaleDropError:  # more scales than there is a default for
        is_default = False
    return "default" if is_default else format_scale_drop(depths)


def _label_workloads(workloads: Sequence[Workload]) -> list[str]:
    """Model, options and scale drop, and whatever else tells one series from another."""
    fields = [
        [f"batch {workload.batch_size}" for workload in workloads],
        [workload.mode.value for workload in workloads],
        [workload.dtype.value for workload in workloads],
        [workload.device_type for workload in workloads],
        ["compiled" if workload.compiled else "" for workload in workloads],
        [_unless(workload.memory_format.value, MemoryFormat.CONTIGUOUS.value) for workload in workloads],
        [
            _unless(workload.attention_backend.value, AttentionBackend.AUTO.value, " attention")
            for workload in workloads
        ],
    ]
    # The model is always named with what makes it another one; of the rest, what differs among its series.
    labels = []
    for index, workload in enumerate(workloads):
        others = [other for other, item in enumerate(workloads) if item.model == workload.model]
        model = [workload.model, " ".join(workload.settings), _drop_words(workload.scale_drop)]
        parts = [values[index] for values in fields if len({values[other] for other in others}) > 1]
        labels.append(", ".join(filter(None, [*model, *parts])))
    # What no option of the command line says: another version of a user's file, another timm.
    return [
        label if labels.count(label) == 1 else f"{label}, version {labels[: index + 1].count(label)}"
        for index, label in enumerate(labels)
    ]


def _drop_words(scale_drop: str) -> str:
    kind = drop_class(scale_drop)
    return "" if kind in ("", "default") else f"D {kind}"


def _unless(value: str, usual: str, suffix: str = "") -> str:
    return "" if value == usual else value + suffix


def _names_of(machine: Machine) -> tuple[str, ...]:
    return machine.name, machine.environment.machine, machine.environment.device


def _name_environments(environments: Sequence[Environment]) -> list[str]:
    """Device, and as much more as tells each from the others."""
    finders: tuple[Callable[[Environment], str], ...] = (
        lambda item: COUNTED if _is_meta(item) else item.device,
        lambda item: "" if _is_meta(item) or item.driver else f"{item.threads} threads",
        lambda item: f"on {item.machine}",
        lambda item: f"driver {item.driver}" if item.driver else "",
        lambda item: f"torch {item.versions.get('torch', '?')}",
        lambda item: f"timm {item.versions.get('timm', '?')}",
        lambda item: f"atlasbench {item.versions.get('atlasbench', '?')}",
        lambda item: f"{item.threads} threads",
    )
    names = [", ".join(filter(None, (find(item) for find in finders[:2]))) for item in environments]
    for find in finders[2:]:
        values = [find(item) for item in environments]
        alike = [[other for other, name in enumerate(names) if name == mine] for mine in names]
        names = [
            f"{name}, {value}" if value and len({values[other] for other in group}) > 1 else name
            for name, value, group in zip(names, values, alike, strict=True)
        ]
    return names


def _is_meta(environment: Environment) -> bool:
    return environment.device.startswith("meta")
