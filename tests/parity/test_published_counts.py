"""The table of docs/models.md: published parameters and GMACs beside what is counted here, and why they differ."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from atlasbench.core.plan import Plan
from atlasbench.core.resolution import Resolution
from atlasbench.core.workload import Workload
from atlasbench.measure.count import plan_workload
from atlasbench.registry import MODELS

PAGE = Path(__file__).parents[2] / "docs" / "models.md"
ROW = re.compile(r"\| (\w+) \| (\d+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \| ([ap?, ]*) \|")


class Row(NamedTuple):
    model: str
    px: int
    published_params: float
    params: str
    published_macs: float
    macs: str
    reasons: frozenset[str]


def read_rows() -> list[Row]:
    return [
        Row(model, int(px), float(theirs), ours, float(their_macs), macs, frozenset(re.findall(r"[ap?]", reasons)))
        for model, px, theirs, ours, their_macs, macs, reasons in ROW.findall(PAGE.read_text())
    ]


ROWS = read_rows()


@cache
def plan(row: Row) -> Plan:
    return plan_workload(Workload(model=row.model, resolution=Resolution(row.px, row.px), device="meta"))


def test_every_published_model_has_a_row() -> None:
    published = {
        name
        for name, entry in MODELS.items()
        if entry.family in ("fastervit", "mambavision") and not entry.is_ours and name not in FREE
    }
    assert {row.model for row in ROWS} == published


FREE = ("fastervit", "fastervit_any_res", "mambavision")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.model)
def test_the_page_says_what_is_counted(row: Row) -> None:
    counts = plan(row).counts
    assert counts is not None
    assert row.params == f"{counts.params / 1e6:.2f}"
    assert row.macs == f"{counts.macs / 1e9:.3f}"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.model)
def test_a_difference_of_more_than_a_hundredth_has_a_reason_that_explains_it(row: Row) -> None:
    params, macs = float(row.params), float(row.macs)
    is_close = is_near(params, row.published_params, 0.01) and is_near(macs, row.published_macs, 0.01)
    assert is_close == (not row.reasons)
    if row.reasons & {"a", "p"}:
        left = macs - sum(left_out(plan(row), reason) for reason in row.reasons) / 1e9
        assert is_near(params, row.published_params, 0.01)
        assert is_near(left, row.published_macs, 0.015)  # published with two digits
        assert abs(left - row.published_macs) < abs(macs - row.published_macs)


def left_out(counted: Plan, reason: str) -> int:
    if reason == "a":
        return sum(module.macs for module in counted.modules if module.part == "attention")
    return sum(module.macs for module in counted.modules if "position" in module.path)


def is_near(ours: float, theirs: float, tolerance: float) -> bool:
    return abs(ours - theirs) <= tolerance * theirs
