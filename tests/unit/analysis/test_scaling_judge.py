from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hand_made import ENVIRONMENT, failed, make_counts, make_measurement, make_record, make_timing

from atlasbench.analysis.scaling.closed_form import closed_form
from atlasbench.analysis.scaling.decision import Judgement
from atlasbench.analysis.scaling.judge import judge_scaling
from atlasbench.analysis.scaling.quantities import Quantity
from atlasbench.analysis.scaling.verdict import ScalingVerdict, has_failed, summarize_verdicts
from atlasbench.core.laws import Law
from atlasbench.core.record import LayerGroup, Memory, Record, Status
from atlasbench.core.resolution import Resolution
from atlasbench.core.scales import atlas_attention_flops, default_scale_drop, format_scale_drop, token_grids
from atlasbench.core.workload import AttentionBackend, Mode

SIDES = (512, 1024, 2048, 4096, 8192)
META = replace(ENVIRONMENT, device="meta (shapes only)", device_memory_bytes=0)
GPU = replace(ENVIRONMENT, device="NVIDIA H200", driver="570.1", machine="node7")


def tokens_of(side: int) -> int:
    return (side // 16) ** 2


def make_one(
    model: str,
    side: int,
    attention: int,
    *,
    tokens: int | None = None,
    memory: int | None = None,
    latency_s: float | None = None,
    spread: float = 0.01,
    environment: Any = META,
    counts: dict[str, Any] | None = None,
    **fields: Any,
) -> Record:
    tokens = tokens or tokens_of(side)
    linear = 10_000 * tokens
    values: dict[str, Any] = {
        "flops_by_part": {"projections": linear, "attention": attention},
        "tokens": tokens_of(side),
        "uncounted": (),
        "layers": (LayerGroup(part="projections", tokens=tokens, values=64 * tokens),),
    }
    measurement = make_measurement(
        counts=make_counts(linear + attention, **(values | (counts or {}))),
        memory=None if memory is None else Memory(peak_bytes=memory, method="allocated"),
        timing=None if latency_s is None else make_timing(latency_s, spread),
        kernels={},
    )
    if "device" not in fields:
        fields["device"] = "meta" if environment is META else "cuda:0"
    return make_record(model, side, measurement=measurement, environment=environment, **fields)


def make_vit(sides: Sequence[int] = SIDES, power: int = 2, **fields: Any) -> list[Record]:
    return [make_one("vit_b", side, 100 * tokens_of(side) ** power, **fields) for side in sides]


def make_atlas(sides: Sequence[int] = SIDES, *, factor: int = 1, window: int = 16, **fields: Any) -> list[Record]:
    """Attention FLOPs by the closed form, the options of atlas_s written out."""
    records = []
    for side in sides:
        grids = token_grids(Resolution(side, side), window_size=window)
        depths = default_scale_drop(len(grids))
        flops = factor * atlas_attention_flops(grids, window, 384, depths)
        drop = format_scale_drop(depths)
        records.append(make_one("atlas_s", side, flops, scale_drop=drop, **fields))
    return records


def find(verdicts: Sequence[ScalingVerdict], quantity: Quantity, machine: str = "") -> ScalingVerdict:
    (verdict,) = (item for item in verdicts if item.quantity is quantity and item.machine.startswith(machine))
    return verdict


def judge(records: Sequence[Record], quantity: Quantity) -> ScalingVerdict:
    return find(judge_scaling(records), quantity)


def test_each_series_has_a_verdict_for_every_quantity_its_records_have() -> None:
    counted = judge_scaling([*make_vit(), *make_atlas()])
    timed = judge_scaling([make_one("vit_b", side, 1, memory=10, latency_s=0.1, environment=GPU) for side in SIDES])

    assert [(item.label, item.quantity.value) for item in counted] == [
        ("vit_b", "attention"),
        ("vit_b", "total"),
        ("atlas_s", "attention"),
        ("atlas_s", "total"),
    ]
    assert [(item.quantity.value, item.kind) for item in timed] == [
        ("attention", "counted"),
        ("total", "counted"),
        ("memory", "measured"),
        ("latency", "measured"),
    ]


def test_quadratic_attention_is_what_a_vit_claims() -> None:
    verdict = judge(make_vit(), Quantity.ATTENTION)

    assert (verdict.judgement, verdict.claim, verdict.law) == (Judgement.CONSISTENT, Law.QUADRATIC, Law.QUADRATIC)
    assert verdict.by_tokens is not None
    assert verdict.by_tokens.value == pytest.approx(2)
    assert verdict.resolutions == tuple(Resolution(side, side) for side in SIDES)


def test_a_vit_whose_attention_is_linear_is_not_what_it_claims() -> None:
    verdict = judge(make_vit(power=1), Quantity.ATTENTION)

    assert verdict.judgement is Judgement.INCONSISTENT
    assert verdict.reason == "grows like N, slower than claimed"


def test_padding_does_not_bend_a_law_and_shows_in_the_exponents() -> None:
    padded = [tokens_of(side) + pad for side, pad in zip(SIDES, (700, 1500, 2500, 5000, 9000), strict=True)]
    records = [make_one("swin_b", side, 5 * tokens, tokens=tokens) for side, tokens in zip(SIDES, padded, strict=True)]

    verdict = judge(records, Quantity.ATTENTION)

    assert (verdict.judgement, verdict.law) == (Judgement.CONSISTENT, Law.LINEAR)
    assert verdict.by_tokens is not None
    assert verdict.by_pixels is not None
    assert verdict.by_tokens.value == pytest.approx(1)
    assert verdict.by_pixels.value < 0.95


def test_attention_that_is_not_there_is_not_applicable() -> None:
    verdict = judge([make_one("convnext_b", side, 0) for side in SIDES], Quantity.ATTENTION)

    assert (verdict.judgement, verdict.reason) == (Judgement.NOT_APPLICABLE, "there is none")


def test_attention_that_is_there_at_some_sizes_only_cannot_be_told() -> None:
    verdict = judge([make_one("vit_b", side, 5 * max(side - 1024, 0)) for side in SIDES], Quantity.ATTENTION)

    assert verdict.words == "cannot tell: there is none at 512 1024 px, and some at other sizes"


def test_an_atlas_that_equals_its_closed_form_is_consistent() -> None:
    verdict = judge(make_atlas(), Quantity.ATTENTION)

    assert (verdict.judgement, verdict.law) == (Judgement.CONSISTENT, Law.MULTI_SCALE)
    assert verdict.words == "consistent: equal to the closed form at all 5 sizes"


def test_an_atlas_in_training_has_three_times_the_closed_form() -> None:
    assert judge(make_atlas(factor=3, mode=Mode.TRAIN), Quantity.ATTENTION).judgement is Judgement.CONSISTENT
    assert judge(make_atlas(factor=1, mode=Mode.TRAIN), Quantity.ATTENTION).judgement is Judgement.INCONSISTENT


def test_one_flop_beside_the_closed_form_fails_with_the_size_and_by_how_much() -> None:
    records = make_atlas()
    form = records[2].measurement.counts.flops_by_part["attention"]  # type: ignore[union-attr]
    records[2] = make_one("atlas_s", 2048, form + 1, scale_drop="2-2-8")

    verdict = judge(records, Quantity.ATTENTION)

    assert verdict.judgement is Judgement.INCONSISTENT
    assert verdict.reason == (
        "at 2048 px 31,985,762,305 FLOPs are counted, the closed form has 31,985,762,304 (+3.13e-09 %)"
    )


def test_a_quadratic_atlas_fails_though_it_equals_its_closed_form() -> None:
    records = make_atlas(window=1024, options={"window_size": 1024})

    verdicts = judge_scaling(records)

    attention = find(verdicts, Quantity.ATTENTION)
    assert (attention.judgement, attention.law) == (Judgement.INCONSISTENT, Law.QUADRATIC)
    assert attention.reason == (
        "grows like N^2: 100 % of the largest size; "
        "equal to the closed form at all 5 sizes, where one window takes the whole grid"
    )
    assert find(verdicts, Quantity.TOTAL).judgement is Judgement.INCONSISTENT
    assert has_failed(verdicts)
    assert summarize_verdicts(verdicts) == (
        "2 claims fail: atlas_s, window_size=1024 attention is claimed N K log_S N, grows like N^2; "
        "atlas_s, window_size=1024 total is claimed N K log_S N, grows like N^2."
    )


def test_sizes_within_one_window_of_the_paper_say_nothing_about_an_atlas() -> None:
    within = judge(make_atlas((64, 128, 256)), Quantity.ATTENTION)
    beside = judge(make_atlas((64, 128, 256, 512)), Quantity.ATTENTION)

    assert within.words == "cannot tell: every size fits one window, where the claim says nothing"
    assert beside.words == (
        "cannot tell: too few sizes: 1, at least 3 are needed; equal to the closed form at all 4 sizes; "
        "add --res 1024 2048"
    )


def test_equality_at_sizes_of_several_windows_proves_the_claim_however_laws_fit() -> None:
    verdict = judge(make_atlas((1024, 2048, 4096)), Quantity.ATTENTION)  # steps of L that look like N^1.5

    assert verdict.words == "consistent: equal to the closed form at all 3 sizes"


@pytest.mark.parametrize(
    "options",
    [
        {"depths": "12"},
        {"depths": []},
        {"depths": [0]},
        {"depths": [[1]]},
        {"embed_dim": 0},
        {"embed_dim": [384]},
        {"embed_dim": 10**400},
        {"patch_size": 0},
        {"window_size": True},
        {"downsample_stride": 1},
        {"communication": ["both"]},
    ],
    ids=str,
)
def test_options_that_cannot_be_have_no_closed_form(options: dict[str, Any]) -> None:
    assert closed_form(make_one("atlas_s", 1024, 1, options=options)) is None


@pytest.mark.parametrize(
    ("sides", "words"),
    [
        ((128, 256, 512, 1024), "consistent"),
        ((64, 128, 256), "cannot tell: N^2 in 20 % of the largest size is not ruled out; add --res 512"),
    ],
)
def test_a_map_that_is_smaller_than_a_window_is_not_held_against_windows(sides: Sequence[int], words: str) -> None:
    records = [make_one("window_vit_s", side, tokens_of(side) * min(tokens_of(side), 256)) for side in sides]

    assert judge(records, Quantity.ATTENTION).words == words


@pytest.mark.parametrize("options", [{"composition": "conv"}, {"communication": "none"}])
def test_an_atlas_without_what_needs_the_logarithm_claims_n(options: dict[str, Any]) -> None:
    records = [make_one("atlas_s", side, 1000 * tokens_of(side), options=options) for side in SIDES]

    verdict = judge(records, Quantity.ATTENTION)

    assert (verdict.claim, verdict.judgement) == (Law.LINEAR, Judgement.CONSISTENT)


def test_options_that_no_atlas_takes_leave_the_general_law_to_judge_by() -> None:
    records = [
        make_one("atlas_s", side, 1000 * tokens_of(side) ** 2, options={"window_size": "many"}) for side in SIDES
    ]

    assert judge(records, Quantity.ATTENTION).reason == "grows like N^2: 100 % of the largest size"


def test_models_that_claim_nothing_are_told_what_holds() -> None:
    records = [make_one("resnet50", side, 7 * tokens_of(side) ** 2) for side in SIDES]

    verdict = judge(records, Quantity.ATTENTION)

    assert (verdict.judgement, verdict.claim, verdict.law) == (Judgement.NO_CLAIM, None, Law.QUADRATIC)


def test_memory_claims_n_unless_scores_are_kept() -> None:
    def claim(**fields: Any) -> Law | None:
        records = [make_one("vit_b", side, 1, memory=1000, environment=GPU, **fields) for side in SIDES]
        return judge(records, Quantity.MEMORY).claim

    assert claim() is Law.LINEAR
    assert claim(attention_backend=AttentionBackend.MATH) is Law.QUADRATIC


def test_memory_claims_what_attention_does_where_scores_were_kept_at_any_size() -> None:
    records = [make_one("vit_b", side, 1, memory=1000, environment=GPU) for side in SIDES]
    records[-1] = replace(
        records[-1], measurement=replace(records[-1].measurement, kernels={"attention": "flash+math"})
    )

    assert judge(records, Quantity.MEMORY).claim is Law.QUADRATIC


def test_memory_that_grows_with_all_pairs_of_tokens_fails() -> None:
    records = [
        make_one("vit_b", side, 1, memory=31_126_700 * 4 + 12 * tokens_of(side) ** 2, environment=GPU) for side in SIDES
    ]

    verdict = judge(records, Quantity.MEMORY)

    assert (verdict.judgement, verdict.reason) == (
        Judgement.INCONSISTENT,
        "grows like N^2: 100 % of the largest size",
    )


def test_times_with_wide_intervals_cannot_tell() -> None:
    def verdict(spread: float) -> ScalingVerdict:
        records = [
            make_one("swin_b", side, 1, latency_s=0.01 + side**2 / 1e8, spread=spread, environment=GPU)
            for side in SIDES
        ]
        return judge(records, Quantity.LATENCY)

    assert verdict(0.01).judgement is Judgement.CONSISTENT
    assert verdict(0.5).judgement is Judgement.CANNOT_TELL


def test_times_that_did_not_settle_count_less() -> None:
    def verdict(flags: tuple[str, ...]) -> ScalingVerdict:
        records = [make_one("swin_b", side, 1, latency_s=0.01 + side**2 / 1e8, environment=GPU) for side in SIDES]
        timings = [make_timing(0.01 + side**2 / 1e8, 0.13, flags=flags) for side in SIDES]
        return judge(
            [
                replace(record, measurement=replace(record.measurement, timing=timing))
                for record, timing in zip(records, timings, strict=True)
            ],
            Quantity.LATENCY,
        )

    assert verdict(()).judgement is Judgement.CONSISTENT
    assert verdict(("drifting",)).judgement is Judgement.CANNOT_TELL


def test_counts_of_several_machines_are_one_series_and_times_are_apart() -> None:
    timed = [make_one("vit_b", side, 100 * tokens_of(side) ** 2, latency_s=1.0, environment=GPU) for side in SIDES[:2]]
    other = [
        make_one("vit_b", side, 100 * tokens_of(side) ** 2, latency_s=2.0, environment=ENVIRONMENT, device="cpu")
        for side in SIDES[1:3]
    ]

    verdicts = judge_scaling([*timed, *other, *make_vit(SIDES[3:])])

    attention = find(verdicts, Quantity.ATTENTION)
    assert [resolution.height for resolution in attention.resolutions] == list(SIDES)
    assert attention.machine == ""
    assert [resolution.height for resolution in find(verdicts, Quantity.LATENCY, "NVIDIA").resolutions] == [512, 1024]
    assert [resolution.height for resolution in find(verdicts, Quantity.LATENCY, "Some").resolutions] == [1024, 2048]


def test_series_of_one_model_on_different_machines_are_told_apart() -> None:
    counted = make_vit()
    trained = [make_one("vit_b", side, 300 * tokens_of(side) ** 2, environment=GPU, mode=Mode.TRAIN) for side in SIDES]

    labels = [item.label for item in judge_scaling([*counted, *trained]) if item.quantity is Quantity.ATTENTION]

    assert labels == ["vit_b, infer", "vit_b, train"]


def test_a_claim_that_fails_where_it_was_measured_names_the_machine() -> None:
    quadratic = [
        make_one("swin_b", side, 100 * tokens_of(side), latency_s=tokens_of(side) ** 2 / 1e9, environment=GPU)
        for side in SIDES
    ]

    assert summarize_verdicts(judge_scaling(quadratic)) == (
        "1 claim fails: swin_b latency on NVIDIA H200 is claimed N, grows like N^2. 2 claims hold."
    )


def test_what_claims_nothing_is_no_claim_that_cannot_be_told() -> None:
    verdicts = judge_scaling([make_one("resnet50", 1024, 7)])

    assert {item.judgement for item in verdicts} == {Judgement.CANNOT_TELL}
    assert summarize_verdicts(verdicts) == "No model here makes a claim."


def test_records_without_layers_are_judged_by_the_stem_s_tokens_and_say_so() -> None:
    verdict = judge(make_vit(counts={"layers": ()}), Quantity.ATTENTION)

    assert verdict.words == "consistent: tokens as the stem gives them, padding not known"


def test_records_that_know_no_tokens_are_judged_by_pixels_and_say_so() -> None:
    verdict = judge(make_vit(counts={"layers": (), "tokens": 0}), Quantity.ATTENTION)

    assert verdict.words == "consistent: tokens not known, judged by pixels"


def test_counts_that_leave_operators_out_are_not_judged() -> None:
    assert judge_scaling(make_vit(counts={"uncounted": ("aten::_fft_r2c",)})) == []


def test_a_workload_that_ran_out_of_memory_still_has_its_counts() -> None:
    records = make_vit(SIDES[:2])
    records += [
        replace(record, measurement=failed(Status.OOM, "too large", counts=record.measurement.counts))
        for record in make_vit(SIDES[2:])
    ]

    assert judge(records, Quantity.ATTENTION).judgement is Judgement.CONSISTENT


def test_one_size_cannot_tell_and_says_what_to_add() -> None:
    verdict = judge(make_vit((1024,)), Quantity.ATTENTION)

    assert verdict.words == "cannot tell: too few sizes: 1, at least 3 are needed; add --res 2048 4096"


def test_advice_beyond_the_largest_sizes_goes_to_smaller_ones() -> None:
    verdict = judge(make_vit((8192, 16384)), Quantity.ATTENTION)

    assert verdict.words == "cannot tell: too few sizes: 2, at least 3 are needed; add --res 4096"


def test_only_failures_give_no_verdict_and_a_sentence() -> None:
    record = make_record("vit_b", measurement=failed(Status.ERROR, "broken", counts=None))

    assert judge_scaling([record]) == []
    assert summarize_verdicts([]) == "Nothing to judge: no record has counts, memory or times."
