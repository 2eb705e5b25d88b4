"""Progress of a sweep: a bar on a terminal, plain lines elsewhere; always on stderr."""

from __future__ import annotations

import time
from collections.abc import Sequence

from rich.console import Console
from rich.progress import BarColumn, ProgressColumn, Task, TextColumn
from rich.progress import Progress as Bar
from rich.table import Column
from rich.text import Text

from atlasbench.cli.output import is_terminal, say
from atlasbench.core.record import Record, Status
from atlasbench.core.units import format_duration, three_digits
from atlasbench.core.workload import Workload
from atlasbench.sweep.estimate import time_left
from atlasbench.sweep.run import Progress

_LEAST_WEIGHT_S = 0.1  # a workload that is decided already still moves the bar
_BAR_WIDTH = 16


class SweepProgress:
    """Shows the workload in hand, the phase it is in, and the time left.

    Args:
        workloads: All of the sweep.
        seconds: About how long each takes; zeros where that is not known.
        is_planning: Whether they are only counted for now, which is worth a bar but no lines.
    """

    def __init__(self, workloads: Sequence[Workload], seconds: Sequence[float], *, is_planning: bool = False) -> None:
        self._is_planning = is_planning
        self._total = len(workloads)
        self._are_seconds = any(seconds)
        self._weights = [max(value, _LEAST_WEIGHT_S) for value in seconds]
        self._index = 0
        self._started = self._current_started = time.monotonic()
        self._bar = _make_bar(self) if is_terminal() else None
        self._task = self._bar.add_task("", total=sum(self._weights)) if self._bar else None

    def __enter__(self) -> SweepProgress:
        if self._bar is not None:
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
        if progress.index != self._index:
            self._index, self._current_started = progress.index, time.monotonic()
        place = f"[{progress.index + 1}/{progress.total}] {progress.workload.label}"
        if self._bar is not None and self._task is not None:
            done = sum(self._weights[: progress.index])
            self._bar.update(self._task, description=f"{progress.phase:8} {place}", completed=done)
        elif not self._is_planning and progress.phase == "counting":
            left = self.seconds_left()
            say(f"{place} ..." + (f" {format_duration(left)} left" if left else ""))

    def finish(self, record: Record, *, is_new: bool) -> None:
        """Say how a workload ended, where there is no bar."""
        if self._bar is None:
            say(f"      {'' if is_new else 'measured before: '}{_describe(record)}")

    def seconds_left(self) -> float | None:
        """About how long the rest takes; None where that is not known yet."""
        now = time.monotonic()
        return time_left(
            self._weights,
            self._index,
            self._current_started - self._started,
            now - self._current_started,
            are_seconds=self._are_seconds,
        )


def _make_bar(progress: SweepProgress) -> Bar:
    class TimeLeft(ProgressColumn):
        """What the estimates and the pace so far say."""

        def render(self, task: Task) -> Text:
            left = progress.seconds_left()
            return Text("" if left is None else f"{format_duration(left)} left")

    return Bar(
        TextColumn("{task.description}", markup=False, table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis")),
        BarColumn(bar_width=_BAR_WIDTH, table_column=Column(width=_BAR_WIDTH)),
        TimeLeft(table_column=Column(no_wrap=True, justify="right")),
        console=Console(stderr=True),
        transient=True,
        expand=True,
    )


def _describe(record: Record) -> str:
    measurement = record.measurement
    if measurement.status is not Status.OK:
        return f"{measurement.status.value}: {measurement.message}"
    if measurement.timing is None:
        return "counted"
    speed = record.workload.batch_size / measurement.timing.latency_s
    return f"{three_digits(speed)} images/s from {measurement.timing.count} samples"
