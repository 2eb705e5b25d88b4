"""Which names of a FasterViT checkpoint are loaded, ignored and refused."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from atlasbench.core.errors import CheckpointError
from atlasbench.models.checkpoints import load_checkpoint
from atlasbench.models.factory import create_model
from atlasbench.models.fastervit import FasterViT

FIXTURES = Path(__file__).parents[2] / "fixtures"


@cache
def constructor() -> dict[str, Any]:
    meta: dict[str, Any] = json.loads((FIXTURES / "fastervit_anyres_pad.json").read_text())
    return dict(meta["constructor"])


@cache
def official() -> dict[str, Tensor]:
    tensors = load_file(FIXTURES / "fastervit_anyres_pad.safetensors")
    return {key.removeprefix("state."): value for key, value in tensors.items() if key.startswith("state.")}


def tiny(resolution: object = 112, **options: Any) -> FasterViT:
    """The model of the fixture at a size; 2 x 2 windows at its own."""
    model = create_model("fastervit", **{**constructor(), "resolution": resolution, **options})
    assert isinstance(model, FasterViT)
    return model


@pytest.mark.parametrize("resolution", [112, (112, 200), 64], ids=str)
def test_our_names_come_back_as_they_are(resolution: object) -> None:
    model = tiny(resolution)
    state = model.state_dict()
    translated, ignored = model.translate_official_names(state)
    assert list(translated) == list(state)
    assert all(translated[name] is state[name] for name in state)
    assert ignored == []
    assert load_checkpoint(tiny(resolution), state) == []


def test_every_official_entry_goes_to_one_place_and_every_place_gets_one() -> None:
    model = tiny()
    translated, ignored = model.translate_official_names(official())
    assert len(translated) + len(ignored) == len(official())
    assert translated.keys() == model.state_dict().keys()


def test_buffers_are_ignored_whatever_they_hold() -> None:
    stale = {
        name: torch.full((3,), float("nan")) if name.endswith("relative_bias") else value
        for name, value in official().items()
    }
    model, other = tiny(), tiny()
    load_checkpoint(model, official())
    load_checkpoint(other, stale)
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), other.state_dict().values(), strict=True))


@pytest.mark.parametrize("buffer", ["attn.relative_bias", "pos_embed.relative_coords_table", "relative_bias"])
def test_other_names_that_end_like_buffers_are_refused(buffer: str) -> None:
    with pytest.raises(CheckpointError, match="1 unexpected"):
        load_checkpoint(tiny(), {**official(), f"levels.2.blocks.0.{buffer}": torch.zeros(1)})


def test_the_second_copy_of_the_pool_is_no_substitute_for_the_first() -> None:
    state = {name: value for name, value in official().items() if ".global_tokenizer.pos_embed." not in name}
    with pytest.raises(CheckpointError, match=r"2 missing \(levels.2.carrier_pool.conv.weight, .*; 2 unexpected"):
        load_checkpoint(tiny(), state)


def test_an_entry_under_both_names_is_refused() -> None:
    extra = {"levels.2.blocks.0.windows.norm1.weight": torch.ones(32)}
    with pytest.raises(CheckpointError, match="names a parameter twice"):
        load_checkpoint(tiny(), {**official(), **extra})


@pytest.mark.parametrize("ours", [False, True])
def test_positions_of_carriers_are_left_over_where_windows_differ_in_number_per_axis(ours: bool) -> None:
    state = tiny().state_dict() if ours else official()
    part = "carrier_position." if ours else "hat_pos_embed.cpb_mlp."
    found = load_checkpoint(tiny((112, 200)), state)
    left_over = [name for name in found if part in name]
    assert len(left_over) == 2 * 3  # two blocks, three tensors each
    assert not ours or found == left_over


def test_positions_of_carriers_are_needed_where_windows_are_as_many_per_axis() -> None:
    with pytest.raises(CheckpointError, match=r"6 missing \(levels.2.blocks.0.carrier_position"):
        load_checkpoint(tiny(), tiny((112, 200)).state_dict())


def test_carriers_are_not_dropped_without_a_word() -> None:
    """At 64 px level 2 is one window: its blocks have no second attention to put these weights in."""
    with pytest.raises(CheckpointError, match=r"does not fit this FasterViT: \d+ unexpected \(levels.2.blocks.0.carr"):
        load_checkpoint(tiny(64), official())


def test_the_pool_that_the_public_code_makes_for_one_window_is_ignored() -> None:
    state = {
        name: value
        for name, value in official().items()
        if ".hat_" not in name and not name.endswith(("gamma1", "gamma2"))
    }
    assert any("global_tokenizer" in name for name in state)
    ignored = load_checkpoint(tiny(64), state)
    assert {name for name in ignored if "global_tokenizer" in name} == {
        f"levels.2.global_tokenizer.{module}.{tensor}"
        for module in ("pos_embed", "to_global_feature.pos")
        for tensor in ("weight", "bias")
    }


def test_a_pool_is_refused_where_the_model_was_told_to_have_none() -> None:
    state = {name: value for name, value in official().items() if ".hat_" not in name}
    with pytest.raises(CheckpointError, match="2 unexpected"):
        load_checkpoint(tiny(hat=(False, False, False, False)), state)


def test_weights_with_factors_do_not_fit_a_model_without() -> None:
    state = tiny(layer_scale=1e-5).state_dict()
    with pytest.raises(CheckpointError, match=r"\d+ unexpected \(levels.2.blocks.0.windows.gamma1"):
        load_checkpoint(tiny(), state)
