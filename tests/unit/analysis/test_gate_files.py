from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hand_made import ENVIRONMENT, failed, make_counts, make_measurement, make_record, timed

from atlasbench.analysis.gate.files import compare_records
from atlasbench.analysis.gate.verdicts import GateVerdict, WorkloadVerdict
from atlasbench.core.errors import InvalidOptionError, RecordsError
from atlasbench.core.record import Memory, Record, Status

SPREAD = (0.98, 0.99, 1.0, 1.01, 1.02)
LABEL = "vit_b, 1024 px, batch 1, infer, float32"


def launches(factor: float = 1.0, model: str = "vit_b", **fields: Any) -> list[Record]:
    """Five launches of one workload in one run."""
    return [
        make_record(model, measurement=timed(0.5 * factor * spread), launch=launch, **fields)
        for launch, spread in enumerate(SPREAD, 1)
    ]


def counted(model: str = "vit_b", **counts: Any) -> Record:
    measurement = make_measurement(counts=make_counts(**counts), timing=None, memory=None)
    return make_record(model, device="meta", measurement=measurement)


def judge(base: Sequence[Record], current: Sequence[Record], **options: Any) -> WorkloadVerdict:
    (found,) = compare_records(base, current, **options).workloads
    return found


@pytest.mark.parametrize(
    ("factor", "verdict"),
    [(1.0, GateVerdict.SAME), (1.25, GateVerdict.SLOWER), (0.75, GateVerdict.FASTER), (1.1, GateVerdict.CANNOT_TELL)],
)
def test_five_launches_a_side_are_judged(factor: float, verdict: GateVerdict) -> None:
    found = judge(launches(), launches(factor))

    assert found.verdict is verdict
    assert found.label == LABEL
    assert found.method == "record files"
    assert found.change == pytest.approx(factor - 1)
    assert found.low is not None
    assert found.high is not None
    assert found.low < factor - 1 < found.high
    assert found.pairs == 5
    assert found.tolerance == 0.10


def test_fewer_launches_cannot_tell_and_say_what_to_run() -> None:
    found = judge(launches(), launches(3.0)[:1])

    assert found.verdict is GateVerdict.CANNOT_TELL
    assert found.change == pytest.approx(3 * 0.98 - 1)
    assert found.more_samples == 4
    assert found.reason == (
        "5 launches in the base and 1 launch now, where 5 a side are needed: "
        "measure with `profile --launches 5`, or run `gate --against`"
    )


def test_the_weaker_method_says_that_it_is() -> None:
    note, _ = compare_records(launches(), launches()).notes

    assert "whatever changed on the machine between them is part of the change" in note
    assert compare_records([counted()], [counted()]).notes == ()


def test_times_with_different_constants_are_not_compared() -> None:
    quick = [
        replace(record, measurement=replace(record.measurement, protocol={"min_samples": 20})) for record in launches()
    ]

    found = judge(launches(), quick)

    assert found.verdict is GateVerdict.CANNOT_TELL
    assert found.reason == "timed with different constants of the method: min_samples"


def test_counts_are_compared_without_times() -> None:
    found = judge([counted()], [counted(params=31_126_701)])

    assert found.method == "counted"
    assert found.verdict is GateVerdict.SAME
    assert [(item.name, item.is_worse) for item in found.counted] == [
        ("params", True),
        ("flops", False),
        ("predicted_peak_bytes", False),
    ]
    assert found.is_worse
    assert not judge([counted()], [counted(params=31_126_699)]).is_worse
    assert not judge([counted()], [counted(params=31_126_701)], counted_tolerances={"params": 0.01}).is_worse


def test_counts_hold_on_every_machine_but_not_with_every_version() -> None:
    elsewhere = replace(counted(), environment=replace(ENVIRONMENT, machine="other", threads=64, driver="555"))
    newer = replace(counted(), environment=replace(ENVIRONMENT, versions={**ENVIRONMENT.versions, "torch": "3.0"}))

    assert judge([counted()], [elsewhere]).verdict is GateVerdict.SAME
    with pytest.raises(RecordsError, match=r"torch is '2\.11\.0' and '3\.0'"):
        compare_records([counted()], [newer])


def test_allocated_memory_is_compared_on_one_device() -> None:
    def on_gpu(peak_bytes: int, device: str = "Some GPU") -> list[Record]:
        memory = Memory(peak_bytes=peak_bytes, method="allocated")
        environment = replace(ENVIRONMENT, device=device)
        return [make_record(device="cuda:0", measurement=make_measurement(memory=memory), environment=environment)]

    grown = judge(on_gpu(1000), on_gpu(1100))
    other = judge(on_gpu(1000), on_gpu(1100, "Other GPU"), allow_different=["device"])

    assert [item.name for item in grown.counted if item.is_worse] == ["peak_allocated_bytes"]
    assert "peak_allocated_bytes" not in [item.name for item in other.counted]


@pytest.mark.parametrize(
    ("environment", "differing"),
    [
        (replace(ENVIRONMENT, threads=4), "threads is '2' and '4'"),
        (replace(ENVIRONMENT, machine="other"), "machine is 'host' and 'other'"),
        (replace(ENVIRONMENT, driver="555"), "driver is 'none' and '555'"),
        (
            replace(ENVIRONMENT, device="Other", threads=1),
            "device is 'Some CPU' and 'Other', threads is '2' and '1'",
        ),
        (
            replace(ENVIRONMENT, versions={**ENVIRONMENT.versions, "timm": "2.0"}),
            "timm is '1.0.20' and '2.0'",
        ),
    ],
)
def test_different_environments_are_refused_by_the_name_of_the_field(environment: Any, differing: str) -> None:
    names = " ".join(part.split(" is ")[0] for part in differing.split(", "))

    with pytest.raises(RecordsError) as refused:
        compare_records(launches(), launches(environment=environment))

    assert str(refused.value) == (
        f"The environments of the two sides differ: {differing}. Measure both in one environment, or allow it with "
        f"--allow-different {names}."
    )


def test_a_difference_that_is_allowed_is_listed() -> None:
    elsewhere = launches(environment=replace(ENVIRONMENT, threads=4, os="Linux 6.2"))

    result = compare_records(launches(), elsewhere, allow_different=["threads"])

    assert result.verdict is GateVerdict.SAME
    assert result.differences == ("threads: 2 in the base, 4 now", "os: Linux 6.1 in the base, Linux 6.2 now")


def test_only_fields_that_must_agree_can_be_allowed() -> None:
    with pytest.raises(InvalidOptionError) as refused:
        compare_records(launches(), launches(), allow_different=["thread"])

    assert str(refused.value) == (
        "--allow-different: 'thread' is no field that must agree. There are: machine, device, driver, threads, torch, "
        "timm, atlasbench."
    )


def test_of_several_environments_the_common_ones_are_compared() -> None:
    other = replace(ENVIRONMENT, threads=4)
    elsewhere = launches(2.0, environment=other, run_id="elsewhere")
    both = [*launches(), *elsewhere]

    one = compare_records(both, elsewhere)
    gone = compare_records([*elsewhere, *launches()], elsewhere)
    two = compare_records(both, both)

    assert [item.verdict for item in one.workloads] == [GateVerdict.SAME]
    line = "environment host, Some CPU, 2, 2.11.0, 1.0.20, 0.1.0: only in the base, not compared"
    assert (one.gaps, one.differences) == ((), (line,))  # the newest of the base is compared
    assert (gone.gaps, gone.differences) == ((line,), ())
    assert len({item.label for item in two.workloads}) == 2


def test_workloads_of_one_side_are_listed() -> None:
    result = compare_records([*launches(), *launches(model="swin_t")], [*launches(), *launches(batch_size=8)])

    assert [item.label for item in result.workloads] == [LABEL]
    assert result.only_base == ("swin_t, 1024 px, batch 1, infer, float32",)
    assert [item.label for item in result.only_current] == ["vit_b, 1024 px, batch 8, infer, float32"]
    assert result.verdict is GateVerdict.CANNOT_TELL


def test_a_model_that_counts_the_same_may_have_been_renamed() -> None:
    result = compare_records(
        [counted("vit_b", params=5), counted("swin_t")], [counted("vit_base", params=5), counted("swin_t")]
    )

    assert result.differences == ("renamed? vit_b is gone, and vit_base has the same parameters and FLOPs",)
    assert (len(result.only_base), len(result.only_current)) == (1, 1)


@pytest.mark.parametrize(
    ("base", "current", "reason"),
    [
        (
            launches(),
            launches(device="cuda:0"),
            "the base ran on cpu, the current side on cuda:0",
        ),
        (
            [counted()],
            [counted("vit_base")],
            "renamed? vit_b is gone, and vit_base has the same parameters and FLOPs",
        ),
        (
            launches(),
            launches(batch_size=2),
            f"the base begins with {LABEL}, the current side with vit_b, 1024 px, batch 2, infer, float32",
        ),
    ],
)
def test_sides_without_a_common_workload_are_refused(
    base: Sequence[Record], current: Sequence[Record], reason: str
) -> None:
    with pytest.raises(RecordsError) as refused:
        compare_records(base, current)

    assert str(refused.value) == f"The two sides share no workload: {reason}."


@pytest.mark.parametrize(("base", "current", "name"), [([], launches(), "base"), (launches(), [], "current")])
def test_a_side_without_records_is_refused(base: list[Record], current: list[Record], name: str) -> None:
    with pytest.raises(RecordsError, match=f"There are no records on the {name} side"):
        compare_records(base, current)


def test_a_workload_that_runs_no_longer_is_worse() -> None:
    found = judge(launches(), [make_record(measurement=failed(Status.OOM, "needs 9 GB"))])

    assert found.is_broken
    assert found.is_worse
    assert found.reason == "runs no longer, ends oom: needs 9 GB"


def test_a_workload_that_never_ran_is_not_worse() -> None:
    oom, error = (make_record(measurement=failed(status, "too large")) for status in (Status.OOM, Status.ERROR))

    assert judge([oom], [oom]).verdict is GateVerdict.SAME
    assert judge([oom], [oom]).reason == "ends oom on both sides"
    assert judge([oom], [error]).verdict is GateVerdict.CANNOT_TELL
    assert judge([error], [error]).verdict is GateVerdict.CANNOT_TELL
    assert judge([oom], launches()).reason == "runs now, and ended oom in the base: too large"
    assert not judge([oom], launches()).is_worse


def test_launches_that_failed_and_marks_are_listed() -> None:
    current = [
        *launches()[1:],
        make_record(measurement=failed(Status.TIMEOUT, "slow"), launch=6),
        make_record(measurement=timed(0.5, flags=("drifting",)), launch=7),
    ]

    assert compare_records(launches(), current).differences == (
        f"{LABEL}: launches of the current side: 1 of 6 ended timeout",
        f"{LABEL}: launches of the current side are marked drifting",
    )


def test_launches_of_several_commits_are_listed() -> None:
    newer = replace(ENVIRONMENT, git_commit="fedcba")

    assert compare_records([*launches(), *launches(environment=newer, run_id="later")], launches()).differences == (
        f"{LABEL}: launches of the base are of 2 commits",
    )


def test_what_several_workloads_share_is_said_once() -> None:
    def record(model: str, flag: str) -> Record:
        return make_record(model, measurement=timed(0.5, flags=(flag,)))

    base = [record("vit_b", "drifting"), record("swin_t", "drifting")]
    current = [record("vit_b", "throttled"), record("swin_t", "throttled")]

    assert compare_records(base, current).differences == (
        "all workloads: launches of the base are marked drifting",
        "all workloads: launches of the current side are marked throttled",
    )


def test_copies_of_a_launch_are_one_launch() -> None:
    found = judge(launches(), launches()[:1] * 5)

    assert found.verdict is GateVerdict.CANNOT_TELL
    assert found.pairs == 1


def test_a_newest_run_that_failed_is_not_hidden_by_older_launches() -> None:
    broken = failed(Status.ERROR, "broken")
    later = [make_record(measurement=broken, launch=launch, run_id="later") for launch in (1, 2)]

    found = judge(launches(), [*launches(), *later])

    assert found.is_broken
    assert found.reason == "runs no longer, ends error: broken"
    assert judge([*launches(), *later], launches()).reason == "runs now, and ended error in the base: broken"


def test_memory_of_a_cpu_process_is_not_compared_and_that_is_said() -> None:
    memory = Memory(peak_bytes=10**9, method="resident_growth")
    sides = [[replace(record, measurement=replace(record.measurement, memory=memory)) for record in launches()]] * 2

    assert any(note.startswith("Memory that was measured on a CPU") for note in compare_records(*sides).notes)


def test_what_is_counted_on_one_side_only_is_listed() -> None:
    uncounted = replace(counted(), measurement=make_measurement(counts=None, timing=None, memory=None))

    result = compare_records([counted()], [uncounted])

    assert [item.verdict for item in result.workloads] == [GateVerdict.CANNOT_TELL]
    names = ("flops", "params", "predicted_peak_bytes")
    (found,) = result.workloads
    assert found.reason.endswith("params, flops, predicted_peak_bytes are known in the base only")
    assert compare_records([uncounted], [counted()]).differences == tuple(
        f"{LABEL}, meta: {name} is known on the current side only" for name in names
    )


def test_other_kernels_are_listed() -> None:
    slow = replace(counted(), measurement=replace(counted().measurement, kernels={"attention": "math"}))

    (line,) = compare_records([counted()], [slow]).differences

    assert line == f"{LABEL}, meta: attention kernel flash in the base, math now"


def test_another_version_of_the_users_file_is_the_same_workload() -> None:
    base, current = (launches(model="net.py:build", options={"source_sha256": digest}) for digest in ("aa", "bb"))

    result = compare_records(base, current)

    assert result.verdict is GateVerdict.SAME
    assert result.differences == (
        "net.py:build, 1024 px, batch 1, infer, float32: the file that builds the model changed",
    )
