"""The claims of the registry against counts of real models: what the tolerance of counted quantities is taken from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hand_made import ENVIRONMENT, make_record

from atlasbench.analysis.scaling.decision import Judgement
from atlasbench.analysis.scaling.judge import judge_scaling
from atlasbench.analysis.scaling.quantities import Quantity
from atlasbench.core.laws import Law
from atlasbench.core.record import Measurement, Record, Status
from atlasbench.core.resolution import Resolution
from atlasbench.core.workload import Workload
from atlasbench.measure.count import plan_workload
from atlasbench.registry import find_claim

META = replace(ENVIRONMENT, device="meta (shapes only)")
BACKBONES = (
    "atlas_ti",
    "vit_ti",
    "swin_t",
    "swinv2_t",
    "convnext_t",
    "maxvit_t",
    "davit_t",
    "gcvit_t",
    "window_vit_s",
    "fastervit_0",
    "fastervit_4_21k_224",
    "mambavision_t",
    "mambavision_t_global",
)
BLOCKS = ("msa", "vit", "window_vit", "shifted_window", "hierarchical_attention", "dilated_attention")


def count(model: str, sides: Sequence[int]) -> list[Record]:
    records = []
    for side in sides:
        plan = plan_workload(Workload(model=model, resolution=Resolution(side, side), device="meta"))
        record = make_record(model, side, measurement=Measurement(status=Status.OK, counts=plan.counts))
        records.append(replace(record, workload=plan.workload, environment=META))
    return records


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "sides"),
    [
        *((model, (512, 1024, 2048, 4096)) for model in BACKBONES),
        *((f"block:{kind}", (384, 768, 1536, 3072)) for kind in BLOCKS),
    ],
)
def test_counts_of_a_model_are_what_it_claims(model: str, sides: Sequence[int]) -> None:
    verdicts = judge_scaling(count(model, sides))

    for verdict in verdicts:
        is_absent = verdict.quantity is Quantity.ATTENTION and model == "convnext_t"
        assert verdict.claim is find_claim(model, {})
        assert verdict.judgement is (Judgement.NOT_APPLICABLE if is_absent else Judgement.CONSISTENT), verdict


@pytest.mark.slow
def test_longvit_claims_nothing_since_its_segments_grow_with_the_published_sizes() -> None:
    attention = judge_scaling(count("longvit_s", (1024, 2048, 4096, 8192)))[0]

    assert attention.claim is None
    assert attention.law is None
    assert attention.by_tokens is not None
    assert attention.by_tokens.value > 1.3


@pytest.mark.slow
def test_the_law_of_a_timm_model_is_found_without_a_claim() -> None:
    attention = judge_scaling(count("vit_tiny_patch16_224", (512, 1024, 2048)))[0]

    assert (attention.judgement, attention.law) == (Judgement.NO_CLAIM, Law.QUADRATIC)
