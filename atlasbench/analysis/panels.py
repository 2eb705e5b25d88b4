"""Which records may stand in one picture: those of one setting, a panel for each machine and arithmetic."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from atlasbench.analysis.series import Machine, Series, group_series, model_key
from atlasbench.core.record import Environment, Record, Status
from atlasbench.core.workload import AttentionBackend, Dtype, MemoryFormat, Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """What may be compared number by number: one machine, one arithmetic.

    Attributes:
        title: Both.
        environments: Where the numbers were taken: one, unless they are counts, which are the same everywhere.
        series: What may be drawn.
    """

    title: str
    environments: tuple[Environment, ...]
    series: tuple[Series, ...]

    @property
    def records(self) -> list[Record]:
        """Of all series."""
        return [record for series in self.series for record in series.records]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """How a step ran, whatever the model, the size and the device: what has to agree in all panels of a picture.

    Attributes:
        words: All of it, for a person: `infer, batch 1`.
        difference: What tells it from the other settings of the same records; empty for the only one.
        panels: The newest machine first.
    """

    words: str
    difference: str
    panels: tuple[Panel, ...]

    @property
    def stem(self) -> str:
        """The difference as the end of a file's name: `-train-batch-8`."""
        return "".join(f"-{word}" for word in self.difference.replace(",", "").split())


def split_settings(machines: Sequence[Machine], is_wanted: Callable[[Record], bool]) -> list[Setting]:
    """The wanted records by setting, in the order of first appearance; panels without any are left out."""
    wanted = [
        replace(machine, records=records)
        for machine in machines
        if (records := tuple(record for record in machine.records if is_wanted(record)))
    ]
    settings = list(dict.fromkeys(_setting(record.workload) for machine in wanted for record in machine.records))
    return [
        Setting(
            words=", ".join(filter(None, setting)),
            difference=_difference(setting, settings),
            panels=tuple(_panels_of(setting, wanted)),
        )
        for setting in settings
    ]


def split_counts(machines: Sequence[Machine]) -> list[Setting]:
    """Everything that was counted, by mode; counts are the same on every machine, so each curve stands once.

    Of a series that several machines have, the one with the most sizes is taken, and never a mixture.
    """
    best: dict[tuple[object, ...], tuple[Machine, Series]] = {}
    for machine in machines:
        counted = tuple(record for record in machine.records if record.measurement.counts is not None)
        for series in group_series(replace(machine, records=counted)):
            key = (*model_key(series.workload), series.workload.mode)
            if key not in best or len(best[key][1].records) < len(series.records):
                best[key] = (machine, series)
    modes = list(dict.fromkeys(series.workload.mode for _, series in best.values()))
    return [
        Setting(
            words=mode.value,
            difference="" if len(modes) == 1 else mode.value,
            panels=(_merge([pair for pair in best.values() if pair[1].workload.mode is mode]),),
        )
        for mode in modes
    ]


def has_time(record: Record) -> bool:
    """Whether a record tells how long a step took."""
    return record.measurement.status is Status.OK and record.measurement.timing is not None


def has_memory(record: Record) -> bool:
    """Whether a record tells how much memory a step needs, or that there was too little."""
    return record.measurement.counts is not None or record.measurement.status is Status.OOM


def _panels_of(setting: tuple[str, ...], machines: Iterable[Machine]) -> Iterable[Panel]:
    for machine in machines:
        by_dtype: dict[Dtype, list[Record]] = {}
        for record in machine.records:
            if _setting(record.workload) == setting:
                by_dtype.setdefault(record.workload.dtype, []).append(record)
        for dtype, records in by_dtype.items():
            yield Panel(
                title=f"{machine.name}, {dtype.value}",
                environments=(machine.environment,),
                series=tuple(group_series(replace(machine, records=tuple(records)))),
            )


def _merge(pairs: Sequence[tuple[Machine, Series]]) -> Panel:
    records = tuple(record for _, series in pairs for record in series.records)
    machines = list({id(machine): machine for machine, _ in pairs}.values())
    # A machine of its own only to label the series against each other.
    together = Machine(name="counted", environment=machines[0].environment, records=records)
    return Panel(
        title="counted",
        environments=tuple(machine.environment for machine in machines),
        series=tuple(group_series(together)),
    )


def _setting(workload: Workload) -> tuple[str, ...]:
    is_usual_layout = workload.memory_format is MemoryFormat.CONTIGUOUS
    is_usual_attention = workload.attention_backend is AttentionBackend.AUTO
    return (
        workload.mode.value,
        f"batch {workload.batch_size}",
        "compiled" if workload.compiled else "",
        "" if is_usual_layout else workload.memory_format.value,
        "" if is_usual_attention else f"{workload.attention_backend.value} attention",
    )


def _difference(setting: tuple[str, ...], settings: Sequence[tuple[str, ...]]) -> str:
    """What differs among the settings; where that is empty (not compiled), the opposite is said."""
    opposites = ("", "", "eager", MemoryFormat.CONTIGUOUS.value, "auto attention")
    parts = [
        own or opposite
        for own, opposite, *values in zip(setting, opposites, *settings, strict=True)
        if len(set(values)) > 1
    ]
    return ", ".join(parts)
