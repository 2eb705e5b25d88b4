from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from hand_made import make_workload

from atlasbench.core.errors import InstallationError, NothingMeasuredError, RevisionError, UnsupportedError
from atlasbench.core.protocol import Protocol
from atlasbench.measure.workers import WorkerDiedError
from atlasbench.sweep.gate import describe_new, judge_all
from atlasbench.sweep.gate_dealers import PairDealer, Terms
from atlasbench.sweep.gate_judging import Bench, Match, judge_match
from atlasbench.sweep.gate_settings import GateSettings
from atlasbench.sweep.gate_sides import Contender, SideError, count_side
from atlasbench.sweep.run import Progress

COUNTS = {"params": 1000, "flops": 2000, "predicted_peak_bytes": 10_000_000}


@dataclass
class FakeSource:
    """A server whose workers count what they are told to and take exactly as long."""

    iteration_s: float = 0.010
    counts: Mapping[str, int] = field(default_factory=lambda: dict(COUNTS))
    free_bytes: int = 10**9
    fails: dict[str, Exception] = field(default_factory=dict)
    fails_once: bool = False
    alive: int = 0
    most_alive: int = 0
    launches: int = 0
    threads: set[int] = field(default_factory=set)
    turns: list[Mapping[str, int]] = field(default_factory=list)
    allocated_bytes: int | None = None
    files: list[str] = field(default_factory=list)

    def start_worker(self) -> Any:
        self.launches += 1
        return FakeWorker(self)


class FakeWorker:
    def __init__(self, source: FakeSource) -> None:
        self.source = source

    def __enter__(self) -> FakeWorker:
        self.source.alive += 1
        self.source.most_alive = max(self.source.most_alive, self.source.alive)
        return self

    def __exit__(self, *_: object) -> None:
        self.source.alive -= 1

    def call(self, function: str, *arguments: Any, timeout_s: float, **keywords: Any) -> Any:
        name = function.removeprefix("atlasbench.measure.turns:")
        if name in self.source.fails:
            raise self.source.fails.pop(name) if self.source.fails_once else self.source.fails[name]
        if name == "prepare_turns":
            self.source.threads.add(keywords["threads"])
        if name == "take_turn":
            self.source.turns.append(keywords)
        answers = {
            "count_workload": {"options": {"resolved": True}, "counts": self.source.counts, "files": self.source.files},
            "free_memory": self.source.free_bytes,
            "prepare_turns": {
                "iteration_s": self.source.iteration_s,
                "calls": 1,
                "allocated_bytes": self.source.allocated_bytes,
            },
            "take_turn": self.source.iteration_s,
        }
        return answers[name]


def make_match(base: FakeSource, current: FakeSource, *, device: str = "cpu", **fields: Any) -> Match:
    workload = make_workload("vit_b", device=device)
    return Match(
        base=Contender(source=base, workload=workload, is_current=False),
        current=Contender(source=current, workload=workload, is_current=True),
        **{"tolerance": 0.03, **fields},
    )


def make_bench(**fields: Any) -> Bench:
    return Bench(terms=Terms(protocol=Protocol(), threads=3), settings=GateSettings(), seed=1, **fields)


def judge(base: FakeSource, current: FakeSource, *, bench: Bench | None = None, **fields: Any) -> Any:
    return judge_match(make_match(base, current, **fields), bench or make_bench(), lambda _: None)


@pytest.mark.parametrize(
    ("current_s", "verdict", "change"), [(0.010, "same", 0.0), (0.011, "slower", 0.1), (0.009, "faster", -0.1)]
)
def test_times_are_judged_by_turns_of_both_sides(current_s: float, verdict: str, change: float) -> None:
    base, current = FakeSource(), FakeSource(current_s)

    found = judge(base, current)

    assert (found.verdict, found.method, found.label) == (
        verdict,
        "paired turns",
        "vit_b, 1024 px, batch 1, infer, float32",
    )
    assert found.change == pytest.approx(change)
    assert base.threads == current.threads == {3}
    assert (base.alive, current.alive) == (0, 0)


def test_a_ratio_that_is_as_expected_is_the_same() -> None:
    found = judge(FakeSource(0.010), FakeSource(0.020), expected=2.0, method="stored ratio")

    assert (found.verdict, found.method) == ("same", "stored ratio")
    assert found.change == pytest.approx(0)


def test_counts_are_compared_exactly_with_those_of_the_base_or_with_stored_ones() -> None:
    more = FakeSource(counts={**COUNTS, "params": 1001})

    assert [item.name for item in judge(FakeSource(), more).counted if item.is_worse] == ["params"]
    assert not judge(FakeSource(), more, counts_before=more.counts).is_worse


def test_peak_memory_of_a_gpu_is_compared_with_another_revision_and_not_with_another_model() -> None:
    before, now = FakeSource(allocated_bytes=10**6), FakeSource(allocated_bytes=2 * 10**6)

    against = judge(before, now, device="cuda:0")
    relative = judge(before, now, device="cuda:0", counts_before=COUNTS)

    assert [item.name for item in against.counted if item.is_worse] == ["peak_allocated_bytes"]
    assert not relative.is_worse


def test_sides_of_a_like_pace_take_equal_turns_and_others_their_own() -> None:
    base, like, other = FakeSource(0.004), FakeSource(0.006), FakeSource(0.012)

    judge(base, like)
    assert {tuple(turn.items()) for turn in (*base.turns, *like.turns)} == {
        (("calls", 1), ("discarded", 2), ("counted", 3))
    }
    base.turns.clear()

    judge(base, other)
    assert base.turns[0] == {"calls": 1, "discarded": 2, "counted": 3}
    assert other.turns[0] == {"calls": 1, "discarded": 1, "counted": 1}


def test_turns_of_workers_that_do_not_fit_together_are_equal_too() -> None:
    base, current = FakeSource(0.249), FakeSource(0.251, free_bytes=2 * COUNTS["predicted_peak_bytes"])

    judge(base, current)

    assert {tuple(turn.items()) for turn in (*base.turns, *current.turns)} == {
        (("calls", 1), ("discarded", 1), ("counted", 1))
    }


@pytest.mark.parametrize("base_first", [True, False])
def test_a_pair_is_launched_in_the_order_that_it_is_told(base_first: bool) -> None:
    launched: list[str] = []

    class Watched(FakeSource):
        def start_worker(self) -> Any:
            launched.append("base" if self is base else "current")
            return super().start_worker()

    base, current = Watched(0.010), Watched(0.012)
    match = make_match(base, current)

    with PairDealer(match.base, match.current, Terms(protocol=Protocol(), threads=1)).launch_pair(
        base_first=base_first
    ) as (first, second):
        assert (first.take_turn(), second.take_turn()) == (0.010, 0.012)

    assert launched == (["base", "current"] if base_first else ["current", "base"])


def test_a_suspicion_says_how_many_workers_confirmed_it() -> None:
    roomy, tight = FakeSource(0.011), FakeSource(0.011, free_bytes=2 * COUNTS["predicted_peak_bytes"])

    assert judge(FakeSource(), roomy).reason == "confirmed by 3 fresh pairs of workers"
    assert judge(FakeSource(), tight).reason == "confirmed by 24 fresh pairs of workers"


def test_allocated_memory_is_compared_where_the_device_knows_it() -> None:
    base, more = FakeSource(allocated_bytes=1000), FakeSource(allocated_bytes=1021)

    found = judge(base, more, device="cuda:0")

    (change,) = [item for item in found.counted if item.name == "peak_allocated_bytes"]
    assert (change.base, change.current, change.is_worse) == (1000, 1021, True)
    assert not judge(base, FakeSource(allocated_bytes=1020), device="cuda:0").is_worse


def test_the_order_of_turns_of_a_workload_follows_from_the_seed_and_not_from_what_came_before() -> None:
    bench = make_bench()
    bench.make_rng("another").random()

    assert bench.make_rng("vit_b").random() == make_bench().make_rng("vit_b").random()
    assert bench.make_rng("vit_b").random() != bench.make_rng("swin_b").random()


def test_on_meta_nothing_is_launched_but_what_counts() -> None:
    base, current = FakeSource(), FakeSource(0.020)

    found = judge(base, current, device="meta")

    assert (found.verdict, found.method, found.pairs) == ("same", "counted", 0)
    assert (base.launches, current.launches) == (1, 1)


def test_where_the_workers_do_not_fit_in_memory_together_one_is_launched_for_each_turn() -> None:
    free = round(1.3 * 6 * COUNTS["predicted_peak_bytes"])
    roomy, tight = FakeSource(free_bytes=free), FakeSource(free_bytes=free - 1)

    judge(FakeSource(), roomy)
    found = judge(base := FakeSource(), tight)

    assert roomy.launches < 10
    assert found.pairs == 24
    assert base.launches >= 24
    assert (base.most_alive, tight.most_alive) == (1, 1)


def test_what_does_not_fit_in_memory_is_not_tried_unless_forced() -> None:
    small = FakeSource(free_bytes=9_000_000)

    found = judge(FakeSource(), small)

    assert (found.verdict, found.is_broken) == ("cannot tell", False)
    assert found.reason == "not tried: predicted peak 10.0 MB, free 9.00 MB (--force tries)"
    assert judge(FakeSource(), FakeSource(free_bytes=9_000_000), bench=make_bench(force=True)).verdict == "same"


def test_what_neither_is_counted_nor_timed_cannot_be_told() -> None:
    found = judge(FakeSource(counts={}), FakeSource(), device="meta")

    assert found.verdict == "cannot tell"
    assert found.reason == "parameters and FLOPs are not compared: they cannot be counted"
    assert judge(FakeSource(counts={}), FakeSource()).reason == found.reason


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_counts_that_the_current_side_lost_are_no_silent_pass(device: str) -> None:
    found = judge(FakeSource(), FakeSource(counts={}), device=device)

    assert found.verdict == "cannot tell"
    assert "params, flops, predicted_peak_bytes are known in the base only" in found.reason


def test_peak_memory_of_a_gpu_that_only_the_base_tells_is_no_silent_pass() -> None:
    found = judge(FakeSource(allocated_bytes=10**6), FakeSource(), device="cuda:0")

    assert found.verdict == "cannot tell"
    assert found.reason.endswith("peak_allocated_bytes is known in the base only")


def test_a_slowdown_stays_one_whatever_else_is_not_known() -> None:
    assert judge(FakeSource(0.010), FakeSource(0.011, counts={})).verdict == "slower"


def test_a_new_workload_that_cannot_be_counted_again_ends_no_gate() -> None:
    side = make_match(FakeSource(), FakeSource(fails={"count_workload": FAILURE})).current

    assert describe_new(side).counts == {}


def test_a_base_that_imports_from_the_working_tree_is_refused() -> None:
    match = make_match(FakeSource(files=["/work/src/net.py"]), FakeSource(files=["/work/src/net.py"]))

    with pytest.raises(RevisionError) as caught:
        count_side(replace(match.base, foreign=Path("/work")))

    assert str(caught.value) == (
        "vit_b of the base imports '/work/src/net.py', which is no file of that revision: name the folder that it is "
        "imported from in PYTHONPATH."
    )
    assert count_side(replace(match.base, foreign=Path("/other"))).counts == COUNTS
    assert count_side(replace(match.base, foreign=Path("/work"), own=Path("/work/src"))).counts == COUNTS


FAILURE = UnsupportedError("not at this size.")
DEATH = WorkerDiedError(None)


@pytest.mark.parametrize("where", ["count_workload", "prepare_turns", "take_turn"])
def test_a_workload_that_only_the_base_can_run_is_broken(where: str) -> None:
    found = judge(FakeSource(), FakeSource(fails={where: DEATH}))

    assert (found.verdict, found.is_broken, found.is_worse) == ("cannot tell", True, True)
    assert found.reason == "it runs no longer: the worker process ended without an answer"


@pytest.mark.parametrize(
    ("is_current", "where"), [(True, "take_turn"), (False, "prepare_turns"), (True, "free_memory")]
)
def test_a_failure_that_does_not_come_again_is_no_regression(is_current: bool, where: str) -> None:
    flaky, steady = FakeSource(fails={where: DEATH}, fails_once=True), FakeSource()

    found = judge(steady, flaky) if is_current else judge(flaky, steady)

    assert (found.verdict, found.is_broken) == ("cannot tell", False)
    assert found.reason == (
        "it failed once, and ran when it was tried again: the worker process ended without an answer"
    )


@pytest.mark.parametrize("where", ["count_workload", "prepare_turns"])
def test_a_workload_that_neither_side_can_run_is_told_and_is_no_regression(where: str) -> None:
    found = judge(FakeSource(fails={where: FAILURE}), FakeSource(fails={where: FAILURE}))

    assert (found.verdict, found.is_worse) == ("cannot tell", False)
    assert found.reason == "neither side can run it: not at this size."


def test_a_workload_that_only_the_current_side_can_run_is_new() -> None:
    new = make_match(FakeSource(fails={"count_workload": FAILURE}), FakeSource())
    both = make_match(FakeSource(), FakeSource())

    verdicts, missing = judge_all([new, both], make_bench(), lambda _: None)

    assert [item.verdict for item in verdicts] == ["same"]
    assert missing == [(new, "not at this size.")]


@pytest.mark.parametrize(
    ("base", "current", "message"),
    [
        ({"count_workload": FAILURE}, {}, "Nothing could be compared: the base cannot run it: not at this size."),
        (
            {"count_workload": FAILURE},
            {"count_workload": FAILURE},
            "Nothing could be compared: neither side can run it: not at this size.",
        ),
    ],
    ids=["new", "neither"],
)
def test_a_gate_that_compared_nothing_is_no_pass(base: Any, current: Any, message: str) -> None:
    with pytest.raises(NothingMeasuredError) as caught:
        judge_all([make_match(FakeSource(fails=base), FakeSource(fails=current))], make_bench(), lambda _: None)

    assert str(caught.value) == message
    assert caught.value.exit_code == 3


def test_a_server_that_is_gone_ends_the_gate_and_blames_no_workload() -> None:
    with pytest.raises(InstallationError, match="gone"):
        judge(FakeSource(fails={"count_workload": InstallationError("gone")}), FakeSource())


def test_a_side_is_blamed_by_name() -> None:
    side = Contender(source=FakeSource(fails={"count_workload": FAILURE}), workload=make_workload(), is_current=True)

    with pytest.raises(SideError) as caught:
        count_side(side)

    assert (str(caught.value), caught.value.is_current) == ("not at this size.", True)


def test_progress_tells_which_workload_and_what_is_done_with_it() -> None:
    heard: list[Progress] = []

    judge_all([make_match(FakeSource(), FakeSource())] * 2, make_bench(), heard.append)

    assert [(item.index, item.total, item.phase) for item in heard[:2]] == [
        (0, 2, "counting"),
        (0, 2, "taking turns, 1 pair"),
    ]
    assert heard[-1].index == 1
