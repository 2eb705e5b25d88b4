"""LongViT as a backbone: sizes, positions, first values, timm's conventions."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from atlasbench.core.errors import InvalidOptionError, InvalidWorkloadError
from atlasbench.core.resolution import Resolution
from atlasbench.models.longvit import LongViT, build_longvit

SMALL: dict[str, Any] = {
    "num_classes": 5,
    "patch_size": 4,
    "embed_dim": 24,
    "depth": 2,
    "num_heads": 3,
    "segment_length": (8, 16),
    "dilated_ratio": (1, 2),
}


def build(height: int = 32, width: int = 32, **options: Any) -> LongViT:
    torch.manual_seed(0)
    model = build_longvit(resolution=Resolution(height, width), **{**SMALL, **options}).model
    assert isinstance(model, LongViT)
    return model


def images(height: int = 32, width: int = 32, batch_size: int = 2) -> Tensor:
    return torch.randn(batch_size, 3, height, width, generator=torch.Generator().manual_seed(1))


def positions(model: LongViT, height: int, width: int) -> Tensor:
    return model._positions(Resolution(height, width))


def test_the_published_model_is_the_default() -> None:
    with torch.device("meta"):
        model = build_longvit(resolution=Resolution(1024, 1024), num_classes=2).model
    assert sum(parameter.numel() for parameter in model.parameters()) == 22_914_434


@pytest.mark.parametrize(("height", "width"), [(32, 32), (40, 28), (33, 31), (4, 4), (4, 64), (100, 36)])
def test_every_size_from_one_patch_up_is_taken(height: int, width: int) -> None:
    model = build().eval()
    with torch.no_grad():
        tokens = model.forward_features(images(height, width))
        assert tokens.shape == (2, (height // 4) * (width // 4), 24)
        assert model(images(height, width)).shape == (2, 5)


@pytest.mark.parametrize(("height", "width"), [(3, 32), (32, 3)])
def test_images_smaller_than_a_patch_are_refused(height: int, width: int) -> None:
    message = f"{height}x{width} px is smaller than one patch: give at least 4 px on each side."
    with pytest.raises(InvalidWorkloadError) as error:
        build(height, width)
    assert str(error.value) == message
    with pytest.raises(InvalidWorkloadError) as error:
        build()(images(height, width))
    assert str(error.value) == message


def test_what_is_left_of_a_patch_is_cut_off() -> None:
    model = build(35, 35).eval()
    image = images(35, 35)
    edited = image.clone()
    edited[:, :, 32:], edited[:, :, :, 32:] = 7.0, 7.0
    with torch.no_grad():
        assert torch.equal(model(image), model(edited))


@pytest.mark.parametrize(
    ("built", "run"), [((32, 32), (32, 32)), ((32, 48), (32, 48)), ((34, 32), (34, 32)), ((32, 32), (35, 35))]
)
def test_positions_are_used_as_they_are_at_the_models_own_grid(built: tuple[int, int], run: tuple[int, int]) -> None:
    model = build(*built)
    assert positions(model, *run) is model.pos_embed


@pytest.mark.parametrize("run", [(16, 64), (34, 32), (48, 48), (28, 40)])
def test_elsewhere_positions_are_resampled_by_the_official_factor(run: tuple[int, int]) -> None:
    model = build()
    rows, columns = run[0] // 4, run[1] // 4
    table = model.pos_embed.reshape(1, 8, 8, 24).permute(0, 3, 1, 2)
    factors = ((rows + 0.1) / 8, (columns + 0.1) / 8)
    wanted = nn.functional.interpolate(table, scale_factor=factors, mode="bicubic").flatten(2).mT
    given = positions(model, *run)
    assert given.shape == (1, rows * columns, 24)
    torch.testing.assert_close(given, wanted)
    if (rows, columns) == (8, 8):  # same grid, but not square: the official code resamples, and that changes it
        assert not torch.allclose(given, model.pos_embed, atol=1e-4)


def test_positions_are_resampled_in_double_precision_where_the_model_has_it() -> None:
    model = build().double()
    table = model.pos_embed.reshape(1, 8, 8, 24).permute(0, 3, 1, 2)
    wanted = nn.functional.interpolate(table, scale_factor=12.1 / 8, mode="bicubic").flatten(2).mT
    torch.testing.assert_close(positions(model, 48, 48), wanted, rtol=0, atol=1e-14)


def test_a_table_that_is_not_square_is_resampled_along_its_own_axes() -> None:
    model = build(16, 64)
    with torch.no_grad():
        model.pos_embed.copy_(torch.arange(16.0).repeat(4)[None, :, None].expand(1, 64, 24))  # the column
    given = positions(model, 32, 64).view(8, 16, 24)
    assert torch.allclose(given, given[:1].expand_as(given), atol=1e-5)
    assert (given[:, 1:] - given[:, :-1] > 0).all()


def test_linear_layers_and_positions_start_within_one_standard_deviation() -> None:
    model = build(64, 64, embed_dim=96)
    for name, parameter in model.named_parameters():
        if name == "pos_embed" or (parameter.ndim == 2):
            assert parameter.abs().max() <= 0.02, name
            assert 0.0098 < parameter.std() < 0.0118, name
        elif "norm" in name:
            assert (parameter == float(name.endswith("weight"))).all(), name
        elif name.endswith("bias") and "patch_embed" not in name:
            assert (parameter == 0).all(), name
    bound = 1 / (3 * 4 * 4) ** 0.5  # torch's own first values
    assert 0.9 * bound < model.patch_embed.proj.weight.abs().max() <= bound


def test_drop_path_grows_linearly_and_is_shared_by_both_branches() -> None:
    model = build(depth=5, drop_path_rate=0.1)
    assert [block.drop_path.rate for block in model.blocks] == pytest.approx([0, 0.025, 0.05, 0.075, 0.1])


def test_the_head_reads_the_normalised_mean() -> None:
    model = build().eval()
    tokens = torch.randn(2, 64, 24)
    mean = tokens.mean(dim=1)
    pooled = (mean - mean.mean(-1, keepdim=True)) / (mean.var(-1, unbiased=False, keepdim=True) + 1e-5).sqrt()
    torch.testing.assert_close(model.forward_head(tokens, pre_logits=True), pooled)
    torch.testing.assert_close(model.forward_head(tokens), pooled @ model.head.weight.T + model.head.bias)


def test_timms_conventions_hold() -> None:
    model = build()
    assert (model.num_classes, model.num_features) == (5, 24)
    assert {"pos_embed", "patch_embed.proj.bias", "blocks.0.attn.norm.weight", "head.bias"} <= model.no_weight_decay()
    assert "blocks.0.attn.q.weight" not in model.no_weight_decay()
    model.reset_classifier(7)
    assert model(images()).shape == (2, 7)
    assert model.head.weight.abs().max() <= 0.02
    model.reset_classifier(0)
    assert model(images()).shape == (2, 24)
    assert build(num_classes=0)(images()).shape == (2, 24)
    assert not list(model.buffers())


def test_recomputing_layers_changes_no_gradient() -> None:
    model = build()
    grads = []
    for enable in (False, True):
        model.zero_grad()
        model.set_grad_checkpointing(enable)
        model(images()).square().sum().backward()
        grads.append([parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None])
    assert len(grads[0]) == len(list(model.parameters()))
    torch.testing.assert_close(grads[0], grads[1])


@pytest.mark.parametrize("padding", ["official", "masked"])
def test_half_precision_runs_pure_and_by_autocast(padding: str) -> None:
    model = build(padding=padding, segment_length=(10, 24))
    with torch.no_grad():
        wanted = model(images(40, 28))
    with torch.autocast("cpu", torch.bfloat16):
        mixed = model(images(40, 28))
    mixed.float().sum().backward()
    pure = copy.deepcopy(model).to(torch.bfloat16)
    outputs = [mixed, pure(images(40, 28).bfloat16())]
    outputs[1].sum().backward()
    for output in outputs:
        assert output.dtype == torch.bfloat16
        torch.testing.assert_close(output.float(), wanted, rtol=0, atol=2e-2)
    assert all(parameter.grad is not None for parameter in pure.parameters())


def test_channels_last_changes_nothing() -> None:
    model = build().eval()
    with torch.no_grad():
        wanted = model(images())
        model.to(memory_format=torch.channels_last)
        torch.testing.assert_close(model(images().to(memory_format=torch.channels_last)), wanted)


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # of torch, about torch
@pytest.mark.parametrize(("height", "width"), [(32, 32), (40, 28)])
def test_it_compiles_as_one_graph(height: int, width: int) -> None:
    model = build(depth=1)
    torch._dynamo.reset()
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(images(height, width)), model(images(height, width)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_heads": 5}, "num_heads must divide embed_dim, got 5 heads and 24 channels."),
        ({"patch_size": 0}, "patch_size must be a whole number of at least 1, got 0."),
        ({"depth": 0}, "depth must be a whole number of at least 1, got 0."),
        ({"in_chans": 0}, "in_chans must be a whole number of at least 1, got 0."),
        ({"num_classes": -1}, "num_classes must be a whole number of at least 0, got -1."),
        ({"mlp_ratio": 0}, "mlp_ratio must be above 0, got 0."),
        ({"mlp_ratio": 0.01}, "mlp_ratio 0.01 leaves no hidden channels of 24."),
        ({"mlp_ratio": float("inf")}, "mlp_ratio must be a number, got inf."),
        ({"drop_path_rate": 1.0}, "drop_path_rate must be at least 0 and below 1, got 1.0."),
    ],
    ids=str,
)
def test_values_that_no_longvit_has_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidOptionError) as error:
        build(**options)
    assert str(error.value) == message
