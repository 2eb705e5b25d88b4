"""From a request to a sweep that is ready to run: whatever can be wrong with it is said before anything is measured."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
    Measurer,
    NoStore,
    Progress,
    RecordKey,
    find_finished,
    finished_records,
    new_run_id,
    run_sweep,
)

if TYPE_CHECKING:  # it imports scipy, which only a sweep with a baseline needs
    from atlasbench.sweep.turns import TurnsMeasurer


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """A checked request, ready to run: nothing has been measured yet.

    Attributes:
        workloads: What will be measured, in order.
        environment: Where.
        session: Plans and measures.
        turns: Does so, too, and takes turns with a baseline; None where there is none.
        protocol: How long to warm up and sample.
        run_id: Names the file of records.
        out: Folder that keeps the records; None to keep them nowhere.
        finished: Earlier records of the folder, by key, that stand for their workloads.
        unreadable: Lines of the folder that are no records.
    """

    workloads: tuple[Workload, ...]
    environment: Environment
    session: Session
    turns: TurnsMeasurer | None = None
    protocol: Protocol
    run_id: str
    out: Path | None = None
    finished: Mapping[RecordKey, Record]
    unreadable: Sequence[UnreadableLine]

    @property
    def _measurer(self) -> Measurer:
        return self.turns or self.session

    def plan(self, on_progress: Callable[[Progress], None] = lambda _: None) -> list[Plan | Measurement]:
        """Count every workload, without measuring."""
        plans: dict[Any, Plan | Measurement] = {}  # another launch of a workload counts the same
        for index, workload in enumerate(self.workloads):
            on_progress(Progress(index=index, total=len(self.workloads), workload=workload, phase="counting"))
            if workload_key(workload) not in plans:
                plans[workload_key(workload)] = self._measurer.plan(workload)
        return [plans[workload_key(workload)] for workload in self.workloads]

    def estimate(self, plans: Sequence[Plan | Measurement]) -> list[float]:
        """About how many seconds each workload will take; 0 for what is finished, decided or only counted."""
        seconds = []
        for workload, plan in zip(self.workloads, plans, strict=True):
            if workload.device_type == "meta" or self.is_finished(workload, plan) or self._is_too_large(plan):
                seconds.append(0.0)
                continue
            speed = self.environment.matmul_flops_per_s.get(workload.dtype.torch_name, 0.0)
            seconds.append(estimate_seconds(plan, self.protocol, speed) + self._estimate_turns(plan, speed))
        return seconds

    def _estimate_turns(self, plan: Plan | Measurement, speed: float) -> float:
        if self.turns is None or isinstance(plan, Measurement):
            return 0.0
        return self.turns.estimate_seconds(plan, self.protocol, speed, self.environment.device_memory_bytes)

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
                self._measurer,
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
    baseline: str = "",
) -> Iterator[Sweep]:
    """Check everything that can be wrong with a request, and start the processes that will serve it.

    Args:
        request: What to measure.
        protocol: How long to warm up and sample; the defaults when None.
        out: Folder that keeps the records; kept nowhere when None.
        resume: Whether records of the folder stand for workloads that this environment has finished.
        threads: Cores to use on a CPU; all physical cores when None.
        force: Whether to try what is predicted not to fit in memory.
        baseline: Label or name of the model that all others take turns with; empty for none.

    Raises:
        AtlasBenchError: If a name, a value, the device or the output folder is wrong.
    """
    asked = replace(request, device="cpu" if request.device == "auto" else request.device)
    expand_request(asked)
    if baseline:
        from atlasbench.sweep.turns import find_baselines

        find_baselines(asked, baseline)
    _check_threads(threads)
    earlier, unreadable = load_earlier_records(out) if resume and out is not None else ([], [])
    if out is not None:
        check_writable(out)
    with Session(threads=threads, force=force) as session:
        device, dtypes = session.choose_device(request.device, tuple(dtype.value for dtype in request.dtypes))
        resolved = replace(request, device=device, dtypes=tuple(map(Dtype, dtypes)))
        workloads = tuple(expand_request(resolved))
        _check_models(workloads, session)
        environment, run_id = _probe_environment(session, device, dtypes), new_run_id()
        finished = finished_records(earlier, protocol or Protocol(), force=force)
        turns = None
        if baseline and device != "meta":
            turns = _take_turns(session, resolved, baseline, environment, run_id, force=force)
            finished = {key: record for key, record in finished.items() if turns.is_complete(record)}
        yield Sweep(
            workloads=workloads,
            environment=environment,
            session=session,
            turns=turns,
            protocol=protocol or Protocol(),
            run_id=run_id,
            out=out,
            finished=finished,
            unreadable=unreadable,
        )


def _take_turns(
    session: Session, request: SweepRequest, baseline: str, environment: Environment, run_id: str, *, force: bool
) -> TurnsMeasurer:
    """A measurer that takes turns; their order follows from the id of the run, which every record keeps."""
    from atlasbench.sweep.turns import TurnsMeasurer, find_baselines

    return TurnsMeasurer(
        session,
        find_baselines(request, baseline),
        threads=environment.threads,
        force=force,
        seed=run_id,
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
