"""Goes through workloads: plans, skips what is done, measures, and stores each record before the next."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Any
from typing import Protocol as Interface

from atlasbench.core.plan import Plan
from atlasbench.core.protocol import Protocol
from atlasbench.core.record import Environment, Measurement, Record, Status, environment_key, workload_key
from atlasbench.core.workload import Workload
from atlasbench.measure.session import predicted_memory


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
    """A name for a run that sorts by time: `20261121T101500Z-3f9a`."""
    return f"{datetime.now(timezone.utc):%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}"


def run_sweep(
    workloads: Sequence[Workload],
    measurer: Measurer,
    store: Store,
    *,
    environment: Environment,
    protocol: Protocol,
    run_id: str,
    done: Collection[tuple[Any, ...]] = (),
    plans: dict[int, Plan | Measurement] | None = None,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> Iterator[Record]:
    """Measure workloads one after the other; each record is stored before it is given out.

    Args:
        workloads: What to measure.
        measurer: Plans and measures.
        store: Keeps the records.
        environment: Where this runs.
        protocol: How long to warm up and sample.
        run_id: For every record of this run.
        done: Keys (`Record.key`) of what need not be measured again.
        plans: Plans that were made before, by the workload's place; made here where they are missing.
        on_progress: Hears of every step.
    """
    here = environment_key(environment)
    for index, workload in enumerate(workloads):

        def tell(phase: str, index: int = index, workload: Workload = workload) -> None:
            on_progress(Progress(index=index, total=len(workloads), workload=workload, phase=phase))

        tell("counting")
        planned = (plans or {}).get(index) or measurer.plan(workload)
        resolved = planned.workload if isinstance(planned, Plan) else workload
        if (workload_key(resolved), here) in done:
            continue
        measurement = planned if isinstance(planned, Measurement) else _measure(planned, measurer, protocol, tell)
        record = Record(
            workload=resolved,
            measurement=measurement,
            environment=environment,
            run_id=run_id,
            time=datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
            family=planned.family if isinstance(planned, Plan) else "",
        )
        store.append(record)
        yield record


def _measure(plan: Plan, measurer: Measurer, protocol: Protocol, on_phase: Callable[[str], None]) -> Measurement:
    if plan.workload.device_type == "meta":
        return Measurement(status=Status.OK, notes=plan.notes, counts=plan.counts, memory=predicted_memory(plan))
    measurement = measurer.measure(plan, protocol, on_phase)
    return replace(measurement, counts=plan.counts)


def finished_keys(records: Sequence[Record]) -> set[tuple[Any, ...]]:
    """Keys of the workloads that `--resume` skips: ended ok, oom or unsupported, by their newest record."""
    newest = {record.key: record for record in records}
    return {key for key, record in newest.items() if record.measurement.status.is_final}
