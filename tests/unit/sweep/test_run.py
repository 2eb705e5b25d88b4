from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hand_made import ENVIRONMENT, failed, make_counts, make_measurement, make_plan, make_record, make_workload, timed

from atlasbench.core.plan import Plan
from atlasbench.core.protocol import QUICK, Protocol
from atlasbench.core.record import Measurement, Record, Status
from atlasbench.core.workload import Workload
from atlasbench.sweep.run import NoStore, Progress, finished_records, new_run_id, run_sweep


class FakeMeasurer:
    """Resolves an option, counts, and measures; or ends as it was told."""

    def __init__(self, endings: dict[str, Measurement] | None = None) -> None:
        self.endings = endings or {}
        self.planned: list[str] = []
        self.measured: list[str] = []

    def plan(self, workload: Workload) -> Plan | Measurement:
        self.planned.append(workload.model)
        if workload.model in self.endings:
            return self.endings[workload.model]
        return make_plan(replace(workload, options={"resolved": True}), counts=make_counts(77))

    def measure(self, plan: Plan, protocol: Protocol, on_phase: Callable[[str], None] | None = None) -> Measurement:
        assert on_phase is not None
        on_phase("warmup")
        on_phase("timing")
        self.measured.append(plan.workload.model)
        return make_measurement(counts=None, notes=("seen while measured",))


class FakeStore:
    def __init__(self) -> None:
        self.records: list[Record] = []

    def append(self, record: Record) -> None:
        self.records.append(record)


def sweep(*models: str, measurer: FakeMeasurer, store: Any = None, device: str = "cpu", **fields: Any) -> Any:
    return run_sweep(
        [make_workload(model, device=device) for model in models],
        measurer,
        store or NoStore(),
        environment=ENVIRONMENT,
        protocol=Protocol(),
        run_id="this-run",
        **fields,
    )


def test_every_record_is_stored_before_it_is_given_out_and_before_the_next_is_begun() -> None:
    measurer, store = FakeMeasurer(), FakeStore()

    for count, record in enumerate(sweep("a", "b", "c", measurer=measurer, store=store), start=1):
        assert store.records[-1] is record
        assert len(store.records) == len(measurer.measured) == count

    assert measurer.measured == ["a", "b", "c"]


def test_a_record_joins_plan_measurement_and_environment() -> None:
    (record,) = sweep("a", measurer=FakeMeasurer())

    assert record.workload.options == {"resolved": True}
    assert record.measurement.counts == make_counts(77)
    assert record.measurement.notes == ("padded to 1024 px", "seen while measured")
    assert record.environment is ENVIRONMENT
    assert (record.run_id, record.family) == ("this-run", "vision_transformer")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", record.time)


def test_what_cannot_be_planned_becomes_a_record_and_the_sweep_goes_on() -> None:
    measurer = FakeMeasurer({"b": failed(Status.UNSUPPORTED, "not the same model")})

    records = list(sweep("a", "b", "c", measurer=measurer))

    assert [record.measurement.status for record in records] == [Status.OK, Status.UNSUPPORTED, Status.OK]
    assert measurer.measured == ["a", "c"]


def test_on_meta_counting_is_the_measurement() -> None:
    measurer = FakeMeasurer()

    (record,) = sweep("a", measurer=measurer, device="meta")

    assert measurer.measured == []
    assert record.measurement.status is Status.OK
    assert record.measurement.memory is not None
    assert (record.measurement.memory.method, record.measurement.memory.peak_bytes) == ("predicted", 205_000_000)


def test_plans_that_were_made_before_are_not_made_again() -> None:
    measurer = FakeMeasurer()
    plans = [make_plan(make_workload("a")), failed(Status.ERROR, "boom")]

    records = list(sweep("a", "b", measurer=measurer, plans=plans))

    assert measurer.planned == []
    assert [record.measurement.status for record in records] == [Status.OK, Status.ERROR]


def test_finished_workloads_are_given_out_as_they_were_and_not_stored_again() -> None:
    store = FakeStore()
    first = list(sweep("a", "b", measurer=FakeMeasurer()))
    measurer = FakeMeasurer()

    records = list(sweep("a", "b", "c", measurer=measurer, store=store, finished=finished_records(first)))

    assert records[:2] == first
    assert measurer.measured == ["c"]
    assert store.records == records[2:]


def test_an_unsupported_workload_is_recognised_although_it_has_no_plan() -> None:
    endings = {"b": failed(Status.UNSUPPORTED, "no")}
    first = list(sweep("b", measurer=FakeMeasurer(endings)))
    store = FakeStore()

    records = list(sweep("b", measurer=FakeMeasurer(endings), store=store, finished=finished_records(first)))

    assert records == first
    assert store.records == []


@pytest.mark.parametrize(
    "change",
    [
        {"machine": "other"},
        {"device": "other"},
        {"driver": "570"},
        {"threads": 4},
        {"versions": {**ENVIRONMENT.versions, "torch": "2.12.0"}},
        {"versions": {**ENVIRONMENT.versions, "timm": "1.0.21"}},
        {"versions": {**ENVIRONMENT.versions, "atlasbench": "0.2.0"}},
    ],
    ids=str,
)
def test_what_another_environment_finished_is_measured_again(change: dict[str, Any]) -> None:
    first = [
        replace(record, environment=replace(ENVIRONMENT, **change)) for record in sweep("a", measurer=FakeMeasurer())
    ]
    measurer = FakeMeasurer()

    list(sweep("a", measurer=measurer, finished=finished_records(first)))

    assert measurer.measured == ["a"]


@pytest.mark.parametrize(
    ("status", "is_skipped"),
    [("ok", True), ("oom", True), ("unsupported", True), ("error", False), ("timeout", False)],
)
def test_resuming_skips_what_would_end_the_same(status: str, is_skipped: bool) -> None:
    record = make_record(measurement=failed(Status(status), "why"))

    assert bool(finished_records([record])) is is_skipped


def test_the_newest_record_of_a_workload_decides() -> None:
    ok, error = make_record(run_id="first"), make_record(run_id="second", measurement=failed(Status.ERROR, "why"))

    assert finished_records([ok, error]) == {}
    assert list(finished_records([error, ok]).values()) == [ok]


def test_progress_tells_place_and_phase() -> None:
    heard: list[Progress] = []

    list(sweep("a", "b", measurer=FakeMeasurer(), on_progress=heard.append))

    assert [(item.index, item.workload.model, item.phase) for item in heard] == [
        (index, model, phase) for index, model in enumerate("ab") for phase in ("counting", "warmup", "timing")
    ]
    assert {item.total for item in heard} == {2}


def test_run_ids_sort_by_time_and_never_meet() -> None:
    ids = {new_run_id() for _ in range(1000)}

    assert len(ids) == 1000
    assert all(re.fullmatch(r"\d{8}T\d{6}Z-[0-9a-f]{8}", name) for name in ids)


def test_what_was_timed_by_another_protocol_is_timed_again() -> None:
    quick = make_record("a", measurement=replace(timed(0.5), protocol=QUICK.changes()))
    assert finished_records([quick]) == {}
    assert list(finished_records([quick], QUICK).values()) == [quick]
    assert list(finished_records([quick], replace(QUICK, timeout_s=9)).values()) == [quick]


def test_what_ran_out_of_memory_is_tried_again_only_by_force() -> None:
    oom = make_record("a", measurement=failed(Status.OOM, "not tried"))
    assert list(finished_records([oom]).values()) == [oom]
    assert finished_records([oom], force=True) == {}
