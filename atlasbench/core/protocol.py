"""How long to warm up, how many samples to take and when to stop: the one place of the method's constants."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from atlasbench.core.errors import InvalidWorkloadError


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """The constants of a measurement; `docs/measurement.md` explains them.

    An iteration is one step of the workload, a sample the time of one iteration or of a few (`min_sample_s`).
    """

    # Warm-up: until the median of a window stops falling.
    warmup_window: int = 10  # a median of 10 ignores a lone interruption
    warmup_min_windows: int = 2  # one window cannot be compared with anything
    warmup_min_s: float = 0.5  # clocks need some tenths of a second to rise from idle
    warmup_tolerance: float = 0.02  # as fine as the half-width asked for below
    warmup_max_iterations: int = 300  # still falling after 300: it will not settle soon
    warmup_max_s: float = 30.0  # first call included; a flag says that it ended here
    slow_iteration_s: float = 10.0  # start-up effects last tenths of a second: nothing beside an iteration this long

    # Sampling: until the interval is narrow enough, or patience ends.
    min_samples: int = 40  # 20 batches of 2
    min_time_s: float = 3.0  # noise of shared machines comes in bursts of about a second: see several
    half_width: float = 0.02  # of the interval, relative to the median
    growth: float = 1.4  # between looks: looking at every sample would stop at a lucky one
    give_up_s: float = 10.0  # a machine that is noisy for 10 s stays so
    hard_stop_s: float = 60.0  # with too few samples: they are shown as a range
    floor_samples: int = 3  # fewer have no middle
    min_sample_s: float = 200e-6  # the clock and the loop cost about 1 us: 0.5 % of this
    drift_tolerance: float = 0.02  # between the medians of the two halves of the samples

    # The interval: from the 5th to the 16th of 20 batch medians.
    batches: int = 20  # contiguous, so that neighbours that resemble each other share a batch
    batch_rank: int = 5  # 98.8 % if batches were independent: room for those that are not quite

    cuda_chunk_s: float = 0.25  # waiting for the device once in 0.25 s leaves its queue full in between
    cold: bool = False  # whether caches are flushed before every iteration
    timeout_s: float = 1800.0  # for one workload, all phases together

    def __post_init__(self) -> None:
        for name in ("warmup_window", "floor_samples", "min_samples", "warmup_max_iterations", "batch_rank"):
            self._require(getattr(self, name) >= 1, name, "at least 1")
        for name in (
            "warmup_max_s",
            "slow_iteration_s",
            "half_width",
            "hard_stop_s",
            "give_up_s",
            "timeout_s",
        ):
            self._require(getattr(self, name) > 0, name, "more than 0")
        for name in (
            "warmup_min_s",
            "warmup_tolerance",
            "min_time_s",
            "min_sample_s",
            "drift_tolerance",
            "cuda_chunk_s",
        ):
            self._require(getattr(self, name) >= 0, name, "0 or more")
        self._require(self.warmup_min_windows >= 2, "warmup_min_windows", "at least 2: the last two are compared")
        self._require(self.growth > 1, "growth", "more than 1")
        self._require(self.batches >= 2 * self.batch_rank, "batches", f"at least {2 * self.batch_rank}")
        self._require(self.floor_samples <= self.min_samples, "floor_samples", f"at most {self.min_samples}")
        self._require(self.give_up_s >= self.min_time_s, "give_up_s", f"at least min_time_s, {self.min_time_s:g}")
        self._require(self.hard_stop_s >= self.give_up_s, "hard_stop_s", f"at least give_up_s, {self.give_up_s:g}")

    def changes(self) -> dict[str, float]:
        """The constants that differ from the defaults, by name."""
        default = Protocol()
        names = (item.name for item in dataclasses.fields(self))
        return {name: getattr(self, name) for name in names if getattr(self, name) != getattr(default, name)}

    def _require(self, holds: bool, name: str, right: str) -> None:
        if not holds:
            raise InvalidWorkloadError(f"{name} is {getattr(self, name):g}; it must be {right}.")


def differing_constants(protocols: Sequence[Mapping[str, float]]) -> list[str]:
    """Names of the constants that not all of these share; but how patient a call was, which changes no time.

    Args:
        protocols: Constants that differ from the defaults, by name, of each.
    """
    names = dict.fromkeys(name for protocol in protocols for name in protocol if name != "timeout_s")
    return [name for name in names if len({protocol.get(name) for protocol in protocols}) > 1]


# About a fifth of the time, with intervals that may be two and a half times as wide: a first look, not a result.
QUICK = dataclasses.replace(
    Protocol(),
    warmup_window=5,
    warmup_min_s=0.1,
    warmup_max_iterations=60,
    warmup_max_s=6.0,
    slow_iteration_s=2.0,
    min_samples=20,  # the fewest that give 20 batches
    min_time_s=0.6,
    half_width=0.05,
    give_up_s=2.0,
    hard_stop_s=12.0,
    cuda_chunk_s=0.1,
)
