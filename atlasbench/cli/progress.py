"""Progress of a sweep: a bar on a terminal, plain lines elsewhere; always on stderr."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from atlasbench.cli.output import is_terminal, say
from atlasbench.core.record import Record, Status
from atlasbench.core.units import three_digits
from atlasbench.core.workload import Workload
from atlasbench.sweep.run import Progress

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

_LEAST_WEIGHT_S = 0.1  # a workload without an estimate still moves the bar


class SweepProgress:
    """Shows the workload in hand, the phase it is in, and the time left.

    Args:
        workloads: All of the sweep.
        seconds: About how long each takes, which weighs the bar; None while they are only planned.
    """

    def __init__(self, workloads: Sequence[Workload], seconds: Sequence[float] | None) -> None:
        self._is_planning = seconds is None
        self._weights = [max(value, _LEAST_WEIGHT_S) for value in seconds or [0.0] * len(workloads)]
        self._total = len(workloads)
        self._bar: Bar | None = None

    def __enter__(self) -> SweepProgress:
        if is_terminal():
            from rich.console import Console
            from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar

            self._bar = Bar(
                TextColumn("{task.description}"),
                BarColumn(bar_width=16),
                TimeRemainingColumn(compact=True),
                console=Console(stderr=True),
                transient=True,
            )
            self._task = self._bar.add_task("", total=sum(self._weights))
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()

    def show(self, progress: Progress) -> None:
        """Say what is being done."""
        if self._bar is not None:
            text = f"[{progress.index + 1}/{progress.total}] {progress.workload.label}: {progress.phase}"
            self._bar.update(
                self._task,
                description=text.replace("[", "\\["),
                completed=sum(self._weights[: progress.index]),
            )
        elif self._is_planning is False and progress.phase == "counting":
            say(f"[{progress.index + 1}/{progress.total}] {progress.workload.label} ...")

    def finish(self, record: Record) -> None:
        """Say how a workload ended, where there is no bar."""
        if self._bar is None:
            say(f"      {_describe(record)}")


def _describe(record: Record) -> str:
    measurement = record.measurement
    if measurement.status is not Status.OK:
        return f"{measurement.status.value}: {measurement.message}"
    if measurement.timing is None:
        return "counted"
    speed = record.workload.batch_size / measurement.timing.latency_s
    return f"{three_digits(speed)} images/s from {measurement.timing.count} samples"
