"""The result of a gate in the formats of other programs: JSON, CSV, Markdown, JUnit and GitHub's annotations."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict

from atlasbench.analysis.gate.verdicts import GateResult, GateVerdict
from atlasbench.report.gate_ci import render_github, render_junit
from atlasbench.report.gate_table import build_gate_table, gate_columns
from atlasbench.report.gate_words import (
    explain_verdicts,
    list_missing,
    write_details,
    write_headline,
    write_surroundings,
)
from atlasbench.report.layout import TextTable, render_markdown, render_text

_CSV = (
    "label",
    "verdict",
    "is_worse",
    "method",
    "change",
    "low",
    "high",
    "pairs",
    "more_samples",
    "tolerance",
    "reason",
)


def render_gate(result: GateResult, output_format: str, *, width: int = 80, strict: bool = False) -> str:
    """The result in one of `GATE_FORMATS`.

    Args:
        result: What was found.
        output_format: One of `GATE_FORMATS`.
        width: Columns of the page, for `table`.
        strict: Whether what cannot be told is shown as a failure.
    """
    if output_format == "table":
        return render_text(build_gate_table(result), width)
    return _RENDERERS[output_format](result, strict)


def _render_json(result: GateResult, strict: bool) -> str:
    workloads = [{**asdict(item), "is_worse": item.is_worse} for item in result.workloads]
    data = {"verdict": result.verdict, "is_bad": result.is_bad(strict), **asdict(result), "workloads": workloads}
    return json.dumps(data, indent=1, ensure_ascii=False)


def _render_csv(result: GateResult, strict: bool) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=_CSV, lineterminator="\n")
    writer.writeheader()
    writer.writerows(
        {name: getattr(item, name) for name in _CSV} | {"reason": write_details(item)} for item in result.workloads
    )
    writer.writerows(
        {"label": name, "verdict": GateVerdict.CANNOT_TELL, "reason": message} for name, message in list_missing(result)
    )
    return text.getvalue().rstrip("\n")


def _render_markdown(result: GateResult, strict: bool) -> str:
    """A comment for a pull request that needs no other page."""
    table = TextTable(title="", columns=gate_columns(result, [item.label for item in result.workloads]))
    details = [f"{item.label}: {text}." for item in result.workloads if (text := write_details(item))]
    bullets = [f"- {_plain(line)}" for line in (*details, *write_surroundings(result))]
    return "\n".join(
        (
            f"### Performance: {_state(result, strict)}",
            "",
            write_headline(result),
            "",
            *([render_markdown(table), ""] if result.workloads else []),
            *([*bullets, ""] if bullets else []),
            *(f"<sub>{line}</sub>" for line in explain_verdicts(result)),
        )
    ).rstrip()


def _state(result: GateResult, strict: bool) -> str:
    if result.is_bad(strict):
        return "failed"
    return "passed, but not everything can be told" if result.verdict is GateVerdict.CANNOT_TELL else "passed"


def _plain(text: str) -> str:
    """Text in which GitHub finds no markup: messages of errors may hold any."""
    return re.sub(r"([\\`*<>|\[\]~]|(?<![^\W_])_|_(?![^\W_]))", r"\\\1", " ".join(text.split()))


_RENDERERS: Mapping[str, Callable[[GateResult, bool], str]] = {
    "json": _render_json,
    "csv": _render_csv,
    "markdown": _render_markdown,
    "junit": render_junit,
    "github": render_github,
}
GATE_FORMATS = ("table", *_RENDERERS)
