"""The tables of the Atlas paper (arXiv:2503.12355) as it prints them, each row with the workload that it belongs to.

The files of `paper/` say their source in the first line. Where a table has no relative column, ratios are those of its
times.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from atlasbench.analysis.series import drop_class
from atlasbench.core.resolution import Resolution, parse_resolution
from atlasbench.core.workload import Workload, canonical_json

_TABLES = ("table1", "table2", "table3", "table4", "table5", "table6")
_NO_MATTER = "num_classes="  # of a classifier: far below a percent of the arithmetic


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """A model as a paper or a file knows it: a workload without what it ran on.

    Attributes:
        model: Name in the registry, or any other.
        resolution: Of the input.
        options_json: Arguments that differ from the model's defaults, as JSON.
        scale_drop: Empty for the default.
    """

    model: str
    resolution: Resolution
    options_json: str = "{}"
    scale_drop: str = ""

    def matches(self, workload: Workload) -> bool:
        """Whether a workload runs this model at this size; its number of classes does not matter."""
        if (workload.model, workload.resolution) != (self.model, self.resolution):
            return False
        own = {setting for setting in workload.settings if not setting.startswith(_NO_MATTER)}
        wanted = {f"{key}={canonical_json(value)}" for key, value in json.loads(self.options_json).items()}
        drop = drop_class(workload.scale_drop)
        return own == wanted and ("" if drop == "default" else drop) == self.scale_drop


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperRow:
    """One row of a table.

    Attributes:
        label: The paper's name for it.
        configuration: What it ran.
        is_baseline: Whether the times of its size are given relative to it.
        runtime: Training time, in the unit of its table; None where it has no such column.
        relative: The table's own ratio to its baseline, as printed; None where it has no such column.
        top1_percent: Accuracy; None where the run was not finished.
    """

    label: str
    configuration: Configuration
    is_baseline: bool
    runtime: float | None
    relative: float | None
    top1_percent: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperTable:
    """One table.

    Attributes:
        name: E.g. `Table 1`.
        paper: Its paper.
        title: What it is about.
        rows: In the paper's order.
    """

    name: str
    paper: str
    title: str
    rows: tuple[PaperRow, ...]

    def baseline_of(self, row: PaperRow) -> PaperRow:
        """The row of the same size that times are relative to."""
        resolution = row.configuration.resolution
        return next(item for item in self.rows if item.is_baseline and item.configuration.resolution == resolution)

    def relative_time(self, row: PaperRow) -> float | None:
        """Training time over that of the baseline; None in a table without times."""
        if row.relative is not None:
            return row.relative
        baseline = self.baseline_of(row)
        return row.runtime / baseline.runtime if row.runtime and baseline.runtime else None


@cache
def load_paper_tables() -> tuple[PaperTable, ...]:
    """All tables."""
    return tuple(_read_table(name) for name in _TABLES)


def _read_table(name: str) -> PaperTable:
    text = (resources.files("atlasbench.analysis") / "paper" / f"{name}.csv").read_text(encoding="utf-8")
    source, *lines = text.splitlines()
    where, _, title = source.removeprefix("# ").partition(": ")
    table, _, paper = where.partition(" of ")
    return PaperTable(name=table, paper=paper, title=title, rows=tuple(map(_read_row, csv.DictReader(lines))))


def _read_row(cells: Mapping[str, Any]) -> PaperRow:
    return PaperRow(
        label=cells["label"],
        configuration=Configuration(
            model=cells["model"],
            resolution=parse_resolution(cells["resolution"]),
            options_json=canonical_json(json.loads(cells["options"] or "{}")),
            scale_drop=cells["scale_drop"],
        ),
        is_baseline=cells["is_baseline"] == "yes",
        runtime=_read_number(cells.get("runtime_hours") or cells.get("runtime_minutes")),
        relative=_read_number(cells["relative"]),
        top1_percent=_read_number(cells["top1_percent"]),
    )


def _read_number(text: str | None) -> float | None:
    return float(text) if text else None
