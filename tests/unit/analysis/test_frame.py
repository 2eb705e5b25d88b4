from __future__ import annotations

import pandas as pd
from hand_made import failed, make_counts, make_measurement, make_record

from atlasbench.analysis.frame import build_frame
from atlasbench.core.columns import COLUMNS
from atlasbench.core.record import Status


def test_a_row_per_record_with_the_tidy_columns_in_order() -> None:
    frame = build_frame([make_record("vit_b"), make_record("vit_s")])

    assert tuple(frame.columns) == COLUMNS
    assert list(frame["model"]) == ["vit_b", "vit_s"]


def test_counts_are_integers_and_stay_missing_where_not_known() -> None:
    frame = build_frame([make_record(), make_record(measurement=failed(Status.OOM, "why", counts=None))])

    assert frame["flops"].dtype == pd.Int64Dtype()
    assert frame["flops"].tolist() == [2_000_000_000, pd.NA]
    assert frame["converged"].tolist() == [True, pd.NA]
    assert pd.isna(frame["latency_s"][1])
    assert frame["status"].tolist() == ["ok", "oom"]


def test_counts_beyond_64_bits_stay_exact() -> None:
    frame = build_frame([make_record(measurement=make_measurement(counts=make_counts(2**70)))])

    assert frame["flops"].tolist() == [2**70]
    assert frame["macs"].tolist() == [2**69]
