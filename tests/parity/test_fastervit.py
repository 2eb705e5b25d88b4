"""FasterViT against numeric answers of the public code on small configurations, layer by layer."""

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from atlasbench.models.checkpoints import load_checkpoint
from atlasbench.models.factory import create_model
from atlasbench.models.fastervit import FasterViT

FIXTURES = Path(__file__).parents[1] / "fixtures"
NAMES = ["w5", "ct1", "many", "anyres_wide", "anyres_pad"]
TOLERANCE = 2e-6


@cache
def read_fixture(name: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    meta = json.loads((FIXTURES / f"fastervit_{name}.json").read_text())
    return meta, load_file(FIXTURES / f"fastervit_{name}.safetensors")


def load_fixture(name: str, **options: Any) -> tuple[FasterViT, dict[str, Tensor], list[str]]:
    meta, tensors = read_fixture(name)
    model = create_model(meta["registry_name"], **{**meta["constructor"], **options})
    assert isinstance(model, FasterViT)
    weights = {key.removeprefix("state."): value for key, value in tensors.items() if key.startswith("state.")}
    ignored = load_checkpoint(model, weights)
    return model.eval(), tensors, ignored


def largest_error(ours: Tensor, theirs: Tensor) -> float:
    assert ours.shape == theirs.shape
    return float((ours - theirs).abs().max()) / max(1.0, float(theirs.abs().max()))


def run_and_listen(model: FasterViT, images: Tensor) -> dict[str, Tensor]:
    """Logits and everything a fixture may hold, under the fixture's names."""
    heard: dict[str, Tensor] = {}

    def listen(module: nn.Module, *names: str) -> None:
        def hear(_: nn.Module, __: object, out: Tensor | tuple[Tensor, ...]) -> None:
            heard.update(zip(names, out if isinstance(out, tuple) else (out,), strict=False))

        module.register_forward_hook(hear)

    listen(model.patch_embed, "stem")
    listen(model.norm, "features")
    for index, level in enumerate(model.levels):
        listen(level, f"stage.{index}")
        if index >= 2:
            for number, block in enumerate(level.blocks):  # type: ignore[arg-type]
                listen(block, f"block.{index}.{number}.x", f"block.{index}.{number}.ct")
            if level.carrier_pool is not None:
                listen(level.carrier_pool, f"carriers.{index}")  # type: ignore[arg-type]
    with torch.no_grad():
        heard["output"] = model(images)
    return heard


@pytest.mark.parametrize("name", NAMES)
def test_logits_and_every_step_are_the_public_ones(name: str) -> None:
    model, tensors, _ = load_fixture(name)
    heard = run_and_listen(model, tensors["input"].float())
    answers = {key: value for key, value in tensors.items() if not key.startswith(("state.", "input", "output_"))}
    assert {"output", "features", "stage.3", "block.2.0.x", "block.2.0.ct", "carriers.2"} <= set(answers)
    errors = {key: largest_error(heard[key], answer) for key, answer in answers.items()}
    assert {key: error for key, error in errors.items() if error > TOLERANCE} == {}


def test_carriers_that_return_to_their_own_windows_are_the_corrected_answer() -> None:
    model, tensors, _ = load_fixture("anyres_wide", carrier_order="ordered")
    assert (tensors["output"] - tensors["output_ordered"]).abs().max() > 0.1
    with torch.no_grad():
        assert largest_error(model(tensors["input"].float()), tensors["output_ordered"]) < TOLERANCE


@pytest.mark.parametrize("name", [name for name in NAMES if name != "anyres_wide"])
def test_the_order_of_carriers_is_one_where_windows_are_as_many_per_axis(name: str) -> None:
    model, tensors, _ = load_fixture(name, carrier_order="ordered")
    with torch.no_grad():
        assert largest_error(model(tensors["input"].float()), tensors["output"]) < TOLERANCE


@pytest.mark.parametrize("name", NAMES)
def test_only_buffers_and_second_copies_of_a_public_checkpoint_are_ignored(name: str) -> None:
    model, tensors, ignored = load_fixture(name)
    official = {key.removeprefix("state.") for key in tensors if key.startswith("state.")}
    recomputed = {key for key in official if re.search(r"relative_(bias|coords_table|position_index)$", key)}
    again = {key for key in official if ".to_global_feature.pos." in key}
    assert set(ignored) == recomputed | again
    assert recomputed
    assert again
    assert len(official) - len(ignored) == sum(not key.endswith("tracked") for key in model.state_dict()) + sum(
        key.endswith("tracked") for key in official
    )
    meta, _ = read_fixture(name)
    assert sum(parameter.numel() for parameter in model.parameters()) == meta["params"]


@pytest.mark.parametrize("name", ["w5", "many", "anyres_pad"])
def test_weights_of_one_size_are_the_weights_of_another(name: str) -> None:
    """Every learned weight fits any size; what a size without positions of carriers leaves unused is named."""
    meta, tensors = read_fixture(name)
    weights = {key.removeprefix("state."): value for key, value in tensors.items() if key.startswith("state.")}
    _, _, usual = load_fixture(name)
    small, levels = meta["input_size"][0], (2, 3) if name == "many" else (2,)
    larger = create_model("fastervit", **{**meta["constructor"], "resolution": 3 * small})
    assert set(load_checkpoint(larger, weights)) == set(usual)
    assert larger(torch.randn(2, 3, 3 * small, 3 * small)).isfinite().all()
    wide = create_model("fastervit", **{**meta["constructor"], "resolution": (2 * small, 3 * small)})
    unused = {
        f"levels.{level}.blocks.{block}.hat_pos_embed.cpb_mlp.{rest}"
        for level in levels
        for block in range(meta["constructor"]["depths"][level])
        for rest in ("0.weight", "0.bias", "2.weight")
    }
    assert set(load_checkpoint(wide, weights)) == {*usual, *unused}


def test_a_model_for_another_size_gives_the_public_answer_at_the_size_of_the_fixture() -> None:
    """Nothing of the size stays in the model: built for 192 px, run at 112 px."""
    model, tensors, _ = load_fixture("anyres_pad", resolution=192)
    with torch.no_grad():
        assert largest_error(model(tensors["input"].float()), tensors["output"]) < TOLERANCE
