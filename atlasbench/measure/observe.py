"""Watches one workload run, in a process that does nothing else: build, warm up, time, find the peak memory."""

from __future__ import annotations

import gc
import os
import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch

from atlasbench.core.errors import UnsupportedError
from atlasbench.core.protocol import Protocol
from atlasbench.core.record import Measurement, Memory, Status, Timing
from atlasbench.core.workload import Workload
from atlasbench.measure.contention import NOTICED_SHARE, foreign_share, read_cores
from atlasbench.measure.device import Device
from atlasbench.measure.devices import open_device
from atlasbench.measure.failures import explain_failure
from atlasbench.measure.kernels import name_kernels, watch_operators
from atlasbench.measure.machine import choose_cores, usable_cores
from atlasbench.measure.memory import measure_memory
from atlasbench.measure.steps import SEED, Step, describe_output, prepare_step
from atlasbench.measure.timing import Sampler
from atlasbench.models.built import BuiltModel
from atlasbench.models.factory import build_model
from atlasbench.models.layers.selective_scan import fallback_note


def measure_workload(
    workload: Workload,
    protocol: Protocol,
    *,
    threads: int,
    on_phase: Callable[[str], None] = lambda phase: None,
    build: Callable[..., BuiltModel] = build_model,
) -> Measurement:
    """Measure time and memory of a workload. Changes this process for good: threads, cores, seeds, current device.

    Args:
        workload: What to run; its dtype is resolved, its device is not `meta`.
        protocol: When to stop.
        threads: Threads inside operators, and cores to run them on.
        on_phase: Told each phase as it begins: `setup`, `build`, `warmup`, `timing`, `memory`.
        build: Takes what `build_model` takes.

    Returns:
        Everything but the counts. Whatever goes wrong is in the status and the message; nothing is raised but
        KeyboardInterrupt and SystemExit.
    """
    phases = _Phases(on_phase)
    found = _Found()
    try:
        _observe(workload, protocol, threads, phases, found, build)
        status, message = Status.OK, ""
    except Exception as error:  # whatever a model raises is this workload's result, and the sweep goes on
        status, message = explain_failure(error, found.device)
        if status is not Status.UNSUPPORTED:
            message = f"{message} (in phase {phases.current})"
    return Measurement(
        status=status,
        message=message,
        notes=tuple(dict.fromkeys(found.notes)),
        memory=found.memory,
        timing=found.timing,
        kernels=found.kernels,
        phases_s=phases.close(),
    )


@dataclass
class _Found:
    """What is known so far, so that a failure keeps what came before it."""

    device: Device | None = None
    notes: list[str] = field(default_factory=list)
    memory: Memory | None = None
    timing: Timing | None = None
    kernels: Mapping[str, str] = field(default_factory=dict)


class _Phases:
    """Wall time of each phase; one ends where the next begins."""

    def __init__(self, on_phase: Callable[[str], None]) -> None:
        self.current = ""
        self._on_phase = on_phase
        self._since = time.perf_counter()
        self._spent_s: dict[str, float] = {}

    def enter(self, phase: str) -> None:
        self.close()
        self.current = phase
        self._on_phase(phase)

    def close(self) -> dict[str, float]:
        now = time.perf_counter()
        if self.current:
            self._spent_s[self.current] = self._spent_s.get(self.current, 0.0) + now - self._since
        self._since = now
        return dict(self._spent_s)


def _observe(
    workload: Workload,
    protocol: Protocol,
    threads: int,
    phases: _Phases,
    found: _Found,
    build: Callable[..., BuiltModel],
) -> None:
    phases.enter("setup")
    device = found.device = open_device(workload.device)
    found.notes += start_device(device, workload, threads)
    phases.enter("build")
    step, notes = build_step(workload, device, build)
    found.notes += notes
    with quiet_collector():
        _time(step, device, protocol, phases, found)
        phases.enter("memory")
        found.memory = _measure_memory(step, device)
    if found.memory.note:
        found.notes.append(f"peak memory: {found.memory.note}")


def start_device(device: Device, workload: Workload, threads: int) -> list[str]:
    """Make this process one that runs this workload: threads, cores, seeds, current device.

    Returns:
        Notes on what could not be done.

    Raises:
        UnsupportedError: If the device cannot do this arithmetic.
    """
    if reason := device.why_unsupported(workload.dtype):
        raise UnsupportedError(f"{device.name} cannot do {workload.dtype}: {reason}.")
    notes = use_threads(threads)
    _seed()
    device.start()
    return notes


def build_step(
    workload: Workload, device: Device, build: Callable[..., BuiltModel] = build_model
) -> tuple[Step, list[str]]:
    """Build a planned workload's model and make a step of it.

    Returns:
        The step, which has not run yet, and notes on the model and its arithmetic here.
    """
    built = build(
        workload.model,
        resolution=workload.resolution,
        options=workload.options,
        scale_drop=workload.scale_drop,
        probe=False,
    )
    notes = [*built.notes]
    if note := device.arithmetic_note(workload.dtype):
        notes.append(note)
    return prepare_step(built.model, workload, device, input_shape=built.input_shape), notes


def _time(step: Step, device: Device, protocol: Protocol, phases: _Phases, found: _Found) -> None:
    workload = step.workload
    sampler = Sampler(step, device, protocol, first_call_compiles=workload.compiled)
    phases.enter("warmup")
    step.keep_output = True
    if workload.compiled:
        sampler.first_call()  # watched, it would show the operators that the compiler tries out
        operators = watch_operators(sampler.warm_up_once)
    else:
        operators = watch_operators(sampler.first_call)
    found.kernels = name_kernels(operators, compiled=workload.compiled)
    if "pytorch" in found.kernels["scan"] and (note := fallback_note(device.type)):
        found.notes.append(note)
    found.notes += describe_output(step.output, workload)
    step.keep_output, step.output = False, None
    sampler.warm_up()
    phases.enter("timing")
    cores = usable_cores()  # those that it was pinned to, where the system can
    before = read_cores(cores)
    while not sampler.is_finished:
        sampler.sample()
    share = foreign_share(before, read_cores(cores), len(cores)) if device.type == "cpu" else None
    found.timing = _with_share(sampler.timing(), share)
    found.notes += sampler.notes


def _with_share(timing: Timing, share: float | None) -> Timing:
    is_contended = share is not None and share > NOTICED_SHARE
    flags = (*timing.flags, "contended") if is_contended else timing.flags
    return replace(timing, foreign_core_share=share, flags=flags)


def _measure_memory(step: Step, device: Device) -> Memory:
    """Peak memory; unknown with the reason if the pass fails, because the times taken before it stand."""
    try:
        return measure_memory(step, device)
    except Exception as error:  # the step ran dozens of times: its times are right whatever stopped this one
        reason = explain_failure(error, device)[1]
        note = f"unknown: the memory pass failed after the times were taken: {reason}"
        return Memory(peak_bytes=None, method=device.memory_method, note=note)


def use_threads(threads: int) -> list[str]:
    """Run torch's operators on this many threads, each thread of the process on these cores alone.

    Returns:
        Notes on what could not be done.
    """
    notes = []
    torch.set_num_threads(threads)
    try:
        torch.set_num_interop_threads(1)
    except RuntimeError:  # torch allows it once, and only before its first parallel work
        if torch.get_num_interop_threads() != 1:
            notes.append(f"{torch.get_num_interop_threads()} threads between operators instead of 1")
    cores = choose_cores(threads)
    if len(cores) < threads:
        notes.append(f"{threads} threads share {len(cores)} cores")
    if not hasattr(os, "sched_setaffinity"):
        notes.append("threads are not pinned to cores: this system cannot")
        return notes
    for task in _tasks():
        with suppress(OSError):  # a thread that ended meanwhile, or a system that forbids it
            os.sched_setaffinity(task, cores)
    if os.sched_getaffinity(0) != set(cores):
        notes.append("threads are not pinned to cores: this system does not allow it")
    return notes


def _tasks() -> list[int]:
    """Ids of this process's threads: pools that exist already do not follow the main thread."""
    folder = Path("/proc/self/task")
    try:
        return [int(entry.name) for entry in folder.iterdir()]
    except OSError:
        return [0]


@contextmanager
def quiet_collector() -> Iterator[None]:
    """No garbage collection inside: what exists is set aside for good, what is made is freed by its references."""
    was_enabled = gc.isenabled()
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.unfreeze()
        if was_enabled:
            gc.enable()


def _seed() -> None:
    random.seed(SEED)
    np.random.seed(SEED)
    torch.manual_seed(SEED)
