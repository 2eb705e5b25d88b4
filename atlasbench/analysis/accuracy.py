"""Accuracies that were published or that a user brings: nothing here is measured."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from atlasbench.analysis.paper_tables import Configuration, load_paper_tables
from atlasbench.core.errors import InvalidWorkloadError, RecordsError
from atlasbench.core.kinds import Kind
from atlasbench.core.resolution import Resolution, parse_resolution
from atlasbench.core.workload import Workload

_COLUMNS = "model, resolution (or img_size), top1 and, if you like, source"
_SIZE_COLUMNS = ("resolution", "img_size")  # the second is timm's word, in its own results files


@dataclass(frozen=True, slots=True, kw_only=True)
class AccuracyPoint:
    """Top-1 accuracy of a model at a size.

    Attributes:
        model: Name, as in records.
        label: What its source calls it.
        resolution: Of the images.
        top1_percent: 0 to 100.
        source: Where the number comes from.
        kind: From the paper or from a file.
        options_json: Options of the model, as canonical JSON.
        scale_drop: Of the model; empty for its default.
        table: Of the paper, e.g. `Table 1`: accuracies are compared only inside one, since their training differs.
    """

    model: str
    label: str
    resolution: Resolution
    top1_percent: float
    source: str
    kind: Kind
    options_json: str = "{}"
    scale_drop: str = ""
    table: str = ""

    def matches(self, workload: Workload) -> bool:
        """Whether a workload runs this model at this size."""
        configuration = Configuration(
            model=self.model,
            resolution=self.resolution,
            options_json=self.options_json,
            scale_drop=self.scale_drop,
        )
        return configuration.matches(workload)


def load_paper_accuracy() -> list[AccuracyPoint]:
    """Every accuracy of the tables of the Atlas paper."""
    return [
        AccuracyPoint(
            model=row.configuration.model,
            label=row.label,
            resolution=row.configuration.resolution,
            top1_percent=row.top1_percent,
            source=f"{table.name} of {table.paper}",
            kind=Kind.PAPER,
            options_json=row.configuration.options_json,
            scale_drop=row.configuration.scale_drop,
            table=table.name,
        )
        for table in load_paper_tables()
        for row in table.rows
        if row.top1_percent is not None
    ]


def read_accuracy_csv(path: Path) -> list[AccuracyPoint]:
    """Read `model,resolution,top1[,source]`, or a results file of timm (`img_size` in place of `resolution`).

    Other columns, empty lines and lines that begin with `#` are left out. Accuracies are percent; a file whose
    accuracies are all 1 or less holds fractions.

    Raises:
        RecordsError: If the file cannot be read, or a column or a value is missing or wrong; says where.
    """
    rows = list(_read_rows(path))
    if not rows:
        raise RecordsError(f"{path}: no accuracy in it: give a head ({_COLUMNS}) and a line for each model.")
    numbers = [_read_top1(where, cells["top1"]) for where, cells in rows]
    scale = 100.0 if max(numbers) <= 1 else 1.0
    return [
        AccuracyPoint(
            model=_read_model(where, cells["model"]),
            label=cells["model"],
            resolution=_read_size(where, next(cells[name] for name in _SIZE_COLUMNS if name in cells)),
            top1_percent=number * scale,
            source=cells.get("source") or path.name,
            kind=Kind.FILE,
        )
        for (where, cells), number in zip(rows, numbers, strict=True)
    ]


def _read_rows(path: Path) -> Iterator[tuple[str, Mapping[str, str]]]:
    """Where each row stands, and its cells by column."""
    reader = csv.reader(io.StringIO(_read_text(path), newline=""), strict=True)
    head: list[str] = []
    try:
        for values in reader:
            where = f"{path}:{reader.line_num}"
            cells = [value.strip() for value in values]
            if not any(cells) or cells[0].startswith("#"):
                continue
            if not head:
                head = [name.lower() for name in cells]
                _check_head(where, head)
            elif len(cells) != len(head):
                raise RecordsError(f"{where}: {len(cells)} cells, but the head has {len(head)}.")
            else:
                yield where, dict(zip(head, cells, strict=True))
    except csv.Error as error:
        raise RecordsError(f"{path}:{reader.line_num}: is not CSV: {error}.") from None


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise RecordsError(f"{path}: cannot be read: {error.strerror or error}.") from None
    except UnicodeDecodeError:
        raise RecordsError(f"{path}: is not text in UTF-8.") from None


def _check_head(where: str, head: Sequence[str]) -> None:
    missing = [name for name in ("model", "top1") if name not in head]
    missing += [] if set(_SIZE_COLUMNS) & set(head) else ["resolution"]
    if missing:
        raise RecordsError(f"{where}: no column {' or '.join(map(repr, missing))}: the columns are {_COLUMNS}.")


def _read_model(where: str, text: str) -> str:
    if not text:
        raise RecordsError(f"{where}: the model has no name.")
    return text


def _read_top1(where: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number <= 100:
        raise RecordsError(f"{where}: top1 is {text!r}; it must be a number from 0 to 100, in percent.")
    return number


def _read_size(where: str, text: str) -> Resolution:
    try:
        return parse_resolution(text)
    except InvalidWorkloadError as error:
        raise RecordsError(f"{where}: {error}") from None
