from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from atlasbench.core.errors import InvalidOptionError, InvalidWorkloadError
from atlasbench.core.resolution import Resolution
from atlasbench.core.workload import Workload
from atlasbench.measure.count import count_built
from atlasbench.measure.dataless import build_without_data
from atlasbench.models.factory import build_model, create_model
from atlasbench.models.window_vit import WindowViT, build_window_vit

SIZES = [(32, 32), (64, 64), (100, 52), (17, 130), (40, 8)]  # with 8 px patches and windows of 4


def small(size: tuple[int, int] = (64, 64), **options: Any) -> WindowViT:
    """Two blocks with weights of a common size, so that no part can hide."""
    torch.manual_seed(0)
    settings = {"embed_dim": 8, "depth": 2, "num_heads": 2, "patch_size": 8, "window_size": 4, "num_classes": 5}
    model = build_window_vit(resolution=Resolution(*size), **{**settings, **options}).model  # type: ignore[arg-type]
    assert isinstance(model, WindowViT)
    model.double().eval()
    generator = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator, dtype=torch.float64) * 0.5
    return model


def images(size: tuple[int, int], count: int = 2) -> Tensor:
    return torch.randn(count, 3, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(2))


def plain_window(model: WindowViT, x: Tensor, window: tuple[int, int]) -> Tensor:
    """All blocks on the real tokens of one window (B, h, w, C); `window` is its size with padding."""
    B, h, w, C = x.shape

    def coordinate(index: int, side: int) -> float:
        return (index - side // 2) / (side // 2) if side > 1 else 0.0

    places = [[[coordinate(y, window[0]), coordinate(z, window[1])] for z in range(w)] for y in range(h)]
    coordinates = torch.tensor(places, dtype=torch.float32).double()  # single precision, as the model's
    for block in model.blocks:
        position, inner = block.position, block.block
        hidden = F.relu(coordinates @ position.fc1.weight.T + position.fc1.bias)
        x = x + hidden @ position.fc2.weight.T
        tokens = x.reshape(B, h * w, C)
        heads = inner.mixer.num_heads
        q, k, v = inner.mixer.qkv(inner.norm1(tokens)).chunk(3, dim=-1)
        q, k, v = (t.reshape(B, h * w, heads, -1).transpose(1, 2) for t in (q, k, v))
        weights = (q @ k.transpose(-1, -2) / (C // heads) ** 0.5).softmax(-1)
        tokens = tokens + inner.mixer.proj((weights @ v).transpose(1, 2).reshape(B, h * w, C))
        tokens = tokens + inner.mlp(inner.norm2(tokens))
        x = tokens.view(B, h, w, C)
    return x


def plain_logits(model: WindowViT, image: Tensor) -> Tensor:
    """Patch by patch and window by window; nothing is padded but the image."""
    patch, k = 8, model.window_size
    rows, columns = (-(-side // patch) for side in image.shape[-2:])
    whole = image.new_zeros(*image.shape[:2], rows * patch, columns * patch)
    whole[..., : image.shape[-2], : image.shape[-1]] = image
    patches = whole.unfold(2, patch, patch).unfold(3, patch, patch)  # (B, 3, rows, columns, 8, 8)
    tokens = torch.einsum("bcyxij,ocij->byxo", patches, model.stem.weight) + model.stem.bias
    window = min(k, rows), min(k, columns)
    done = [
        plain_window(model, tokens[:, y : y + window[0], z : z + window[1]], window).flatten(1, 2)
        for y in range(0, rows, window[0])
        for z in range(0, columns, window[1])
    ]
    return model.head(model.fc_norm(model.norm(torch.cat(done, dim=1)).mean(1)))


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_logits_are_those_of_plain_windows_so_padding_has_no_influence(size: tuple[int, int]) -> None:
    model, x = small(size), images(size)
    with torch.no_grad():
        torch.testing.assert_close(model(x), plain_logits(model, x), rtol=1e-10, atol=1e-10)


def test_gradients_are_those_of_plain_windows() -> None:
    model, x = small((100, 52)), images((100, 52))
    mine, theirs = (
        torch.autograd.grad(out.sin().sum(), list(model.parameters())) for out in (model(x), plain_logits(model, x))
    )
    for gradient, expected in zip(mine, theirs, strict=True):
        torch.testing.assert_close(gradient, expected, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("size", [(96, 96), (72, 104)], ids=str)
def test_windows_never_exchange_anything(size: tuple[int, int]) -> None:
    model, x = small(size), images(size, 1)
    edited = x.clone()
    edited[:, :, 32:64, 32:64] += 1  # the window of tokens 4 to 7 in both axes, and nothing else
    with torch.no_grad():
        difference = (model.forward_features(x) - model.forward_features(edited)).abs().amax(-1)
    changed = (difference > 1e-12).view(-(-size[0] // 8), -(-size[1] // 8))
    expected = torch.zeros_like(changed)
    expected[4:8, 4:8] = True
    assert torch.equal(changed, expected)


def test_one_model_takes_every_size() -> None:
    model = small((64, 64))
    for size in SIZES:
        assert model.forward_features(images(size)).shape == (2, -(-size[0] // 8) * -(-size[1] // 8), 8)
        torch.testing.assert_close(model(images(size)), small(size)(images(size)))


@pytest.mark.parametrize("size", [(64, 64), (100, 52)], ids=str)
def test_it_runs_in_half_precision_under_autocast_and_channels_last(size: tuple[int, int]) -> None:
    model, x = small(size).float(), images(size).float()
    with torch.no_grad():
        plain = model(x)
        torch.testing.assert_close(model(x.contiguous(memory_format=torch.channels_last)), plain)
        torch.testing.assert_close(torch.cat([model(x[:1]), model(x[1:])]), plain)
        with torch.autocast("cpu", torch.bfloat16):
            assert (model(x).float() - plain).norm() < 0.1 * plain.norm()
        half = copy.deepcopy(model).to(torch.bfloat16)(x.to(torch.bfloat16))
    assert half.dtype is torch.bfloat16
    assert bool(half.isfinite().all())


def test_recomputing_blocks_changes_no_gradient() -> None:
    model, x = small((100, 52)), images((100, 52))
    plain = torch.autograd.grad(model(x).sin().sum(), list(model.parameters()))
    model.set_grad_checkpointing()
    again = torch.autograd.grad(model(x).sin().sum(), list(model.parameters()))
    for gradient, expected in zip(again, plain, strict=True):
        torch.testing.assert_close(gradient, expected)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_compiled_it_computes_the_same() -> None:
    model, x = small((100, 52), depth=1).float(), images((100, 52)).float()
    with torch.no_grad():
        torch.testing.assert_close(torch.compile(model, fullgraph=True)(x), model(x))


@pytest.mark.parametrize(("name", "width", "heads"), [("window_vit_s", 384, 6), ("window_vit_b", 768, 12)])
def test_registered_sizes_have_the_paper_s_widths_and_the_closed_form_of_flops(
    name: str, width: int, heads: int
) -> None:
    resolution = Resolution(1024, 1024)
    built = build_without_data(lambda: build_model(name, resolution=resolution, options={}))
    assert isinstance(built.model, WindowViT)
    assert {block.block.mixer.num_heads for block in built.model.blocks} == {heads}
    counts = count_built(built, Workload(model=name, resolution=resolution))[0]
    tokens, window = 64 * 64, 256
    position = 1024 * window * (2 + width)
    block = 24 * tokens * width**2 + 4 * tokens * window * width + position
    assert counts.tokens == tokens
    assert counts.flops_by_part["stem"] == 2 * 3 * 16 * 16 * width * tokens
    assert counts.flops_by_part["attention"] == 12 * 4 * tokens * window * width
    assert counts.flops_by_part["other"] == 12 * position
    assert counts.flops == 2 * 3 * 16 * 16 * width * tokens + 12 * block + 2 * width * 100
    per_block = 12 * width**2 + 13 * width + 1536 + 512 * width
    assert counts.params == 3 * 16 * 16 * width + width + 12 * per_block + 4 * width + 100 * width + 100
    assert built.notes == ()


def test_padding_is_told() -> None:
    notes = build_without_data(lambda: build_model("window_vit_s", resolution=Resolution(1000, 520), options={})).notes
    assert notes == (
        "image padded with zeros to whole patches: 1000x520 to 1008x528 px (ours)",
        "token grid padded to whole windows, padded keys masked: 63x33 to 64x48 (ours)",
    )


def test_it_offers_what_timm_models_offer() -> None:
    model = create_model("window_vit_s", resolution=64, num_classes=0, depth=1)
    assert model(torch.zeros(1, 3, 64, 64)).shape == (1, 384)
    model.reset_classifier(7)
    assert model(torch.zeros(1, 3, 64, 64)).shape == (1, 7)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_heads": 5}, "num_heads must divide embed_dim, got 5 heads and 384 channels"),
        ({"window_size": 0}, "window_size must be a whole number of at least 1, got 0"),
        ({"patch_size": 2.5}, "patch_size must be a whole number of at least 1, got 2.5"),
        ({"depth": 0}, "depth must be a whole number of at least 1, got 0"),
        ({"mlp_ratio": 0}, "mlp_ratio must be above 0, got 0"),
        ({"mlp_ratio": 0.001}, "mlp_ratio 0.001 leaves no hidden channels of 384"),
        ({"drop_path_rate": 1}, "drop_path_rate must be at least 0 and below 1, got 1"),
    ],
)
def test_values_that_no_window_vit_has_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidOptionError, match=message):
        create_model("window_vit_s", resolution=64, **options)


def test_an_image_smaller_than_a_patch_is_refused() -> None:
    with pytest.raises(InvalidWorkloadError, match="15 px is smaller than one patch: give at least 16 px on each side"):
        create_model("window_vit_s", resolution=15)
