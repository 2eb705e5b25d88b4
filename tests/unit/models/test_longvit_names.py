"""LongViT's public checkpoints: which names they have, and what has no place in a classifier."""

import pytest
import torch
from torch import Tensor

from atlasbench.core.errors import CheckpointError
from atlasbench.core.resolution import Resolution
from atlasbench.models.checkpoints import load_checkpoint
from atlasbench.models.longvit import LongViT, build_longvit
from atlasbench.models.longvit_names import translate_longvit_names

OFFICIAL = {
    "norm1": "self_attn_layer_norm",
    "attn.q": "self_attn.q_proj",
    "attn.k": "self_attn.k_proj",
    "attn.v": "self_attn.v_proj",
    "attn.norm": "self_attn.inner_attn_ln",
    "attn.proj": "self_attn.out_proj",
    "norm2": "final_layer_norm",
    "mlp.fc1": "ffn.fc1",
    "mlp.norm": "ffn.ffn_layernorm",
    "mlp.fc2": "ffn.fc2",
}


def build(side: int = 32, num_classes: int = 5) -> LongViT:
    model = build_longvit(
        resolution=Resolution(side, side),
        num_classes=num_classes,
        patch_size=4,
        embed_dim=24,
        depth=2,
        num_heads=3,
    ).model
    assert isinstance(model, LongViT)
    return model


def official_trunk(model: LongViT, prefix: str) -> dict[str, Tensor]:
    """The weights under official names, without the classifier."""
    state = {}
    for name, tensor in model.state_dict().items():
        if name.startswith(("fc_norm.", "head.")):
            continue
        if name.startswith("blocks."):
            _, index, rest = name.split(".", 2)
            part, _, kind = rest.rpartition(".")
            name = f"encoder.layers.{index}.{OFFICIAL[part]}.{kind}"
        state[prefix + name] = tensor.clone()
    return state


def classifier(model: LongViT) -> dict[str, Tensor]:
    return {
        name: tensor.clone() for name, tensor in model.state_dict().items() if name.startswith(("fc_norm.", "head."))
    }


def teacher(model: LongViT, prefix: str) -> dict[str, Tensor]:
    """What DINO saves: a backbone with a norm of its own, and DINO's head."""
    outer = prefix.removesuffix("backbone.")
    return {
        **official_trunk(model, prefix),
        f"{prefix}norm.weight": torch.ones(24),
        f"{prefix}norm.bias": torch.zeros(24),
        f"{outer}head.mlp.0.weight": torch.zeros(8, 24),
        f"{outer}head.last_layer.weight_g": torch.zeros(8, 1),
    }


def assert_equal_weights(model: LongViT, source: LongViT) -> None:
    torch.testing.assert_close(dict(model.state_dict()), dict(source.state_dict()), rtol=0, atol=0)


@pytest.mark.parametrize("wrapper", [None, "model", "module"])
@pytest.mark.parametrize("outer", ["", "module."])
def test_a_fine_tuned_checkpoint_fills_the_whole_model(wrapper: str | None, outer: str) -> None:
    source, model = build(), build()
    state = {
        outer + name: tensor for name, tensor in {**official_trunk(source, "model."), **classifier(source)}.items()
    }
    assert load_checkpoint(model, state if wrapper is None else {wrapper: state, "epoch": 3}) == []
    assert_equal_weights(model, source)


def test_our_own_names_come_back_as_they_are() -> None:
    state = dict(build().state_dict())
    assert translate_longvit_names(state) == (state, [])


@pytest.mark.parametrize("prefix", ["backbone.", "module.backbone."])
def test_a_pretrained_teacher_fits_but_for_the_classifier(prefix: str) -> None:
    source, model = build(), build()
    content = {"student": {"unused": torch.zeros(1)}, "teacher": teacher(source, prefix)}
    with pytest.raises(CheckpointError) as error:
        load_checkpoint(model, content)
    assert str(error.value) == (
        "The checkpoint does not fit this LongViT: 4 missing (fc_norm.weight, fc_norm.bias, head.weight, ...)."
    )
    ours, ignored = translate_longvit_names(content["teacher"])
    assert sorted(ours) == sorted(set(model.state_dict()) - set(classifier(model)))
    assert len(ignored) == 4
    load_checkpoint(model, {**ours, **classifier(source)})
    assert_equal_weights(model, source)


def test_a_classifier_is_never_taken_for_dinos_head() -> None:
    source = build()
    state = {**official_trunk(source, "model."), **classifier(source)}
    ours, ignored = translate_longvit_names(state)
    assert {"head.weight", "head.bias", "fc_norm.weight"} <= set(ours)
    assert ignored == []


def test_a_name_that_nothing_uses_is_refused() -> None:
    source = build()
    state = {**official_trunk(source, "model."), **classifier(source), "model.norm.weight": torch.ones(24)}
    with pytest.raises(CheckpointError, match=r"1 unexpected \(norm.weight\)"):
        load_checkpoint(build(), state)


def test_positions_of_another_size_are_refused_by_shape() -> None:
    source = build(48)
    with pytest.raises(CheckpointError, match=r"1 of another shape \(pos_embed 1x144x24 for 1x64x24\)"):
        load_checkpoint(build(32), {**official_trunk(source, "model."), **classifier(source)})
