"""Relative times of a sweep: every workload takes turns with the same one of a baseline model, on the same machine."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import Any
from typing import Protocol as Interface

from atlasbench.analysis.gate.constants import RATIO_PAIRS, RATIO_SLOW_ITERATION_S, TOLERANCE
from atlasbench.analysis.gate.matching import label_workload
from atlasbench.core.errors import InstallationError, InvalidWorkloadError
from atlasbench.core.plan import Plan
from atlasbench.core.protocol import Protocol
from atlasbench.core.recipe import SweepRequest, find_choice
from atlasbench.core.record import Measurement, PairedRatio, Record, Status, cell_key, workload_key
from atlasbench.core.workload import Workload
from atlasbench.registry import has_scales
from atlasbench.sweep.estimate import estimate_turns_seconds
from atlasbench.sweep.gate_dealers import Terms
from atlasbench.sweep.gate_judging import Match, take_ratio
from atlasbench.sweep.gate_sides import Contender, SideError, Source
from atlasbench.sweep.grid import expand_request
from atlasbench.sweep.paired import measure_ratio
from atlasbench.sweep.run import Measurer

_NO_RATIO = "no relative time: "


class TurnsSession(Measurer, Source, Interface):
    """What is needed of `measure.session.Session`: it plans, measures and starts workers."""


class TurnsMeasurer:
    """Measures as a session does, and then how long a workload takes beside its baseline.

    Args:
        session: Serves both.
        baselines: Workloads of the baseline model, of every size and setting once.
        threads: Threads of both sides, and cores to run them on.
        force: Whether to try what is predicted not to fit in memory.
        seed: Of the order of turns.
        clock: Seconds from any origin.
    """

    def __init__(
        self,
        session: TurnsSession,
        baselines: Iterable[Workload],
        *,
        threads: int,
        force: bool = False,
        seed: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._session = session
        self._baselines = {cell_key(workload): workload for workload in baselines}
        self._threads = threads
        self._force = force
        self._seed = seed
        self._clock = clock
        self._plans: dict[Any, Plan | Measurement] = {}  # counting a baseline takes seconds, and many ask for it
        self._failures: dict[Any, str] = {}  # of baselines: what failed once is not tried beside every workload

    def plan(self, workload: Workload) -> Plan | Measurement:
        """Resolve and count a workload, or say how it already ended."""
        key = workload_key(workload)
        if key not in self._plans:
            self._plans[key] = self._session.plan(workload)
        return self._plans[key]

    def plan_baseline(self, workload: Workload) -> Plan | Measurement | None:
        """What a workload is compared with, all defaults of both resolved; None if it is a baseline, or has none."""
        baseline = self._baselines.get(cell_key(workload))
        planned = None if baseline is None else self.plan(baseline)
        return None if isinstance(planned, Plan) and planned.workload == workload else planned

    def estimate_seconds(self, plan: Plan, protocol: Protocol, flops_per_s: float, memory_bytes: int) -> float:
        """About how long the turns of a workload will take; 0 where none will be taken, or the speed is not known."""
        baseline = self.plan_baseline(plan.workload)
        if not isinstance(baseline, Plan):
            return 0.0
        peaks = [side.counts.predicted_peak_bytes for side in (plan, baseline) if side.counts]
        if peaks and max(peaks) > memory_bytes:
            return 0.0
        return estimate_turns_seconds((plan, baseline), _warm_up_briefly(protocol), flops_per_s, memory_bytes)

    def is_complete(self, record: Record) -> bool:
        """Whether a record has the ratio that it would be given here, says why not, or needs none."""
        measurement = record.measurement
        if measurement.status is not Status.OK or any(note.startswith(_NO_RATIO) for note in measurement.notes):
            return True
        planned = self.plan_baseline(record.workload)
        if not isinstance(planned, Plan):
            return True
        return measurement.ratio is not None and measurement.ratio.baseline == planned.workload

    def measure(self, plan: Plan, protocol: Protocol, on_phase: Callable[[str], None] | None = None) -> Measurement:
        """Measure a planned workload; where that ended ok, in turns, too. A note says why there is no ratio."""
        measurement = self._session.measure(plan, protocol, on_phase)
        planned = self.plan_baseline(plan.workload)
        if planned is None or measurement.status is not Status.OK:
            return measurement
        started = self._clock()
        cell = cell_key(plan.workload)
        ratio, failure = None, self._failures.get(cell, "")
        if not failure:
            try:
                ratio = self._take_turns(plan, planned, protocol, on_phase or (lambda _: None))
            except SideError as error:
                failure = str(error)
                if not error.is_current:
                    failure = self._failures[cell] = f"{self._baselines[cell].model}: {failure}"
            except InstallationError as error:
                failure = str(error)
        notes = (*measurement.notes, f"{_NO_RATIO}{failure}") if failure else measurement.notes
        phases_s = {**measurement.phases_s, "turns": self._clock() - started}
        return replace(measurement, ratio=ratio, notes=notes, phases_s=phases_s)

    def _take_turns(
        self, plan: Plan, baseline: Plan | Measurement, protocol: Protocol, tell: Callable[[str], None]
    ) -> PairedRatio:
        """The ratio of one workload.

        Raises:
            SideError: If one of both cannot be run, or there was too little time.
        """
        if isinstance(baseline, Measurement):
            raise SideError(baseline.message, is_current=False)
        tell("turns")
        match = Match(
            base=self._contend(baseline, is_current=False),
            current=self._contend(plan, is_current=True),
            tolerance=TOLERANCE,  # nothing is judged
        )
        measure = partial(
            measure_ratio,
            rng=random.Random(f"{self._seed} {label_workload(plan.workload)}"),
            half_width=protocol.half_width,
            pass_time_s=protocol.hard_stop_s,
            least_pairs=RATIO_PAIRS,
            clock=self._clock,
            on_progress=tell,
        )
        terms = Terms(protocol=_warm_up_briefly(protocol), threads=self._threads)
        taken, (low, high) = take_ratio(match, terms, measure, force=self._force)
        return PairedRatio(
            baseline=baseline.workload,
            ratio=1 + taken.change,
            low=1 + low,
            high=1 + high,
            pairs=len(taken.differences),
            launches=taken.launches,
        )

    def _contend(self, plan: Plan, *, is_current: bool) -> Contender:
        counts = {} if plan.counts is None else {"predicted_peak_bytes": plan.counts.predicted_peak_bytes}
        return Contender(source=self._session, workload=plan.workload, is_current=is_current, counts=counts)


def find_baselines(request: SweepRequest, baseline: str) -> list[Workload]:
    """The workloads of a request that its others are compared with, one for each size and setting.

    Args:
        request: What to measure.
        baseline: Label or name of one of its models.

    Raises:
        InvalidWorkloadError: If there is no such model, or no other, or it runs several times at one size.
    """
    choice = find_choice(request, baseline)
    drops = request.scale_drops if has_scales(choice.name) else ()
    workloads = expand_request(replace(request, models=(choice,), scale_drops=drops))
    if len(workloads) == len(expand_request(request)):
        raise InvalidWorkloadError(f"Name a model beside {baseline}: its time relative to itself is 1.")
    cells = Counter(map(cell_key, workloads))
    for workload in workloads:
        if cells[cell_key(workload)] > 1:
            raise InvalidWorkloadError(
                f"{baseline} runs with several scale drops at {workload.resolution} px, and a baseline needs one: give "
                "one, or, in a recipe, an entry and a label of its own to one of them."
            )
    return workloads


def _warm_up_briefly(protocol: Protocol) -> Protocol:
    return replace(protocol, slow_iteration_s=min(protocol.slow_iteration_s, RATIO_SLOW_ITERATION_S))
