"""One side of a comparison in turns: a warm workload that runs for a moment whenever it is asked to.

Its functions are called in a worker, and their arguments and answers are plain values: the worker may have been
started from another revision of this source. Whoever changes them, changes `workers.INTERFACE_VERSION`.
"""

from __future__ import annotations

import gc
import sys
import sysconfig
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import atlasbench
from atlasbench.core.protocol import Protocol
from atlasbench.core.workload import Workload
from atlasbench.measure.count import plan_workload
from atlasbench.measure.device import Device
from atlasbench.measure.devices import open_device
from atlasbench.measure.environment import library_versions
from atlasbench.measure.memory import measure_memory
from atlasbench.measure.observe import build_step, start_device
from atlasbench.measure.statistics import median
from atlasbench.measure.timing import Sampler
from atlasbench.measure.workers import INTERFACE_VERSION

_taker: TurnTaker | None = None  # of this worker: it is asked for many turns


class TurnTaker:
    """A warm step that runs for a moment whenever it is asked to.

    Args:
        step: What is timed; warm.
        device: Where it runs.
        sampler: That warmed it up.
        least_s: Least time of the iterations that its pace is told from.
        cold: Whether caches are flushed before every iteration.

    Attributes:
        iteration_s: Seconds of its fastest iteration: unlike a median of few, it is no accident of other programs.
        calls: Iterations timed together: more than one only for steps that are short beside the clock's cost.
    """

    def __init__(
        self, step: Callable[[], object], device: Device, sampler: Sampler, *, least_s: float, cold: bool = False
    ) -> None:
        self._step = step
        self._device = device
        self._cold = cold
        self.calls = sampler.calls_per_sample
        seen = list(sampler.sample())
        while sum(seen) * self.calls < least_s:
            seen += sampler.sample()
        self.iteration_s = min(*seen, sampler.fastest_warm_up_s)

    def take_turn(self, *, calls: int, discarded: int, counted: int) -> float:
        """Run for a moment.

        Args:
            calls: Iterations timed together, as one sample.
            discarded: Samples that do not count, in which caches and clocks come back.
            counted: Samples after them.

        Returns:
            Seconds of one iteration: the median of the counted ones.
        """
        # In one go: an asynchronous device does not run dry between the discarded and the counted.
        chunk = self._device.time_chunk(self._step, samples=discarded + counted, calls=calls, cold=self._cold)
        return median(chunk.samples_s[discarded:]) / calls


def describe_source() -> dict[str, Any]:
    """What a worker runs.

    Returns:
        `interface_version`: of this interface. `files`: that its modules of ours came from. `versions`: of its
        libraries.
    """
    ours = (name for name in sys.modules if name.partition(".")[0] == atlasbench.__name__)
    return {
        "interface_version": INTERFACE_VERSION,
        "files": sorted(map(str, _files_of(ours))),
        "versions": library_versions(),
    }


def _files_of(names: Iterable[str]) -> set[Path]:
    files = (getattr(sys.modules[name], "__file__", None) for name in names)
    return {Path(file).resolve() for file in files if file}


def free_memory(device: str) -> int:
    """Bytes of a device's memory that a new process could have now."""
    return open_device(device).memory().free_bytes


def count_workload(workload: Mapping[str, Any]) -> dict[str, Any]:
    """What a workload computes and is predicted to hold.

    Returns:
        `options`: with every default resolved. `counts`: `params`, `flops` and `predicted_peak_bytes`; empty for a
        model that cannot be counted. `files`: those that the model imported, but of installed packages.

    Raises:
        AtlasBenchError: If the workload cannot be run as asked.
    """
    before = set(sys.modules)
    plan = plan_workload(Workload(**workload))
    imported = _files_of(sys.modules.keys() - before)
    installed = [Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "purelib", "platlib")]
    names = ("params", "flops", "predicted_peak_bytes") if plan.counts else ()
    return {
        "options": dict(plan.workload.options),
        "counts": {name: getattr(plan.counts, name) for name in names},
        "files": sorted(str(file) for file in imported if not any(map(file.is_relative_to, installed))),
    }


def prepare_turns(
    workload: Mapping[str, Any],
    protocol: Mapping[str, float],
    *,
    threads: int,
    least_s: float,
    wants_memory: bool = False,
) -> dict[str, Any]:
    """Build a workload and warm it up as a measurement does; then this worker can take turns.

    Args:
        workload: Fields of a `Workload`; options and dtype are resolved, the device is not `meta`.
        protocol: Constants that differ from the protocol's defaults.
        threads: Threads inside operators, and cores to run them on: the same for every worker.
        least_s: Least time of the iterations that its pace is told from.
        wants_memory: Whether to find the peak memory, where the device's allocator knows it exactly.

    Returns:
        `iteration_s` and `calls`: its pace, see `TurnTaker`. `allocated_bytes`: the peak, or None.

    Raises:
        AtlasBenchError: If the workload cannot be run as asked.
    """
    global _taker
    asked, constants = Workload(**workload), Protocol(**protocol)  # type: ignore[arg-type]  # checked when made
    device = open_device(asked.device)
    start_device(device, asked, threads)
    step, _ = build_step(asked, device)
    # For good: this process does nothing else.
    gc.collect()
    gc.freeze()
    gc.disable()
    sampler = Sampler(step, device, constants, first_call_compiles=asked.compiled)
    sampler.warm_up()
    allocated = measure_memory(step, device) if wants_memory and device.memory_method == "allocated" else None
    _taker = TurnTaker(step, device, sampler, least_s=least_s, cold=constants.cold)
    return {
        "iteration_s": _taker.iteration_s,
        "calls": _taker.calls,
        "allocated_bytes": allocated.peak_bytes if allocated else None,
    }


def take_turn(*, calls: int, discarded: int, counted: int) -> float:
    """Run for a moment; seconds of one iteration. For the arguments see `TurnTaker.take_turn`.

    Raises:
        RuntimeError: If nothing was prepared.
    """
    if _taker is None:
        raise RuntimeError("take_turn() before prepare_turns()")
    return _taker.take_turn(calls=calls, discarded=discarded, counted=counted)
