from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from hand_made import ENVIRONMENT, make_measurement, make_plan, make_record, make_workload

from atlasbench.core.plan import Plan
from atlasbench.core.protocol import Protocol
from atlasbench.core.record import Measurement, Record
from atlasbench.core.workload import Workload
from atlasbench.store.codec import decode_record, encode_record
from atlasbench.sweep.run import NoStore, finished_records, run_sweep


class FakeMeasurer:
    def __init__(self) -> None:
        self.measured: list[str] = []

    def plan(self, workload: Workload) -> Plan | Measurement:
        return make_plan(replace(workload, options={"resolved": True}))

    def measure(self, plan: Plan, protocol: Protocol, on_phase: Callable[[str], None] | None = None) -> Measurement:
        self.measured.append(plan.workload.model)
        return make_measurement(counts=None)


def sweep(measurer: FakeMeasurer, *models: str, **fields: Any) -> list[Record]:
    workloads = [make_workload(model) for model in models]
    values: dict[str, Any] = {"environment": ENVIRONMENT, "protocol": Protocol(), "run_id": "run"}
    return list(run_sweep(workloads, measurer, NoStore(), **values | fields))


def test_a_workload_that_comes_again_is_the_next_launch_of_it() -> None:
    measurer = FakeMeasurer()

    records = sweep(measurer, "a", "b", "a", "b", "a")

    assert [(record.workload.model, record.launch) for record in records] == [
        ("a", 1), ("b", 1), ("a", 2), ("b", 2), ("a", 3),
    ]  # fmt: skip
    assert measurer.measured == ["a", "b", "a", "b", "a"]


def test_launches_that_are_there_are_not_measured_again() -> None:
    first = sweep(FakeMeasurer(), "a", "b", "a")
    measurer = FakeMeasurer()

    records = sweep(measurer, "a", "b", "a", "b", "a", "b", finished=finished_records(first))

    assert measurer.measured == ["b", "a", "b"]
    assert [record.launch for record in records] == [1, 1, 2, 2, 3, 3]
    assert records[:3] == first


def test_a_launch_is_kept_in_a_line_and_is_the_first_where_a_line_says_nothing() -> None:
    record = replace(make_record(), launch=4)
    line = json.loads(encode_record(record))

    assert decode_record(json.dumps(line)).launch == 4
    del line["launch"]
    assert decode_record(json.dumps(line)).launch == 1


def test_launches_of_a_workload_have_one_key_so_that_tables_show_the_newest() -> None:
    assert make_record().key == replace(make_record(), launch=2).key
