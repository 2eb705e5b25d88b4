"""LongViT against numeric answers of the public code on small configurations."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from atlasbench.models.checkpoints import load_checkpoint
from atlasbench.models.factory import create_model
from atlasbench.models.longvit import LongViT

FIXTURES = Path(__file__).parents[1] / "fixtures"
NAMES = ["longvit_default", "longvit_isolated", "longvit_resized", "longvit_tiny"]


def load(name: str) -> tuple[LongViT, dict[str, Tensor]]:
    meta = json.loads((FIXTURES / f"{name}.json").read_text())
    tensors = load_file(FIXTURES / f"{name}.safetensors")
    model = create_model("longvit", **meta["constructor"])
    assert isinstance(model, LongViT)
    assert sum(parameter.numel() for parameter in model.parameters()) == meta["params"]
    weights = {key.removeprefix("state."): value for key, value in tensors.items() if key.startswith("state.")}
    assert load_checkpoint(model, weights) == []
    return model.eval(), tensors


def largest_error(ours: Tensor, theirs: Tensor) -> float:
    assert ours.shape == theirs.shape
    return float((ours - theirs).abs().max()) / max(1.0, float(theirs.abs().max()))


@pytest.mark.parametrize("name", NAMES)
def test_every_layer_is_the_public_one(name: str) -> None:
    model, tensors = load(name)
    seen: dict[str, Tensor] = {}
    model.blocks[0].register_forward_pre_hook(lambda _, inputs: seen.update(embed=inputs[0]))
    for index, block in enumerate(model.blocks):
        block.register_forward_hook(lambda _, __, output, index=index: seen.update({f"hidden.{index}": output}))
    with torch.no_grad():
        seen["tokens"] = model.forward_features(tensors["input"].float())
        seen["output"] = model.forward_head(seen["tokens"])
    wanted = [key for key in tensors if key in ("embed", "tokens", "output") or key.startswith("hidden.")]
    assert {"embed", "hidden.0", "tokens", "output"} <= set(wanted)
    for key in wanted:
        assert largest_error(seen[key], tensors[key]) < 2e-6, key


def test_groups_of_tokens_beyond_the_longest_segment_never_meet() -> None:
    model, tensors = load("longvit_isolated")
    image = tensors["input"].float()
    edited = image.clone()
    edited[:, :, 48:] += 1.0  # the last quarter: 64 of 256 tokens
    with torch.no_grad():
        changed = (model.forward_features(image) != model.forward_features(edited)).any(dim=-1)[0]
    assert changed.nonzero().flatten().tolist() == list(range(192, 256))
