from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest
from hand_made import make_workload

from atlasbench.core.errors import AtlasBenchError, InvalidWorkloadError, NothingMeasuredError, UnknownModelError
from atlasbench.core.record import workload_key
from atlasbench.core.resolution import Resolution
from atlasbench.core.workload import AttentionBackend, Dtype, MemoryFormat, Mode, Workload

CHANGES: dict[str, Any] = {
    "model": "vit_s",
    "resolution": Resolution(64, 128),
    "options": {"depth": 2},
    "scale_drop": "none",
    "batch_size": 2,
    "mode": Mode.TRAIN,
    "dtype": Dtype.PURE_FLOAT16,
    "device": "cuda:1",
    "compiled": True,
    "memory_format": MemoryFormat.CHANNELS_LAST,
    "attention_backend": AttentionBackend.MATH,
}


@pytest.mark.parametrize("name", [field.name for field in fields(Workload)])
def test_every_field_is_part_of_a_workloads_identity(name: str) -> None:
    base = {"model": "vit_b", "resolution": Resolution(64, 64)}

    assert workload_key(Workload(**base)) != workload_key(Workload(**{**base, name: CHANGES[name]}))


def test_the_order_of_options_is_no_part_of_it() -> None:
    one, other = make_workload(options={"a": 1, "b": (2,)}), make_workload(options={"b": [2], "a": 1})

    assert workload_key(one) == workload_key(other)


def test_a_label_names_what_a_person_asks_for() -> None:
    assert make_workload("atlas_s", "64x128", scale_drop="2-10").label == (
        "atlas_s, D 2-10, 64x128 px, batch 1, infer, float32"
    )


def test_a_workload_needs_a_model() -> None:
    with pytest.raises(InvalidWorkloadError, match="needs a model name"):
        make_workload("")


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("atlas_x", "Did you mean 'atlas_s' or 'atlas_b'?"),
        ("zzz", "See `atlasbench models`."),
        ("net.py", "To load a file, name the function that builds the model: net.py:build_model."),
    ],
)
def test_an_unknown_model_comes_with_what_was_likely_meant(name: str, hint: str) -> None:
    error = UnknownModelError(name, ["atlas_s", "atlas_b", "atlas_s", "vit_b"])

    assert str(error) == f"Unknown model {name!r}. {hint}"


def test_bad_input_ends_with_2_and_nothing_measured_with_3() -> None:
    assert AtlasBenchError.exit_code == UnknownModelError.exit_code == 2
    assert NothingMeasuredError.exit_code == 3


def test_settings_are_the_options_that_a_user_may_have_typed() -> None:
    options = {"timm_name": "vit_base_patch16_224", "dynamic_img_size": True, "patch_size": 8, "depths": [1, 2]}
    workload = Workload(model="vit_b", resolution=Resolution(384, 384), options=options)
    assert workload.settings == ("patch_size=8", "depths=[1,2]")
