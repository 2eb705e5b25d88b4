"""When a step is warm: a rule over the times of its iterations, without a clock of its own."""

from __future__ import annotations

from atlasbench.core.protocol import Protocol
from atlasbench.measure.statistics import median


class WarmUp:
    """The iterations of a warm-up so far, and whether they are enough.

    Warm is a step whose last window's median is no longer clearly below the one before, after at least two windows
    and half a second. It ends sooner for slow iterations, and unsettled at the cap.

    Attributes:
        first_call_s: Seconds of the first call; None before it.
        iterations_s: Seconds of each iteration after it.
    """

    def __init__(self, protocol: Protocol, *, first_call_compiles: bool = False) -> None:
        self.first_call_s: float | None = None
        self.iterations_s: list[float] = []
        self._protocol = protocol
        self._first_call_compiles = first_call_compiles
        self._spent_s = 0.0

    def add(self, iteration_s: float, *, spent_s: float) -> None:
        """Take in an iteration: its time, and the wall time it cost, flushing caches and waiting included."""
        self.iterations_s.append(iteration_s)
        self._spent_s += spent_s

    @property
    def calls(self) -> int:
        """Iterations so far, first call included."""
        return len(self.iterations_s) + (self.first_call_s is not None)

    @property
    def is_over(self) -> bool:
        """Whether no further iteration is needed or allowed; to be asked after every iteration, first call included."""
        protocol = self._protocol
        if self._is_slow() or self._is_out_of_time():
            return True
        if self._spent_s < protocol.warmup_min_s:
            return False  # even after 300 iterations: clocks rise with time, not with calls
        if self.calls >= protocol.warmup_max_iterations:
            return True
        return len(self.iterations_s) % protocol.warmup_window == 0 and self._has_settled()

    @property
    def is_capped(self) -> bool:
        """Whether it ended at the cap of time or iterations without having settled."""
        if not self.is_over or self._is_slow():
            return False
        return self._is_out_of_time() or not self._has_settled()

    def _is_slow(self) -> bool:
        if self.iterations_s:
            return self.iterations_s[-1] > self._protocol.slow_iteration_s
        if self._first_call_compiles:
            return False  # the compiler was slow: that says nothing about the step
        return (self.first_call_s or 0.0) > self._protocol.slow_iteration_s

    def _is_out_of_time(self) -> bool:
        return (self.first_call_s or 0.0) + self._spent_s >= self._protocol.warmup_max_s

    def _has_settled(self) -> bool:
        """Whether the last full window's median is no longer clearly below the one before."""
        window = self._protocol.warmup_window
        full = len(self.iterations_s) // window
        if full < self._protocol.warmup_min_windows:
            return False
        end = full * window
        before = median(self.iterations_s[end - 2 * window : end - window])
        return median(self.iterations_s[end - window : end]) >= before * (1 - self._protocol.warmup_tolerance)
