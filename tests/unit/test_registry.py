import importlib
import inspect
from typing import Any

import pytest

import atlasbench.models  # noqa: F401
from atlasbench.core.laws import Law
from atlasbench.registry import MODELS, find_claim, find_entry, has_scales


@pytest.mark.parametrize("name", MODELS)
def test_every_entry_names_a_builder_that_takes_its_arguments(name: str) -> None:
    entry = MODELS[name]
    module, _, function = entry.builder.partition(":")
    parameters = inspect.signature(getattr(importlib.import_module(module), function)).parameters
    assert "resolution" in parameters
    for argument in entry.arguments:
        assert argument in parameters or argument == "timm_name"


@pytest.mark.parametrize("name", [name for name, entry in MODELS.items() if "timm_name" in entry.arguments])
def test_every_short_name_stands_for_a_model_that_timm_has(name: str) -> None:
    import timm

    assert timm.is_model(MODELS[name].arguments["timm_name"])


def test_only_atlas_has_scales() -> None:
    assert {name for name in MODELS if has_scales(name)} == {"atlas", "atlas_ti", "atlas_s", "atlas_b"}


def test_a_name_that_is_not_built_in_has_no_entry() -> None:
    assert find_entry("resnet50") is None


@pytest.mark.parametrize(
    ("model", "options", "claim"),
    [
        ("atlas_b", {}, Law.MULTI_SCALE),
        ("atlas_b", {"composition": "conv"}, Law.LINEAR),
        ("atlas_b", {"communication": "bottom_up"}, Law.LINEAR),
        ("atlas_b", {"communication": "top_down"}, Law.MULTI_SCALE),
        ("block:msa", {}, Law.MULTI_SCALE),
        ("vit_b", {"dynamic_img_size": True}, Law.QUADRATIC),
        ("swin_b", {}, Law.LINEAR),
        ("convnext_b", {}, Law.LINEAR),
        ("window_vit_b", {}, Law.LINEAR),
        ("mambavision_b", {}, Law.LINEAR),
        ("mambavision_b", {"global_window": True}, Law.QUADRATIC),
        ("mambavision_b_global", {}, Law.QUADRATIC),
        ("fastervit_4", {}, Law.QUADRATIC),
        ("fastervit_4", {"hat": [False, False, False, False]}, Law.LINEAR),
        ("fastervit_4_21k_224", {}, Law.LINEAR),
        ("longvit_b", {}, None),
        ("resnet50", {}, None),
        ("my_model.py:build", {}, None),
    ],
)
def test_a_model_claims_a_law_that_its_options_can_change(
    model: str, options: dict[str, Any], claim: Law | None
) -> None:
    assert find_claim(model, options) is claim


def test_every_entry_but_longvit_claims_a_law() -> None:
    assert {entry.family for entry in MODELS.values() if entry.claim is None} == {"longvit"}


def test_memory_claims_more_than_n_only_where_attention_holds_more_than_its_tokens() -> None:
    beyond = {name: entry.memory_claim for name, entry in MODELS.items() if entry.memory_claim is not Law.LINEAR}

    assert {name.partition("_")[0] for name in beyond} == {"atlas", "fastervit", "block:msa", "block:hierarchical"}
    assert beyond["atlas_b"] is Law.MULTI_SCALE
    assert beyond["fastervit_0"] is Law.QUADRATIC
    assert "fastervit_4_21k_224" not in beyond
