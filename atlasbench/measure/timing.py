"""Warm up, take samples until they suffice, and say what they are worth.

All clocks are the device's, so that a device with a simulated clock tests the logic to the last digit.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable

from atlasbench.core.protocol import Protocol
from atlasbench.core.record import Timing
from atlasbench.measure.device import Chunk, Device
from atlasbench.measure.statistics import (
    interval_of_median,
    is_drifting,
    lag1_autocorrelation,
    median,
    quartiles,
    relative_half_width,
)
from atlasbench.measure.warmup import WarmUp

_CALIBRATIONS = 3  # rounds in which the number of calls per sample may still grow
_MARGIN = 1.1  # over the least time of a sample, for steps that get faster yet
_HOST_BOUND = 0.9  # of a step's time: a device that is given a step this slowly waits for the next one


class Sampler:
    """Times one step, a chunk of samples at a time, so that several can take turns.

    In this order: `first_call`, `warm_up`, then `sample` while not `is_finished` (or as often as one likes), and
    `timing` for the result so far. Only time spent inside these methods counts against the protocol's limits.
    """

    def __init__(
        self,
        step: Callable[[], object],
        device: Device,
        protocol: Protocol,
        *,
        first_call_compiles: bool = False,
    ) -> None:
        self._step = step
        self._device = device
        self._protocol = protocol
        self._warmup = WarmUp(protocol, first_call_compiles=first_call_compiles)
        self._calibration_calls = 0
        self._calls = 1  # per sample
        self._samples_s: list[float] = []  # of one iteration: already divided by the calls per sample
        self._host_s: list[float] = []
        self._clocks_mhz: list[int] = []
        self._throttled: Counter[str] = Counter()
        self._chunks = 0
        self._spent_s = 0.0
        self._next_look = protocol.min_samples
        self._finished = False

    @property
    def is_finished(self) -> bool:
        """Whether the samples suffice, or patience is at an end."""
        return self._finished

    @property
    def samples_s(self) -> tuple[float, ...]:
        """Seconds of one iteration, by every sample so far."""
        return tuple(self._samples_s)

    @property
    def calls_per_sample(self) -> int:
        """Iterations timed together; known after the warm-up."""
        return self._calls

    @property
    def fastest_warm_up_s(self) -> float:
        """Seconds of the fastest iteration of the warm-up after the first call; infinite if there was none."""
        return min(self._warmup.iterations_s, default=math.inf)

    @property
    def notes(self) -> tuple[str, ...]:
        """What flags leave out: why clocks were held down, how often, and whether the device waited for the host."""
        notes = [
            f"clocks held down ({reason}) in {count} of {self._chunks} chunks of samples"
            for reason, count in sorted(self._throttled.items())
        ]
        is_issued = self._device.is_asynchronous and self._samples_s
        if is_issued and median(self._host_s) >= _HOST_BOUND * median(self._samples_s):
            notes.append(
                "bound by the host: issuing a step takes as long as the step (or the step waits for the device); see "
                "--batch and --compile"
            )
        return tuple(notes)

    def first_call(self) -> float:
        """Run the step once and wait for it: compilation, autotuning and lazy initialisation happen here.

        Returns:
            Wall seconds.
        """
        started = self._device.clock()
        self._step()
        self._device.synchronize()
        self._warmup.first_call_s = self._device.clock() - started
        return self._warmup.first_call_s

    def warm_up(self) -> None:
        """Run until a window's median no longer falls, within the protocol's limits; then batch very short steps."""
        if self._warmup.first_call_s is None:
            self.first_call()
        while not self._warmup.is_over:
            self.warm_up_once()
        self._calibrate()

    def warm_up_once(self) -> None:
        """Run one iteration of the warm-up, and wait for it."""
        started = self._device.clock()
        iteration_s = self._time(samples=1).samples_s[0]
        self._warmup.add(iteration_s, spent_s=self._device.clock() - started)

    def sample(self) -> tuple[float, ...]:
        """Take the next chunk: one sample where calls end when they return, else about `cuda_chunk_s` of them.

        Returns:
            The new samples, in seconds of one iteration.
        """
        started = self._device.clock()
        chunk = self._time(samples=self._chunk_size(), calls=self._calls)
        self._spent_s += self._device.clock() - started
        new = [seconds / self._calls for seconds in chunk.samples_s]
        self._samples_s += new
        self._host_s.append(chunk.host_s[0] / self._calls)  # the others may have waited for room in the device's queue
        self._chunks += 1
        self._throttled.update(chunk.throttle_reasons)
        if chunk.clock_mhz is not None:
            self._clocks_mhz.append(chunk.clock_mhz)
        self._finished = self._finished or self._is_enough()
        return tuple(new)

    def timing(self) -> Timing:
        """What the samples so far say."""
        samples, protocol = self._samples_s, self._protocol
        if not samples or self._warmup.first_call_s is None:
            raise RuntimeError("timing() before first_call() and sample()")
        low, high, interval = interval_of_median(samples, protocol.batches, protocol.batch_rank)
        return Timing(
            samples_s=tuple(samples),
            latency_s=median(samples),
            latency_low_s=low,
            latency_high_s=high,
            quartiles_s=quartiles(samples),
            minimum_s=min(samples),
            maximum_s=max(samples),
            calls_per_sample=self._calls,
            first_call_s=self._warmup.first_call_s,
            warmup_calls=self._warmup.calls + self._calibration_calls,
            lag1_autocorrelation=lag1_autocorrelation(samples),
            cpu_time_s=median(self._host_s),
            flags=self._flags(),
            interval=interval,
            clocks_mhz=tuple(self._clocks_mhz),
        )

    def _time(self, *, samples: int, calls: int = 1) -> Chunk:
        return self._device.time_chunk(self._step, samples=samples, calls=calls, cold=self._protocol.cold)

    def _calibrate(self) -> None:
        """Choose the calls per sample, so that a sample is long beside the clock's own cost."""
        least_s = self._protocol.min_sample_s
        if self._protocol.cold or not self._warmup.iterations_s:
            return  # only the first of several calls would find the caches cold; a slow step needs no batching
        sample_s = median(self._warmup.iterations_s[-self._protocol.warmup_window :])
        for _ in range(_CALIBRATIONS):
            if sample_s >= least_s:
                return
            self._calls = math.ceil(self._calls * least_s / max(sample_s, 1e-9) * _MARGIN)
            sample_s = self._time(samples=1, calls=self._calls).samples_s[0]
            self._calibration_calls += self._calls

    def _chunk_size(self) -> int:
        if not self._device.is_asynchronous:
            return 1
        recent = self._samples_s or self._warmup.iterations_s
        if not recent:
            return 1
        sample_s = median(recent[-self._protocol.warmup_window :]) * self._calls
        return max(1, int(self._protocol.cuda_chunk_s / max(sample_s, 1e-9)))

    def _is_enough(self) -> bool:
        protocol, count = self._protocol, len(self._samples_s)
        if count < protocol.floor_samples:
            return False
        if self._spent_s >= protocol.hard_stop_s:
            return True
        if count < protocol.min_samples:
            return False
        if self._spent_s >= protocol.give_up_s:
            return True
        if self._spent_s < protocol.min_time_s or count < self._next_look:
            return False
        self._next_look = math.ceil(count * protocol.growth)
        return self._is_narrow()

    def _is_narrow(self) -> bool:
        protocol = self._protocol
        return relative_half_width(self._samples_s, protocol.batches, protocol.batch_rank) <= protocol.half_width

    def _flags(self) -> tuple[str, ...]:
        protocol, samples = self._protocol, self._samples_s
        enough = max(protocol.min_samples, protocol.batches)  # fewer than batches, and the interval is the range
        flags = {
            "warmup_capped": self._warmup.is_capped,
            "few_samples": len(samples) < enough,
            "not_converged": len(samples) >= enough and not self._is_narrow(),
            "drifting": is_drifting(samples, protocol.drift_tolerance, protocol.batches, protocol.batch_rank),
            "throttled": bool(self._throttled),
        }
        return tuple(name for name, holds in flags.items() if holds)
