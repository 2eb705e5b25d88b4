"""The table of a gate: every workload a row, what stands behind its verdict below."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from atlasbench.analysis.gate.verdicts import CountedChange, GateResult
from atlasbench.report.gate_words import (
    explain_verdicts,
    shorten_labels,
    write_change,
    write_details,
    write_headline,
    write_interval,
    write_surroundings,
    write_verdict,
)
from atlasbench.report.layout import Column, TextTable


def build_gate_table(result: GateResult) -> TextTable:
    """Verdicts, changes and their intervals; the headline is the title."""
    shared, names = shorten_labels([item.label for item in result.workloads])
    return TextTable(
        title=" ".join(filter(None, (write_headline(result), f"All: {shared}." if shared else ""))),
        columns=gate_columns(result, names),
        footnotes=[*_explain_rows(result, names), *write_surroundings(result), *explain_verdicts(result)],
    )


def gate_columns(result: GateResult, names: list[str]) -> list[Column]:
    """A row for each workload; columns of times only where there are times.

    Args:
        result: What was found.
        names: One for each workload.
    """
    items = result.workloads
    columns = [
        Column(title="Workload", cells=names, is_identity=True, is_text=True),
        Column(title="Verdict", cells=[write_verdict(item) for item in items], is_text=True),
    ]
    if any(item.change is not None for item in items):
        unit = "Launches" if any(item.method == "record files" for item in items) else "Pairs"
        columns += [
            Column(title="Time", cells=[write_change(item.change) for item in items]),
            Column(title="95 % interval", cells=[write_interval(item) for item in items]),
            Column(title=unit, cells=[str(item.pairs) if item.pairs else "-" for item in items]),
        ]
    if any(item.counted for item in items):
        columns.append(Column(title="Counted", cells=[_write_counted(item.counted) for item in items]))
    return columns


def _write_counted(counted: Sequence[CountedChange]) -> str:
    news = [change for change in counted if change.is_news]
    if not news:
        return "same" if counted else "-"
    return "over budget" if all(change.is_budget for change in news) else "changed"


def _explain_rows(result: GateResult, names: list[str]) -> Iterator[str]:
    for name, item in zip(names, result.workloads, strict=True):
        if details := write_details(item):
            yield f"{name}: {details}."
