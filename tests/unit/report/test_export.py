from __future__ import annotations

import io
import json

import pandas as pd
from hand_made import ENVIRONMENT, failed, make_record

from atlasbench.core.columns import COLUMNS
from atlasbench.core.record import Status
from atlasbench.report.environment_table import describe_fields
from atlasbench.report.export import export_csv, export_json

RECORDS = [
    make_record("atlas_s", scale_drop="2-10"),
    make_record(measurement=failed(Status.OOM, 'a "b", c', counts=None)),
]


def test_json_is_a_list_of_objects_with_the_tidy_columns() -> None:
    rows = json.loads(export_json(RECORDS))

    assert [tuple(row) for row in rows] == [COLUMNS, COLUMNS]
    assert rows[0]["latency_s"] == 0.5
    assert rows[1]["latency_s"] is None


def test_csv_is_read_by_pandas_with_the_tidy_columns() -> None:
    frame = pd.read_csv(io.StringIO(export_csv(RECORDS)))

    assert tuple(frame.columns) == COLUMNS
    assert frame["flops"][0] == 2_000_000_000
    assert frame["scale_drop"][0] == "2-10"
    assert frame["message"][1] == 'a "b", c'
    assert pd.isna(frame["latency_s"][1])


def test_no_records_are_an_empty_list_and_a_line_of_names() -> None:
    assert json.loads(export_json([])) == []
    assert export_csv([]) == ",".join(COLUMNS)


def test_the_environment_is_shown_without_empty_fields() -> None:
    fields = {row["field"]: row["value"] for row in describe_fields(ENVIRONMENT)}

    assert fields["git commit"] == "0123456789ab with changes"
    assert fields["memory"] == "24.0 GB"
    assert "driver" not in fields
