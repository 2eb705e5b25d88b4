import importlib
import inspect

import pytest

import atlasbench.models  # noqa: F401
from atlasbench.registry import MODELS, find_entry, has_scales


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
