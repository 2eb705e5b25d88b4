from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hand_made import failed, make_counts, make_measurement, make_plan, make_record, make_workload

from atlasbench.core.errors import InstallationError, InvalidWorkloadError, UnsupportedError
from atlasbench.core.plan import Plan
from atlasbench.core.protocol import QUICK, Protocol
from atlasbench.core.recipe import ModelChoice, SweepRequest
from atlasbench.core.record import Measurement, PairedRatio, Record, Status
from atlasbench.core.resolution import Resolution
from atlasbench.core.workload import Mode, Workload
from atlasbench.measure.workers import WorkerDiedError
from atlasbench.sweep.turns import TurnsMeasurer, find_baselines

PEAK = 10_000_000
RESOLVED = {"resolved": True}
Failing = Mapping[tuple[str, str], Exception]  # by model and what its worker is asked for


@dataclass
class FakeSession:
    """Plans and measures at once; its workers take turns that last as long as they are told to, on a clock of its own.

    Attributes:
        seconds: Of an iteration, by model: the first turn of a model takes the first, and then again.
        endings: Models that cannot be planned.
        measured: How a measurement ends.
        fails: What raises in a worker.
    """

    seconds: Mapping[str, tuple[float, ...]]
    endings: Mapping[str, Measurement] = field(default_factory=dict)
    measured: Measurement = field(default_factory=lambda: make_measurement(counts=None, notes=("seen",)))
    fails: Failing = field(default_factory=dict)
    free_bytes: int = 10**9
    now: float = 0.0
    planned: list[str] = field(default_factory=list)
    launched: list[str] = field(default_factory=list)
    turns: list[str] = field(default_factory=list)
    threads: set[int] = field(default_factory=set)
    constants: list[Mapping[str, float]] = field(default_factory=list)

    def clock(self) -> float:
        return self.now

    def plan(self, workload: Workload) -> Plan | Measurement:
        self.planned.append(workload.model)
        if workload.model in self.endings:
            return self.endings[workload.model]
        return make_plan(
            replace(workload, options={**workload.options, **RESOLVED}), counts=make_counts(predicted_peak_bytes=PEAK)
        )

    def measure(self, plan: Plan, protocol: Protocol, on_phase: Callable[[str], None] | None = None) -> Measurement:
        if on_phase is not None:
            on_phase("timing")
        return self.measured

    def start_worker(self) -> Any:
        return FakeWorker(self)


class FakeWorker:
    def __init__(self, session: FakeSession) -> None:
        self.session = session
        self.model = ""

    def __enter__(self) -> FakeWorker:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def call(self, function: str, *arguments: Any, timeout_s: float, **keywords: Any) -> Any:
        name = function.removeprefix("atlasbench.measure.turns:")
        if name == "prepare_turns":
            self.model = arguments[0]["model"]
            assert arguments[0]["options"]["resolved"], "workers build what was planned"
            self.session.threads.add(keywords["threads"])
            self.session.constants.append(arguments[1])
            self.session.launched.append(self.model)
        if (self.model, name) in self.session.fails:
            raise self.session.fails[self.model, name]
        if name == "free_memory":
            return self.session.free_bytes
        if name != "take_turn":
            return {"iteration_s": 0.010, "calls": 1, "allocated_bytes": None}
        times = self.session.seconds[self.model]
        taken = times[self.session.turns.count(self.model) % len(times)]
        self.session.turns.append(self.model)
        self.session.now += taken
        return taken


def make_measurer(session: FakeSession, *baselines: Workload, seed: int = 1, **fields: Any) -> TurnsMeasurer:
    chosen = baselines or (make_workload("atlas_b", scale_drop="2-10"),)
    return TurnsMeasurer(session, chosen, threads=3, seed=str(seed), clock=session.clock, **fields)


def measure(
    session: FakeSession,
    workload: Workload | None = None,
    *,
    protocol: Protocol = Protocol(),  # noqa: B008 (frozen)
    measurer: TurnsMeasurer | None = None,
    on_phase: Callable[[str], None] | None = None,
    **fields: Any,
) -> Measurement:
    measurer = measurer or make_measurer(session, **fields)
    plan = measurer.plan(workload or make_workload("vit_b"))
    assert isinstance(plan, Plan)
    return measurer.measure(plan, protocol, on_phase)


def steady(**fields: Any) -> FakeSession:
    return FakeSession(seconds={"vit_b": (0.030,), "atlas_b": (0.020,)}, **fields)


def test_a_workload_has_the_ratio_of_its_time_to_that_of_the_baseline() -> None:
    session = steady()

    found = measure(session)

    assert found.ratio is not None
    assert found.ratio.ratio == pytest.approx(1.5)
    assert (found.ratio.low, found.ratio.high) == (pytest.approx(1.5), pytest.approx(1.5))
    assert (found.ratio.pairs, found.ratio.launches) == (24, 3)
    assert found.ratio.baseline == make_workload("atlas_b", scale_drop="2-10", options=RESOLVED)
    assert (session.launched.count("vit_b"), session.launched.count("atlas_b")) == (3, 3)
    assert session.threads == {3}


def test_the_rest_of_the_measurement_stays_and_the_time_of_the_turns_is_told() -> None:
    session = steady()

    found = measure(session)

    assert found.phases_s["turns"] == pytest.approx(24 * 0.05)
    phases_s = {name: seconds for name, seconds in found.phases_s.items() if name != "turns"}
    assert replace(found, ratio=None, phases_s=phases_s) == session.measured


def test_the_ratio_is_that_of_the_median_pair_and_its_interval_runs_between_order_statistics() -> None:
    times = (7.0, 5.0, 9.0, 5.5, 8.5, 6.0, 8.0, 6.5, 7.5)  # with those of the baseline, 60 s are over after nine

    ratio = measure(FakeSession(seconds={"vit_b": times, "atlas_b": (0.5,)})).ratio

    assert ratio is not None
    # Of nine fair coins, eight fall on one side with less than 2.5 %: from the second to the eighth.
    assert ratio.pairs == 9
    assert (ratio.low, ratio.ratio, ratio.high) == (pytest.approx(11), pytest.approx(14), pytest.approx(17))


def test_pairs_are_taken_in_an_order_that_the_seed_decides() -> None:
    orders = []
    for seed in (1, 1, 2):
        session = steady()
        measure(session, seed=seed)
        orders.append(session.turns)

    assert orders[0] == orders[1] != orders[2]
    assert {tuple(orders[0][index : index + 2]) for index in range(0, 48, 2)} == {
        ("vit_b", "atlas_b"),
        ("atlas_b", "vit_b"),
    }


@pytest.mark.parametrize(
    ("noise", "protocol", "pairs"),
    [
        (0.019, Protocol(), 24),  # within 2 % to each side at the first look
        (0.045, Protocol(), 600),  # and never
        (0.045, QUICK, 24),  # where 5 % will do
    ],
)
def test_pairs_are_taken_until_the_interval_is_as_narrow_as_the_protocol_asks(
    noise: float, protocol: Protocol, pairs: int
) -> None:
    times = tuple(0.010 * math.exp(sign * noise) for sign in (-1, -1, 1, 1))

    ratio = measure(FakeSession(seconds={"vit_b": times, "atlas_b": (0.010,)}), protocol=protocol).ratio

    assert ratio is not None
    assert ratio.pairs == pairs


@pytest.mark.parametrize(
    ("pair_s", "protocol", "pairs"),
    [
        (3.0, Protocol(), 20),  # 60 s
        (3.0, QUICK, 6),  # 12 s would be 4 pairs: too few
        (100.0, Protocol(), 6),
    ],
)
def test_slow_models_take_the_time_of_the_protocol_or_six_pairs(pair_s: float, protocol: Protocol, pairs: int) -> None:
    ratio = measure(
        FakeSession(seconds={"vit_b": (pair_s / 3,), "atlas_b": (pair_s * 2 / 3,)}), protocol=protocol
    ).ratio

    assert ratio is not None
    assert ratio.pairs == pairs
    assert ratio.ratio == pytest.approx(0.5)


def test_too_few_pairs_for_an_interval_are_no_ratio() -> None:
    found = measure(FakeSession(seconds={"vit_b": (200.0,), "atlas_b": (200.0,)}))

    assert found.ratio is None
    assert found.notes == (
        "seen",
        "no relative time: 5 pairs in 2000 s are too few for an interval: give more time (--max-time of the gate, "
        "hard_stop_s of a sweep)",
    )


def test_where_the_workers_do_not_fit_in_memory_together_each_turn_has_a_launch_of_its_own() -> None:
    room = round(1.3 * 6 * PEAK)
    roomy, tight = steady(free_bytes=room), steady(free_bytes=room - 1)

    together, apart = measure(roomy).ratio, measure(tight).ratio

    assert together is not None
    assert apart is not None
    assert (together.launches, apart.launches) == (3, 24)
    # One of each side shows first how many iterations make a turn.
    assert (len(roomy.launched), len(tight.launched)) == (6, 2 + 48)


def test_what_does_not_fit_in_memory_is_not_tried_unless_forced() -> None:
    found = measure(steady(free_bytes=PEAK - 10**6))

    assert found.ratio is None
    assert found.notes == (
        "seen",
        "no relative time: not tried: predicted peak 10.0 MB, free 9.00 MB (--force tries)",
    )
    assert measure(steady(free_bytes=PEAK - 10**6), force=True).ratio is not None


def test_the_baseline_itself_has_no_ratio_and_takes_no_turns() -> None:
    session = steady()

    found = measure(session, make_workload("atlas_b", scale_drop="2-10"))

    assert found == session.measured
    assert session.launched == []


@pytest.mark.parametrize(
    "change", [{"resolution": 512}, {"batch_size": 2}, {"mode": Mode.TRAIN}, {"device": "cuda:0"}, {"compiled": True}]
)
def test_a_workload_that_differs_from_every_baseline_in_more_than_the_model_has_no_ratio(change: Any) -> None:
    session = steady()

    found = measure(session, make_workload("vit_b", **change))

    assert found == session.measured
    assert session.launched == []


def test_models_with_other_options_and_drops_are_compared() -> None:
    stack = make_workload("atlas_b", scale_drop="none", options={"patch_size": 8})

    ratio = measure(steady(), stack).ratio

    assert ratio is not None
    assert ratio.ratio == pytest.approx(1.0)
    assert ratio.baseline.scale_drop == "2-10"


@pytest.mark.parametrize("status", [Status.OOM, Status.ERROR, Status.TIMEOUT])
def test_what_did_not_end_ok_takes_no_turns(status: Status) -> None:
    session = steady(measured=failed(status, "why"))

    assert measure(session) == session.measured
    assert session.launched == []


@pytest.mark.parametrize("where", ["prepare_turns", "take_turn"])
def test_a_baseline_that_cannot_run_is_tried_once_and_named(where: str) -> None:
    session = steady(fails={("atlas_b", where): UnsupportedError("not at this size.")})
    measurer = make_measurer(session)

    first, second = (measure(session, make_workload(model), measurer=measurer) for model in ("vit_b", "swin_b"))

    assert first.notes == second.notes == ("seen", "no relative time: atlas_b: not at this size.")
    assert (first.status, first.ratio) == (Status.OK, None)
    assert session.launched.count("vit_b") <= 3
    assert "swin_b" not in session.launched


def test_a_baseline_that_cannot_be_planned_is_named() -> None:
    found = measure(steady(endings={"atlas_b": failed(Status.UNSUPPORTED, "too small.")}))

    assert found.notes == ("seen", "no relative time: atlas_b: too small.")


def test_a_workload_that_fails_in_turns_keeps_its_measurement_and_the_next_is_tried() -> None:
    session = steady(fails={("swin_b", "take_turn"): WorkerDiedError(None)})
    measurer = make_measurer(session)

    first, second = (measure(session, make_workload(model), measurer=measurer) for model in ("swin_b", "vit_b"))

    assert first.notes == ("seen", "no relative time: the worker process ended without an answer")
    assert first.timing == session.measured.timing
    assert second.ratio is not None


def test_a_server_that_is_gone_is_no_fault_of_the_baseline() -> None:
    session = steady(fails={("atlas_b", "prepare_turns"): InstallationError("It ended: why.")})
    measurer = make_measurer(session)

    found = measure(session, measurer=measurer)
    session.fails = {}

    assert found.notes == ("seen", "no relative time: It ended: why.")
    assert measure(session, measurer=measurer).ratio is not None


def test_every_workload_is_counted_once() -> None:
    session = steady()
    measurer = make_measurer(session)

    for model in ("vit_b", "vit_b", "atlas_b"):
        measure(session, make_workload(model, scale_drop="2-10" if model == "atlas_b" else ""), measurer=measurer)

    assert session.planned == ["vit_b", "atlas_b"]


def test_progress_tells_that_turns_are_taken() -> None:
    phases: list[str] = []

    measure(steady(), on_phase=phases.append)

    assert phases[:3] == ["timing", "turns", "taking turns, 1 pair"]
    assert phases[-1] == "taking turns, 24 pairs"


RATIO = PairedRatio(
    baseline=make_workload("atlas_b", scale_drop="2-10", options=RESOLVED),
    ratio=1.5,
    low=1.4,
    high=1.6,
    pairs=24,
    launches=3,
)


def recorded(model: str = "vit_b", **fields: Any) -> Record:
    drop = "2-10" if model == "atlas_b" else ""
    measurement = make_measurement(**fields)
    return make_record(model, options=RESOLVED, scale_drop=drop, measurement=measurement)


@pytest.mark.parametrize(
    ("record", "is_complete"),
    [
        (recorded(ratio=RATIO), True),
        (recorded(), False),
        (recorded(ratio=replace(RATIO, baseline=make_workload("swin_b"))), False),
        (recorded(notes=("no relative time: atlas_b: why",)), True),
        (recorded("atlas_b"), True),
        (recorded(status=Status.OOM), True),
    ],
    ids=["with its ratio", "without", "with another", "with a reason", "the baseline", "failed"],
)
def test_a_record_stands_for_a_workload_if_it_has_the_ratio_that_is_asked_for(
    record: Record, is_complete: bool
) -> None:
    assert make_measurer(steady()).is_complete(record) is is_complete


def test_without_a_baseline_to_be_had_every_record_stands() -> None:
    measurer = make_measurer(steady(endings={"atlas_b": failed(Status.ERROR, "why")}))

    assert measurer.is_complete(recorded())


def request(*models: ModelChoice | str, **fields: Any) -> SweepRequest:
    return SweepRequest(models=models, resolutions=fields.pop("resolutions", (Resolution(512, 512),)), **fields)


def test_a_baseline_has_a_workload_for_every_size_and_setting() -> None:
    sizes = (Resolution(512, 512), Resolution(2048, 2048))

    baselines = find_baselines(
        request("vit_b", "atlas_b", resolutions=sizes, modes=(Mode.INFER, Mode.TRAIN)), "atlas_b"
    )

    assert [(item.model, item.resolution.height, item.mode, item.scale_drop) for item in baselines] == [
        ("atlas_b", size, mode, drop) for size, drop in ((512, "2-10"), (2048, "2-2-8")) for mode in Mode
    ]


def test_a_label_chooses_among_entries_of_one_model() -> None:
    stack = ModelChoice(name="atlas_s", label="stack", scale_drops=("none",))
    drop = ModelChoice(name="atlas_s", label="drop", scale_drops=("2-10",), options={"mlp_ratio": 2})

    (baseline,) = find_baselines(request(stack, drop, options={"patch_size": 16}), "drop")

    assert (baseline.scale_drop, baseline.options) == ("2-10", {"patch_size": 16, "mlp_ratio": 2})


def test_a_baseline_without_scales_leaves_the_drops_of_all_to_the_others() -> None:
    (baseline,) = find_baselines(request("vit_b", "atlas_b", scale_drops=("2-10", "none")), "vit_b")

    assert (baseline.model, baseline.scale_drop) == ("vit_b", "")


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (
            request("vit_b", "atlas_b", scale_drops=("2-10", "none")),
            "atlas_b runs with several scale drops at 512 px, and a baseline needs one: give one, or, in a recipe, an "
            "entry and a label of its own to one of them.",
        ),
        (request("atlas_b"), "Name a model beside atlas_b: its time relative to itself is 1."),
        (request("vit_b"), "baseline: 'atlas_b' is none of the models. There are: vit_b."),
    ],
)
def test_a_baseline_that_compares_nothing_is_refused(asked: SweepRequest, message: str) -> None:
    with pytest.raises(InvalidWorkloadError) as caught:
        find_baselines(asked, "atlas_b")

    assert str(caught.value) == message


def test_workers_of_slow_models_are_warm_after_one_iteration() -> None:
    session = steady()

    measure(session)
    measure(session, protocol=Protocol(slow_iteration_s=0.5))

    assert session.constants == [{"slow_iteration_s": 1.0}] * 6 + [{"slow_iteration_s": 0.5}] * 6


def test_the_estimate_is_of_both_sides_and_nothing_where_no_turns_will_be_taken() -> None:
    measurer = make_measurer(steady())
    vit, atlas = (
        measurer.plan(make_workload(model, scale_drop=drop)) for model, drop in (("vit_b", ""), ("atlas_b", "2-10"))
    )
    assert isinstance(vit, Plan)
    assert isinstance(atlas, Plan)

    # 2 s a step: six launches of 2 s and two steps each, and as many pairs as 60 s allow.
    assert measurer.estimate_seconds(vit, Protocol(), 2e9, 10**9) == pytest.approx(6 * (2 + 2 + 2) + 60)
    assert measurer.estimate_seconds(atlas, Protocol(), 2e9, 10**9) == 0
    assert measurer.estimate_seconds(vit, Protocol(), 2e9, PEAK - 1) == 0
