"""Goes through workloads: plans, skips what is done, measures, and stores each record before the next."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Any
from typing import Protocol as Interface

from atlasbench.core.plan import Plan
from atlasbench.core.protocol import Protocol
from atlasbench.core.record import (
    Environment,
    Measurement,
    Memory,
    Record,
    Status,
    environment_key,
    workload_key,
)
from atlasbench.core.workload import Workload

RecordKey = tuple[Any, ...]


class Measurer(Interface):
    """What a sweep needs of the measuring side (`measure.session.Session`)."""

    def plan(self, workload: Workload) -> Plan | Measurement:
        """Resolve and count a workload, or say how it already ended."""

    def measure(self, plan: Plan, protocol: Protocol, on_phase: Callable[[str], None] | None = None) -> Measurement:
        """Measure a planned workload."""


class Store(Interface):
    """Where records go (`store.jsonl.RecordFile`)."""

    def append(self, record: Record) -> None:
        """Keep a record."""


class NoStore:
    """Keeps nothing (`--no-save`)."""

    def append(self, record: Record) -> None:
        """Let the record go."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Where a sweep is.

    Attributes:
        index: Workloads before this one.
        total: Workloads in all.
        workload: The one in hand.
        phase: What is being done with it.
    """

    index: int
    total: int
    workload: Workload
    phase: str


def new_run_id() -> str:
    """A name for a run that sorts by time and that no other run has: `20261121T101500Z-3f9a07c4`."""
    return f"{datetime.now(timezone.utc):%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"


def run_sweep(
    workloads: Sequence[Workload],
    measurer: Measurer,
    store: Store,
    *,
    environment: Environment,
    protocol: Protocol,
    run_id: str,
    finished: Mapping[RecordKey, Record] | None = None,
    plans: Sequence[Plan | Measurement] | None = None,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> Iterator[Record]:
    """Measure workloads one after the other; each new record is stored before it is given out.

    Args:
        workloads: What to measure. One that comes again is another launch of it: measured again, with the next number.
        measurer: Plans and measures.
        store: Keeps the new records.
        environment: Where this runs.
        protocol: How long to warm up and sample.
        run_id: For every new record.
        finished: Records by their key that are given out as they are, instead of measuring again.
        plans: One for each workload, if they were made before; made here otherwise.
        on_progress: Hears of every step.

    Yields:
        One record per workload, in order.
    """
    launches: Counter[RecordKey] = Counter()
    for index, workload in enumerate(workloads):
        launches[workload_key(workload)] += 1
        launch = launches[workload_key(workload)]

        def tell(phase: str, index: int = index, workload: Workload = workload) -> None:
            on_progress(Progress(index=index, total=len(workloads), workload=workload, phase=phase))

        tell("counting")
        planned = measurer.plan(workload) if plans is None else plans[index]
        earlier = find_finished(workload, planned, environment, finished or {}, launch)
        if earlier is not None:
            yield earlier
            continue
        measurement = planned if isinstance(planned, Measurement) else _measure(planned, measurer, protocol, tell)
        record = replace(make_record(workload, planned, measurement, environment, run_id), launch=launch)
        store.append(record)
        yield record


def find_finished(
    workload: Workload,
    planned: Plan | Measurement,
    environment: Environment,
    finished: Mapping[RecordKey, Record],
    launch: int = 1,
) -> Record | None:
    """The earlier record of a launch of a planned workload in this environment, if there is one."""
    resolved = planned.workload if isinstance(planned, Plan) else workload
    return finished.get((workload_key(resolved), environment_key(environment), launch))


def make_record(
    workload: Workload,
    planned: Plan | Measurement,
    measurement: Measurement,
    environment: Environment,
    run_id: str,
) -> Record:
    """Join what was asked, what it turned out to be, what was found, and where; with the time of now."""
    return Record(
        workload=planned.workload if isinstance(planned, Plan) else workload,
        measurement=measurement,
        environment=environment,
        run_id=run_id,
        time=datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
        family=planned.family if isinstance(planned, Plan) else "",
    )


def counted(plan: Plan) -> Measurement:
    """The measurement of a workload that is only counted."""
    memory = Memory(peak_bytes=plan.counts.predicted_peak_bytes, method="predicted") if plan.counts else None
    return Measurement(status=Status.OK, notes=plan.notes, counts=plan.counts, memory=memory)


def _measure(plan: Plan, measurer: Measurer, protocol: Protocol, on_phase: Callable[[str], None]) -> Measurement:
    if plan.workload.device_type == "meta":
        return counted(plan)
    measurement = measurer.measure(plan, protocol, on_phase)
    # What stopped it has not heard of the notes if it was a signal or a clock.
    notes = tuple(dict.fromkeys((*plan.notes, *measurement.notes)))
    return replace(measurement, counts=plan.counts, notes=notes, protocol=protocol.changes())


def finished_records(
    records: Sequence[Record], protocol: Protocol | None = None, *, force: bool = False
) -> dict[RecordKey, Record]:
    """What `--resume` skips: the newest record of each workload, environment and launch that is final.

    Final is what ended ok, oom or unsupported.

    Args:
        records: Oldest first.
        protocol: How it would be measured now; what was timed otherwise (`--quick`, `--cold`) is timed again.
        force: Whether what ran out of memory, or was predicted to, is tried again.
    """
    wanted = _without_limit((protocol or Protocol()).changes())
    newest = {
        (*record.key, record.launch): record
        for record in records
        if record.measurement.timing is None or _without_limit(record.measurement.protocol) == wanted
    }
    return {
        key: record
        for key, record in newest.items()
        if record.measurement.status.is_final and not (force and record.measurement.status is Status.OOM)
    }


def _without_limit(changes: Mapping[str, float]) -> dict[str, float]:
    """Constants that shape a result: a limit that was not reached does not."""
    return {name: value for name, value in changes.items() if name != "timeout_s"}
