"""Our times beside those of the Atlas paper, table by table, and whether arithmetic explains what differs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from atlasbench.analysis.paper_tables import PaperTable, load_paper_tables
from atlasbench.analysis.reproduced_row import ReproducedRow, compare_row
from atlasbench.analysis.series import Machine, split_machines
from atlasbench.core.record import Record, setting_key
from atlasbench.core.units import three_digits
from atlasbench.core.workload import AttentionBackend, MemoryFormat, Mode, Workload

_FAR = 1.5  # times: what arithmetic still explains, since backbones reach different shares of a device's speed


@dataclass(frozen=True, slots=True, kw_only=True)
class Reproduction:
    """A table of the paper beside the records of one machine and one setting.

    Attributes:
        table: E.g. `Table 1`.
        title: What it is about, and our setting.
        baseline: The row that times are relative to.
        machine: Where ours were measured.
        rows: All rows of the table, measured or not.
        sentences: What is compared, and one for each row that disagrees.
    """

    table: str
    title: str
    baseline: str
    machine: str
    rows: tuple[ReproducedRow, ...]
    sentences: tuple[str, ...]


def compare_with_paper(records: Sequence[Record]) -> list[Reproduction]:
    """Every table with times for which one machine and setting measured the baseline and another row of its size.

    Training steps are compared, since the paper's times are of training; inference only where there are none.

    Args:
        records: Oldest first.
    """
    machines = split_machines(records)
    tables = [table for table in load_paper_tables() if all(row.runtime is not None for row in table.rows)]
    return [found for table in tables for machine in machines for found in _compare_table(table, machine)]


def _compare_table(table: PaperTable, machine: Machine) -> list[Reproduction]:
    groups: dict[tuple[Any, ...], list[Record]] = {}
    for record in machine.records:
        groups.setdefault(setting_key(record.workload), []).append(record)
    found: dict[Mode, list[Reproduction]] = {mode: [] for mode in Mode}
    for group in groups.values():
        rows = tuple(compare_row(table, row, group) for row in table.rows)
        if any(ours.ours is not None and not row.is_baseline for row, ours in zip(table.rows, rows, strict=True)):
            workload = group[0].workload
            found[workload.mode].append(_reproduce(table, rows, workload, machine))
    return found[Mode.TRAIN] or found[Mode.INFER]


def _reproduce(
    table: PaperTable, rows: tuple[ReproducedRow, ...], workload: Workload, machine: Machine
) -> Reproduction:
    baseline = next(row.label for row in table.rows if row.is_baseline)
    has_sizes = len({row.resolution for row in rows}) > 1
    return Reproduction(
        table=table.name,
        title=f"{table.name}, {table.title}. Ours: {_describe_setting(workload)}",
        baseline=baseline,
        machine=machine.name,
        rows=rows,
        sentences=(
            _say_what_is_compared(workload, machine),
            *(_say_disagreement(row, baseline, has_sizes) for row in rows if row.agrees is False),
            *([] if any(row.agrees is False for row in rows) else ["Every measured row agrees with the paper."]),
        ),
    )


def _describe_setting(workload: Workload) -> str:
    words = [workload.mode.value, workload.dtype.value, f"batch {workload.batch_size}"]
    if workload.compiled:
        words.append("compiled")
    if workload.memory_format is not MemoryFormat.CONTIGUOUS:
        words.append(workload.memory_format.value)
    if workload.attention_backend is not AttentionBackend.AUTO:
        words.append(f"{workload.attention_backend} attention")
    return ", ".join(words)


def _say_what_is_compared(workload: Workload, machine: Machine) -> str:
    step = "a training step" if workload.mode is Mode.TRAIN else "inference"
    sentence = f"The paper's column is the time of whole training runs on its GPUs, ours {step} on {machine.name}"
    return f"{sentence}{'' if workload.mode is Mode.TRAIN else ', without the backward pass'}."


def _say_disagreement(row: ReproducedRow, baseline: str, has_sizes: bool) -> str:
    ours, low, high = (three_digits(value) for value in (row.ours, row.low, row.high) if value is not None)
    who = f"{row.label} at {row.resolution} px" if has_sizes else row.label
    measured = f"we measure {ours}x ({low} to {high}) the time of {baseline}"
    return f"{who}: {measured}, the paper has {row.paper:.3g}x; {_explain(row)}."


def _explain(row: ReproducedRow) -> str:
    """Whether the paper's ratio follows from the arithmetic."""
    if row.flops_ratio is None:
        return "its FLOPs were not counted"
    flops = f"it needs {three_digits(row.flops_ratio)}x the FLOPs"
    if max(row.paper / row.flops_ratio, row.flops_ratio / row.paper) > _FAR:
        return f"{flops}, so the paper's number is not arithmetic: kernels, memory format, compilation or data loading"
    return f"{flops}, so arithmetic is near the paper's number"
