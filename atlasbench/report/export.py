"""Records as CSV and JSON, with the tidy columns."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence

from atlasbench.core.columns import COLUMNS, flatten_record
from atlasbench.core.record import Record


def export_json(records: Sequence[Record]) -> str:
    """A list of objects, one a record; null where a value is not known."""
    return json.dumps([flatten_record(record) for record in records], indent=1, ensure_ascii=False)


def export_csv(records: Sequence[Record]) -> str:
    """One line a record after a line of column names; empty where a value is not known."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(flatten_record(record) for record in records)
    return text.getvalue().rstrip("\n")
