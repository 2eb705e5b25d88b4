"""MambaVision against numeric answers of the official code on small configurations."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from atlasbench.core.errors import CheckpointError
from atlasbench.core.resolution import Resolution
from atlasbench.models.checkpoints import load_checkpoint
from atlasbench.models.factory import create_model
from atlasbench.models.mambavision import MambaVision, build_mambavision

FIXTURES = Path(__file__).parents[1] / "fixtures"
NAMES = ["windows", "pad", "nonsquare", "layerscale", "global"]
TOLERANCE = 1e-5


def load_fixture(name: str) -> tuple[MambaVision, dict[str, Any], dict[str, Tensor], dict[str, Tensor]]:
    """The model before its weights are loaded, what is known of it, its weights, and its answers."""
    meta = json.loads((FIXTURES / f"mambavision_{name}.json").read_text())
    tensors = load_file(FIXTURES / f"mambavision_{name}.safetensors")
    model = build_mambavision(resolution=Resolution(*meta["input_size"]), **meta["constructor"]).model
    assert isinstance(model, MambaVision)
    weights = {key.removeprefix("state."): value for key, value in tensors.items() if key.startswith("state.")}
    return model, meta, weights, tensors


def loaded(name: str) -> tuple[MambaVision, dict[str, Tensor]]:
    model, _, weights, tensors = load_fixture(name)
    assert load_checkpoint(model, weights) == []
    return model.eval(), tensors


def largest_error(ours: Tensor, theirs: Tensor) -> float:
    assert ours.shape == theirs.shape
    return float((ours - theirs).abs().max()) / max(1.0, float(theirs.abs().max()))


@pytest.mark.parametrize("name", NAMES)
def test_logits_and_every_step_before_them_are_the_official_ones(name: str) -> None:
    model, tensors = loaded(name)
    seen: dict[str, Tensor] = {}
    model.patch_embed.register_forward_hook(lambda _, __, out: seen.update(stem=out))
    for index, level in enumerate(model.levels):
        before = level.downsample
        before.register_forward_hook(lambda _, args, __, index=index: seen.update({f"stage.{index}": args[0]}))
        if index < 3:
            level.register_forward_hook(lambda _, __, out, index=index: seen.update({f"down.{index}": out}))
    x = tensors["input"].float()
    with torch.no_grad():
        seen["output"] = model(x)
        seen["pooled"] = model.forward_head(model.forward_features(x), pre_logits=True)
    fields = {key for key in tensors if not key.startswith("state.")} - {"input"}
    assert seen.keys() == fields
    errors = {field: largest_error(seen[field], tensors[field]) for field in fields}
    assert max(errors.values()) < TOLERANCE, errors


@pytest.mark.parametrize("name", NAMES)
def test_parameters_are_as_many_as_the_official_ones(name: str) -> None:
    model, meta, weights, _ = load_fixture(name)
    assert sum(parameter.numel() for parameter in model.parameters()) == meta["params"]
    assert len(model.state_dict()) == len(weights)


@pytest.mark.parametrize("name", NAMES)
def test_the_free_name_takes_the_official_constructor(name: str) -> None:
    _, meta, weights, tensors = load_fixture(name)
    model = create_model("mambavision", **meta["constructor"])
    load_checkpoint(model, {"state_dict": {f"module.{key}": value for key, value in weights.items()}})
    with torch.no_grad():
        assert largest_error(model.eval()(tensors["input"].float()), tensors["output"]) < TOLERANCE


def test_batch_norm_counters_may_be_missing_and_nothing_else() -> None:
    model, _, weights, tensors = load_fixture("layerscale")
    without_counters = {key: value for key, value in weights.items() if not key.endswith("num_batches_tracked")}
    assert len(without_counters) < len(weights)
    assert load_checkpoint(model, without_counters) == []
    with torch.no_grad():
        assert largest_error(model.eval()(tensors["input"].float()), tensors["output"]) < TOLERANCE
    del without_counters["levels.2.blocks.0.mixer.A_log"]
    with pytest.raises(CheckpointError, match=r"1 missing \(levels\.2\.blocks\.0\.mixer\.A_log\)"):
        load_checkpoint(model, without_counters)
    with pytest.raises(CheckpointError, match=r"1 unexpected \(levels\.2\.blocks\.0\.mixer\.conv1d_x\.bias\)"):
        load_checkpoint(model, {**weights, "levels.2.blocks.0.mixer.conv1d_x.bias": torch.zeros(16)})


def test_our_own_names_come_back_as_they_are() -> None:
    model, _ = loaded("layerscale")
    state = model.state_dict()
    ours, ignored = MambaVision.translate_official_names(state)
    assert list(ours) == list(state)
    assert all(ours[name] is state[name] for name in state)
    assert ignored == []


def test_a_global_window_is_the_official_model_with_windows_of_the_map() -> None:
    _, meta, weights, tensors = load_fixture("global")
    options = {**meta["constructor"], "window_size": (1, 1, 1, 1)}
    built = build_mambavision(resolution=Resolution(*meta["input_size"]), global_window=True, **options)
    load_checkpoint(built.model, weights)
    with torch.no_grad():
        assert largest_error(built.model.eval()(tensors["input"].float()), tensors["output"]) < TOLERANCE
