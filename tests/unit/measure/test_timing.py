from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Iterator

import pytest
from fake_device import FakeDevice, FakeStep

from atlasbench.core.errors import InvalidWorkloadError
from atlasbench.core.protocol import QUICK, Protocol
from atlasbench.core.record import Timing
from atlasbench.measure.timing import Sampler
from atlasbench.measure.warmup import WarmUp

PROTOCOL = Protocol()


def then(*parts: Iterable[float]) -> Iterator[float]:
    return itertools.chain(*parts)


def forever(seconds: float) -> Iterator[float]:
    return itertools.repeat(seconds)


def measure(
    durations_s: Iterator[float],
    protocol: Protocol = PROTOCOL,
    device: FakeDevice | None = None,
    *,
    first_call_compiles: bool = False,
) -> Timing:
    device = device or FakeDevice()
    step = FakeStep(device, durations_s)
    sampler = Sampler(step, device, protocol, first_call_compiles=first_call_compiles)
    sampler.first_call()
    sampler.warm_up()
    while not sampler.is_finished:
        sampler.sample()
    return sampler.timing()


def alternating(low: float, high: float, run: int) -> Iterator[float]:
    """Long runs of two levels: batch medians are spread out whatever the number of samples."""
    return itertools.cycle([*[low] * run, *[high] * run])


# Warm-up


def test_the_first_call_is_timed_apart_and_waited_for() -> None:
    device = FakeDevice()
    sampler = Sampler(FakeStep(device, then([2.5], forever(0.1))), device, PROTOCOL)
    assert sampler.first_call() == pytest.approx(2.5)
    assert device.log == ["step", "synchronize"]
    assert measure(then([2.5], forever(0.1))).first_call_s == pytest.approx(2.5)


def test_a_steady_step_warms_up_for_two_windows() -> None:
    timing = measure(forever(0.1))
    assert timing.warmup_calls == 1 + 20
    assert timing.flags == ()


def test_a_steady_short_step_warms_up_for_half_a_second() -> None:
    assert measure(forever(0.01)).warmup_calls == 1 + 50


def test_half_a_second_of_a_very_short_step_may_take_more_than_300_iterations() -> None:
    timing = measure(forever(2**-10))  # exact in binary: 512 of them are half a second
    assert timing.warmup_calls == 1 + 512
    assert "warmup_capped" not in timing.flags


def test_warm_up_goes_on_while_a_windows_median_falls_by_more_than_2_percent() -> None:
    levels = [0.100, 0.097, 0.094, 0.0925]  # the last is 1.6 % below the one before
    durations = then([0.1], *([level] * 10 for level in levels), forever(0.0925))
    timing = measure(durations)
    assert timing.warmup_calls == 1 + 40
    assert timing.flags == ()
    assert timing.maximum_s == pytest.approx(0.0925)


def test_warm_up_ends_when_a_windows_median_rises() -> None:
    assert measure(then([0.1], [0.05] * 10, [0.09] * 10, forever(0.09))).warmup_calls == 1 + 20


def test_one_slow_iteration_does_not_decide_a_window() -> None:
    assert measure(then([0.1], [0.05] * 10, [0.9], [0.05] * 9, forever(0.05))).warmup_calls == 1 + 20


def ever_faster(first: float, factor: float) -> Iterator[float]:
    for window in itertools.count():
        yield from [first * factor**window] * 10


def test_warm_up_that_never_settles_is_capped_at_300_iterations() -> None:
    timing = measure(then([0.09], ever_faster(0.09, 0.97)))
    assert timing.warmup_calls == 300
    assert "warmup_capped" in timing.flags


def test_warm_up_is_capped_at_30_seconds_first_call_included() -> None:
    timing = measure(then([9.5], forever(4.125)))
    assert timing.warmup_calls == 1 + 5  # 9.5 + 5 * 4.125 = 30.125
    assert "warmup_capped" in timing.flags


def test_iterations_over_10_seconds_need_no_further_warm_up() -> None:
    timing = measure(forever(40.0))
    assert timing.warmup_calls == 1
    assert "warmup_capped" not in timing.flags


def test_a_slow_compilation_does_not_make_iterations_slow() -> None:
    timing = measure(then([20.0], forever(0.1)), first_call_compiles=True)
    assert timing.warmup_calls == 1 + 20
    assert timing.first_call_s == pytest.approx(20.0)
    assert "warmup_capped" not in timing.flags


def test_a_compilation_over_30_seconds_leaves_no_time_to_warm_up_and_says_so() -> None:
    timing = measure(then([31.0], forever(0.1)), first_call_compiles=True)
    assert timing.warmup_calls == 1
    assert "warmup_capped" in timing.flags


def test_a_slow_iteration_after_a_compilation_ends_the_warm_up() -> None:
    timing = measure(then([25.0], forever(11.0)), first_call_compiles=True)
    assert timing.warmup_calls == 2
    assert "warmup_capped" not in timing.flags


def test_warm_up_rule_is_asked_after_every_iteration() -> None:
    warmup = WarmUp(PROTOCOL)
    warmup.first_call_s = 1.0
    for _ in range(4):
        warmup.add(7.0, spent_s=7.0)
    assert not warmup.is_over
    warmup.add(7.0, spent_s=7.0)
    assert warmup.is_over
    assert warmup.is_capped


# Stopping


def test_a_steady_step_stops_at_40_samples_and_3_seconds() -> None:
    assert len(measure(forever(0.25)).samples_s) == 40
    assert len(measure(forever(2**-6)).samples_s) == 3 * 64


def test_it_looks_again_after_every_growth_by_1_4() -> None:
    # 12 of 40 samples are low, so 6 of 20 batches: too wide. Of 56 they are 4 batches, outside the interval's ends;
    # so they were from 49 samples on, but nobody looked.
    timing = measure(then([0.08], [0.08] * 20, [0.08] * 12, forever(0.1)))
    assert len(timing.samples_s) == 56
    assert timing.flags == ()


def test_noise_that_stays_is_given_up_at_10_seconds() -> None:
    timing = measure(then([0.1], [0.1] * 20, alternating(0.1, 0.15, 5)))
    assert timing.flags == ("not_converged",)
    assert not timing.converged
    assert sum(timing.samples_s) == pytest.approx(10.0, abs=0.15)


def test_at_10_seconds_with_a_narrow_interval_it_has_converged() -> None:
    timing = measure(forever(0.3))  # 40 samples come after 12 s
    assert len(timing.samples_s) == 40
    assert timing.converged
    assert timing.flags == ()


def test_40_samples_are_taken_even_after_10_seconds() -> None:
    timing = measure(then([1.0], [1.0] * 20, alternating(0.8, 1.2, 5)))
    assert len(timing.samples_s) == 40
    assert timing.flags == ("not_converged",)


def test_at_60_seconds_it_stops_in_any_case_and_shows_the_range() -> None:
    timing = measure(then([2.0], [2.0] * 14, itertools.cycle([3.75, 4.25])))
    assert len(timing.samples_s) == 16  # 59.75 s after 15
    assert timing.interval == "range"
    assert (timing.latency_low_s, timing.latency_high_s) == (pytest.approx(3.75), pytest.approx(4.25))
    assert "few_samples" in timing.flags
    assert "not_converged" not in timing.flags


def test_never_fewer_than_3_samples() -> None:
    timing = measure(forever(100.0))
    assert len(timing.samples_s) == 3
    assert timing.flags == ("few_samples",)


def test_drift_between_the_halves_is_flagged() -> None:
    timing = measure(then([0.1], [0.1] * 20, [0.1] * 20, forever(0.125)), PROTOCOL)
    assert "drifting" not in timing.flags  # most samples are of the second level by the end
    half_and_half = dataclasses.replace(PROTOCOL, half_width=1.0)
    timing = measure(then([0.1], [0.1] * 20, [0.1] * 20, forever(0.125)), half_and_half)
    assert len(timing.samples_s) == 40
    assert timing.flags == ("drifting",)
    assert not timing.converged


# Samples


def test_nothing_is_dropped_and_the_order_is_kept() -> None:
    durations = [0.1 + 0.0001 * index for index in range(40)]
    timing = measure(then([0.1], [0.1] * 20, durations))
    assert timing.samples_s == pytest.approx(durations)
    assert timing.latency_s == pytest.approx((durations[19] + durations[20]) / 2)
    assert (timing.minimum_s, timing.maximum_s) == (pytest.approx(durations[0]), pytest.approx(durations[-1]))
    assert timing.lag1_autocorrelation == pytest.approx(0.925, abs=0.01)


def test_steps_below_200_microseconds_are_batched() -> None:
    timing = measure(forever(2**-15))  # 31 us
    assert timing.calls_per_sample >= 200e-6 * 2**15
    assert timing.calls_per_sample * 2**-15 < 300e-6
    assert timing.latency_s == pytest.approx(2**-15)
    assert timing.cpu_time_s == pytest.approx(2**-16)


def test_steps_of_200_microseconds_are_not_batched() -> None:
    assert measure(forever(2**-12)).calls_per_sample == 1


def test_a_step_that_gets_faster_in_a_batch_is_batched_further() -> None:
    device = FakeDevice()
    durations = then([0.001], [100e-6] * 5000, forever(20e-6))
    timing = measure(durations, device=device)
    assert timing.calls_per_sample * 20e-6 >= 200e-6


def test_cold_steps_are_not_batched_because_only_the_first_of_a_batch_is_cold() -> None:
    device = FakeDevice()
    device.flush_s = 0.01
    timing = measure(forever(2**-15), dataclasses.replace(PROTOCOL, cold=True), device)
    assert timing.calls_per_sample == 1
    assert timing.latency_s == pytest.approx(2**-15)


def test_flushing_counts_against_the_time_limits_but_not_in_the_samples() -> None:
    device = FakeDevice()
    device.flush_s = 1.0
    timing = measure(forever(0.5), dataclasses.replace(PROTOCOL, cold=True), device)
    assert timing.latency_s == pytest.approx(0.5)
    assert len(timing.samples_s) == 40  # 60 s at 1.5 s each


def test_an_asynchronous_device_is_waited_for_about_every_quarter_of_a_second() -> None:
    device = FakeDevice(is_asynchronous=True)
    timing = measure(forever(2**-7), device=device)
    timed = device.chunk_sizes[timing.warmup_calls - 1 :]
    assert set(timed) == {32}
    assert len(timing.samples_s) == 32 * len(timed) >= 3 * 128


def test_a_synchronous_device_takes_samples_one_by_one() -> None:
    device = FakeDevice()
    measure(forever(2**-7), device=device)
    assert set(device.chunk_sizes) == {1}


def test_slow_steps_on_an_asynchronous_device_are_chunks_of_one() -> None:
    device = FakeDevice(is_asynchronous=True)
    timing = measure(forever(11.0), device=device)
    assert set(device.chunk_sizes) == {1}
    assert len(timing.samples_s) == 6  # 66 s


def test_throttling_is_flagged_and_explained_and_nothing_is_discarded() -> None:
    device = FakeDevice(is_asynchronous=True)
    device.clock_mhz, device.throttle_reasons = 1410, ("power cap",)
    sampler = Sampler(FakeStep(device, forever(2**-4)), device, PROTOCOL)
    sampler.warm_up()
    while not sampler.is_finished:
        sampler.sample()
    timing = sampler.timing()
    assert timing.flags == ("throttled",)
    assert timing.converged  # throttled is a warning, not a verdict on the samples
    assert set(timing.clocks_mhz) == {1410}
    chunks = len(timing.clocks_mhz)
    assert sampler.notes == (f"clocks held down (power cap) in {chunks} of {chunks} chunks of samples",)


@pytest.mark.parametrize(
    ("is_asynchronous", "host_share", "is_noted"), [(True, 0.95, True), (True, 0.5, False), (False, 0.95, False)]
)
def test_a_device_that_waits_for_the_host_is_noted(is_asynchronous: bool, host_share: float, is_noted: bool) -> None:
    device = FakeDevice(is_asynchronous=is_asynchronous)
    device.host_share = host_share
    sampler = Sampler(FakeStep(device, forever(0.01)), device, Protocol())
    sampler.warm_up()
    while not sampler.is_finished:
        sampler.sample()
    assert any("bound by the host" in note for note in sampler.notes) == is_noted
    assert sampler.timing().cpu_time_s == pytest.approx(host_share * 0.01)


# Taking turns


def test_two_samplers_can_take_turns_and_only_their_own_time_counts() -> None:
    device = FakeDevice()
    quick = Sampler(FakeStep(device, forever(0.125)), device, PROTOCOL)
    slow = Sampler(FakeStep(device, forever(1.0)), device, PROTOCOL)
    for sampler in (quick, slow):
        sampler.first_call()
        sampler.warm_up()
    rounds = 0
    while not (quick.is_finished and slow.is_finished):
        assert quick.sample() == (pytest.approx(0.125),)
        assert slow.sample() == (pytest.approx(1.0),)
        rounds += 1
    assert rounds == 40
    assert quick.samples_s == pytest.approx([0.125] * 40)
    assert slow.timing().flags == ()


def test_a_finished_sampler_gives_further_samples_when_asked() -> None:
    device = FakeDevice()
    sampler = Sampler(FakeStep(device, forever(0.25)), device, PROTOCOL)
    sampler.warm_up()
    while not sampler.is_finished:
        sampler.sample()
    sampler.sample()
    assert sampler.is_finished
    assert len(sampler.timing().samples_s) == 41


def test_a_sampler_without_samples_has_no_timing() -> None:
    device = FakeDevice()
    with pytest.raises(RuntimeError, match=r"before first_call\(\) and sample\(\)"):
        Sampler(FakeStep(device, forever(1.0)), device, PROTOCOL).timing()


# The protocol


def test_the_quick_preset_takes_about_a_fifth_of_the_time() -> None:
    def spent(protocol: Protocol) -> float:
        device = FakeDevice()
        measure(forever(0.005), protocol, device)
        return device.now - 100.0

    assert 4 <= spent(PROTOCOL) / spent(QUICK) <= 6


@pytest.mark.parametrize(
    ("field", "value", "right"),
    [
        ("min_samples", 0, "at least 1"),
        ("growth", 1.0, "more than 1"),
        ("half_width", 0.0, "more than 0"),
        ("warmup_min_windows", 1, "at least 2"),
        ("batches", 9, "at least 10"),
        ("floor_samples", 41, "at most 40"),
        ("give_up_s", 2.0, "at least min_time_s, 3"),
        ("hard_stop_s", 9.0, "at least give_up_s, 10"),
        ("warmup_min_s", -0.1, "0 or more"),
    ],
)
def test_a_protocol_that_cannot_be_followed_is_refused(field: str, value: float, right: str) -> None:
    with pytest.raises(InvalidWorkloadError, match=rf"{field} is {value:g}; it must be {right}"):
        dataclasses.replace(PROTOCOL, **{field: value})
