"""From a request to a sweep that is ready to run: whatever can be wrong with it is said before anything is measured."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from atlasbench.core.errors import InvalidWorkloadError
from atlasbench.core.plan import Plan
from atlasbench.core.protocol import Protocol
from atlasbench.core.recipe import SweepRequest
from atlasbench.core.record import Environment, Measurement, Record, workload_key
from atlasbench.core.workload import Dtype, Workload
from atlasbench.measure.machine import usable_cores
from atlasbench.measure.session import Session
from atlasbench.store.jsonl import RecordFile, UnreadableLine, check_writable, load_earlier_records
from atlasbench.sweep.estimate import estimate_seconds
from atlasbench.sweep.grid import expand_request
from atlasbench.sweep.run import (
    NoStore,
    Progress,
    RecordKey,
    find_finished,
    finished_records,
    new_run_id,
    run_sweep,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """A checked request, ready to run: nothing has been measured yet.

    Attributes:
        workloads: What will be measured, in order.
        environment: Where.
        session: Plans and measures.
        protocol: How long to warm up and sample.
        run_id: Names the file of records.
        out: Folder that keeps the records; None to keep them nowhere.
        finished: Earlier records of the folder, by key, that stand for their workloads.
        unreadable: Lines of the folder that are no records.
    """

    workloads: tuple[Workload, ...]
    environment: Environment
    session: Session
    protocol: Protocol
    run_id: str
    out: Path | None = None
    finished: Mapping[RecordKey, Record]
    unreadable: Sequence[UnreadableLine]

    def plan(self, on_progress: Callable[[Progress], None] = lambda _: None) -> list[Plan | Measurement]:
        """Count every workload, without measuring."""
        plans: dict[Any, Plan | Measurement] = {}  # another launch of a workload counts the same
        for index, workload in enumerate(self.workloads):
            on_progress(Progress(index=index, total=len(self.workloads), workload=workload, phase="counting"))
            if workload_key(workload) not in plans:
                plans[workload_key(workload)] = self.session.plan(workload)
        return [plans[workload_key(workload)] for workload in self.workloads]

    def estimate(self, plans: Sequence[Plan | Measurement]) -> list[float]:
        """About how many seconds each workload will take; 0 for what is finished, decided or only counted."""
        seconds = []
        for workload, plan in zip(self.workloads, plans, strict=True):
            if workload.device_type == "meta" or self.is_finished(workload, plan) or self._is_too_large(plan):
                seconds.append(0.0)
                continue
            speed = self.environment.matmul_flops_per_s.get(workload.dtype.torch_name, 0.0)
            seconds.append(estimate_seconds(plan, self.protocol, speed))
        return seconds

    def _is_too_large(self, plan: Plan | Measurement) -> bool:
        memory_bytes = self.environment.device_memory_bytes
        return isinstance(plan, Plan) and plan.counts is not None and plan.counts.predicted_peak_bytes > memory_bytes

    def is_finished(self, workload: Workload, plan: Plan | Measurement) -> bool:
        """Whether an earlier record stands for this workload."""
        return find_finished(workload, plan, self.environment, self.finished) is not None

    def run(
        self,
        *,
        plans: Sequence[Plan | Measurement] | None = None,
        on_progress: Callable[[Progress], None] = lambda _: None,
    ) -> Iterator[Record]:
        """Measure, storing each record before it is given out; earlier records that stand are given out as they are."""
        with RecordFile(self.out, self.run_id) if self.out is not None else nullcontext(NoStore()) as store:
            yield from run_sweep(
                self.workloads,
                self.session,
                store,
                environment=self.environment,
                protocol=self.protocol,
                run_id=self.run_id,
                finished=self.finished,
                plans=plans,
                on_progress=on_progress,
            )


@contextmanager
def open_sweep(
    request: SweepRequest,
    *,
    protocol: Protocol | None = None,
    out: Path | None = None,
    resume: bool = False,
    threads: int | None = None,
    force: bool = False,
) -> Iterator[Sweep]:
    """Check everything that can be wrong with a request, and start the processes that will serve it.

    Args:
        request: What to measure.
        protocol: How long to warm up and sample; the defaults when None.
        out: Folder that keeps the records; kept nowhere when None.
        resume: Whether records of the folder stand for workloads that this environment has finished.
        threads: Cores to use on a CPU; all physical cores when None.
        force: Whether to try what is predicted not to fit in memory.

    Raises:
        AtlasBenchError: If a name, a value, the device or the output folder is wrong.
    """
    expand_request(replace(request, device="cpu" if request.device == "auto" else request.device))
    _check_threads(threads)
    earlier, unreadable = load_earlier_records(out) if resume and out is not None else ([], [])
    if out is not None:
        check_writable(out)
    with Session(threads=threads, force=force) as session:
        device, dtypes = session.choose_device(request.device, tuple(dtype.value for dtype in request.dtypes))
        workloads = tuple(expand_request(replace(request, device=device, dtypes=tuple(map(Dtype, dtypes)))))
        _check_models(workloads, session)
        yield Sweep(
            workloads=workloads,
            environment=_probe_environment(session, device, dtypes),
            session=session,
            protocol=protocol or Protocol(),
            run_id=new_run_id(),
            out=out,
            finished=finished_records(earlier, protocol or Protocol(), force=force),
            unreadable=unreadable,
        )


def _probe_environment(session: Session, device: str, dtypes: Sequence[str]) -> Environment:
    """What this machine and device are, and what the device can do at best."""
    environment = session.probe_environment(device)
    limits = session.measure_limits(device, dtypes)
    if limits is None:
        return environment
    return replace(environment, matmul_flops_per_s=limits.matmul_flops_per_s, copy_bytes_per_s=limits.copy_bytes_per_s)


def _check_models(workloads: Sequence[Workload], session: Session) -> None:
    """Refuse names and options that are wrong; and a size, if it is the only one and wrong for every model.

    Raises:
        AtlasBenchError: For the first of them.
    """
    wrong = [_check_size(workload, session) for workload in _one_of_each_model(workloads)]
    if wrong[0] is not None and all(wrong) and len({workload.resolution for workload in workloads}) == 1:
        raise wrong[0]


def _check_size(workload: Workload, session: Session) -> InvalidWorkloadError | None:
    """What is wrong with the size for this model, if anything is; other mistakes are raised."""
    try:
        session.check_model(workload)
    except InvalidWorkloadError as error:
        return InvalidWorkloadError(f"{workload.model}: {error}")
    return None


def _one_of_each_model(workloads: Sequence[Workload]) -> Iterable[Workload]:
    """The first workload of every model, its options and scale drop: they are right or wrong at any size."""
    firsts: dict[tuple[str, str, str], Workload] = {}
    for workload in workloads:
        firsts.setdefault((workload.model, workload.options_json, workload.scale_drop), workload)
    return firsts.values()


def _check_threads(threads: int | None) -> None:
    cores = len(usable_cores())
    if threads is not None and not 1 <= threads <= cores:
        raise InvalidWorkloadError(f"threads must be 1 to {cores}, the cores this process may use, got {threads}.")
