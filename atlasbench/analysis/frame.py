"""Records as a pandas frame: one row per record, tidy columns."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import pandas as pd

from atlasbench.core.columns import COLUMNS, flatten_record
from atlasbench.core.record import Record

_COUNTS = (
    *(name for name in COLUMNS if name.startswith("flops") or name.endswith("_bytes")),
    "params",
    "macs",
    "samples",
    "tokens",
    "height",
    "width",
    "batch_size",
    "threads",
)
_TIMES = (
    "latency_s",
    "latency_low_s",
    "latency_high_s",
    "images_per_s",
    "tokens_per_s",
    "relative_time",
    "relative_low",
    "relative_high",
)


def build_frame(records: Sequence[Record]) -> pd.DataFrame:
    """One row per record, in their order; counts are nullable integers, unknown values are missing."""
    frame = pd.DataFrame([flatten_record(record) for record in records], columns=list(COLUMNS))
    for name in _COUNTS:
        with contextlib.suppress(OverflowError):  # beyond 64 bits they stay Python's own integers
            frame[name] = frame[name].astype("Int64")
    for name in _TIMES:
        frame[name] = frame[name].astype("float64")
    frame["converged"] = frame["converged"].astype("boolean")
    return frame
