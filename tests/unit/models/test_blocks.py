from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from atlasbench.core.errors import InvalidOptionError, InvalidWorkloadError, UnsupportedError
from atlasbench.core.resolution import Resolution
from atlasbench.measure.dataless import build_without_data
from atlasbench.models.block_kinds import KINDS
from atlasbench.models.blocks import BlockStack
from atlasbench.models.built import BuiltModel
from atlasbench.models.factory import build_model, create_model
from atlasbench.models.layers.multiscale_attention import max_pool
from atlasbench.registry import MODELS

SMALL: dict[str, Any] = {
    "embed_dim": 24,
    "num_heads": 3,
    "depth": 2,
    "window_size": 4,
    "downsample_stride": 2,
    "segment_length": [8, 16],
    "dilated_ratio": [1, 2],
}
SIZES = [(32, 32), (36, 20)]  # 8 x 8 and 9 x 5 tokens


def build(kind: str, size: tuple[int, int] = (32, 32), **options: Any) -> BuiltModel:
    """A small stack in double precision, with weights of a common size."""
    built = build_model(f"block:{kind}", resolution=Resolution(*size), options={**SMALL, **options})
    built.model.double().eval()
    generator = torch.Generator().manual_seed(1)
    for name, parameter in built.model.named_parameters():
        if not name.endswith(("A_log", ".D")):
            parameter.data = torch.randn(parameter.shape, generator=generator, dtype=torch.float64) * 0.3
    return built


def token_map(built: BuiltModel, count: int = 2) -> Tensor:
    assert built.input_shape is not None
    return torch.randn(
        count, *built.input_shape, dtype=torch.float64, generator=torch.Generator().manual_seed(2)
    ).requires_grad_()


def notes_of(kind: str, size: tuple[int, int] = (384, 384), **options: Any) -> tuple[str, ...]:
    return build_without_data(lambda: build_model(f"block:{kind}", resolution=Resolution(*size), options=options)).notes


def test_every_kind_has_an_entry_and_every_entry_a_kind() -> None:
    assert {name for name, entry in MODELS.items() if entry.family == "blocks"} == {f"block:{kind}" for kind in KINDS}


# What goes in and comes out


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_a_map_of_tokens_becomes_the_mean_of_what_the_blocks_make_of_them(kind: str, size: tuple[int, int]) -> None:
    built = build(kind, size)
    assert built.input_shape == (24, size[0] // 4, size[1] // 4)
    model, x = built.model, token_map(built)
    assert isinstance(model, BlockStack)
    tokens = model.forward_features(x)
    count = x.shape[2] * x.shape[3]
    coarser = {(32, 32): 4 * 4, (36, 20): 5 * 3 + 3 * 2}[size] if kind == "msa" else 0
    assert tokens.shape == (2, count + coarser, 24)
    torch.testing.assert_close(model(x), tokens.mean(1))
    assert model(x).shape == (2, 24)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_images_of_a_batch_do_not_meet_and_every_weight_learns(kind: str, size: tuple[int, int]) -> None:
    built = build(kind, size)
    model, x = built.model, token_map(built)
    torch.testing.assert_close(torch.cat([model(x[:1]), model(x[1:])]), model(x))
    model.train()(x).sin().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        # A key's bias shifts all scores of a query alike.
        assert parameter.grad.abs().max() > 1e-12 or "k.bias" in name, name
    assert x.grad is not None
    plain = [parameter.grad.clone() for parameter in model.parameters()]
    model.zero_grad()
    model.set_grad_checkpointing()
    model(x).sin().sum().backward()
    for parameter, expected in zip(model.parameters(), plain, strict=True):
        torch.testing.assert_close(parameter.grad, expected)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_runs_in_half_precision_under_autocast_and_channels_last(kind: str, size: tuple[int, int]) -> None:
    built = build_model(f"block:{kind}", resolution=Resolution(*size), options=SMALL)
    model, x = built.model.eval(), token_map(built).detach().float()
    with torch.no_grad():
        plain = model(x)
        torch.testing.assert_close(model(x.contiguous(memory_format=torch.channels_last)), plain)
        with torch.autocast("cpu", torch.bfloat16):
            assert (model(x).float() - plain).norm() < 0.1 * plain.norm()
        half = copy.deepcopy(model).to(torch.bfloat16)(x.to(torch.bfloat16))
    assert half.dtype is torch.bfloat16
    assert (half.float() - plain).norm() < 0.2 * plain.norm()


def test_a_classifier_can_be_put_in() -> None:
    model = create_model("block:vit", resolution=32, **SMALL)
    model.reset_classifier(5)
    assert model(torch.zeros(1, 24, 8, 8)).shape == (1, 5)


# What tokens reach


def reached(built: BuiltModel, place: tuple[int, int]) -> Tensor:
    """Which tokens notice a change of one: (H, W)."""
    x = token_map(built, 1).detach()
    changed = x.clone()
    changed[:, :, place[0], place[1]] *= -2  # a norm would take a constant away
    assert isinstance(built.model, BlockStack)
    with torch.no_grad():
        difference = built.model.forward_features(x) - built.model.forward_features(changed)
    height, width = x.shape[2:]
    return (difference.abs().amax(-1)[0, : height * width] > 1e-12).view(height, width)


def rectangle(size: tuple[int, int], rows: slice, columns: slice) -> Tensor:
    table = torch.zeros(size, dtype=torch.bool)
    table[rows, columns] = True
    return table


def test_windows_of_a_window_vit_never_exchange_anything() -> None:
    expected = rectangle((9, 12), slice(4, 8), slice(8, 12))
    assert torch.equal(reached(build("window_vit", (36, 48)), (5, 9)), expected)


def test_shifted_windows_reach_their_neighbours_from_the_second_block_on() -> None:
    one, two = (reached(build("shifted_window", (48, 48), depth=depth), (5, 5)) for depth in (1, 2))
    assert torch.equal(one, rectangle((12, 12), slice(4, 8), slice(4, 8)))
    assert torch.equal(two, rectangle((12, 12), slice(2, 10), slice(2, 10)))


@pytest.mark.parametrize("kind", ["vit", "hierarchical_attention", "msa"])
def test_these_kinds_reach_every_token(kind: str) -> None:
    assert bool(reached(build(kind, (36, 48)), (5, 9)).all())


def test_segments_of_dilated_attention_that_share_no_branch_never_exchange_anything() -> None:
    assert torch.equal(reached(build("dilated_attention", (32, 32)), (2, 3)), rectangle((8, 8), slice(2, 4), slice(8)))


def test_a_scan_reaches_what_comes_later_and_in_windows_stays_in_them() -> None:
    later = reached(build("mambavision_mixer", (32, 32)), (4, 4)).flatten()
    first = 4 * 8 + 4 - SMALL["depth"]  # each block's convolutions reach one token back
    assert not bool(later[:first].any())
    assert bool(later[first:].all())
    inside = reached(build("mambavision_mixer", (32, 32), scan_window=4), (5, 5))
    assert bool(inside.any())
    assert not bool((inside & ~rectangle((8, 8), slice(4, 8), slice(4, 8))).any())


# Each against a plain statement of it


def run_plainly(model: BlockStack, x: Tensor, k: int) -> Tensor:
    """A block model's ViT blocks on the real tokens of each window."""
    rows = []
    for y in range(0, x.shape[1], k):
        row = []
        for z in range(0, x.shape[2], k):
            window = x[:, y : y + k, z : z + k]
            tokens = window.flatten(1, 2)
            for block in model.blocks:
                tokens = block(tokens)
            row.append(tokens.view(window.shape))
        rows.append(torch.cat(row, dim=2))
    return torch.cat(rows, dim=1)


@pytest.mark.parametrize("size", [(32, 32), (36, 20), (12, 60)], ids=str)
def test_padding_of_a_window_vit_has_no_influence(size: tuple[int, int]) -> None:
    built = build("window_vit", size)
    model, x = built.model, token_map(built)
    assert isinstance(model, BlockStack)
    plain = run_plainly(model, x.permute(0, 2, 3, 1), 4)
    torch.testing.assert_close(model.forward_features(x), plain.flatten(1, 2))


@pytest.mark.parametrize("size", [(32, 32), (36, 20)], ids=str)
def test_scan_windows_are_padded_and_not_masked(size: tuple[int, int]) -> None:
    built = build("mambavision_mixer", size, scan_window=4)
    model, x = built.model, token_map(built).detach()
    assert isinstance(model, BlockStack)
    height, width = x.shape[2:]
    padded = F.pad(x, (0, -width % 4, 0, -height % 4)).permute(0, 2, 3, 1)
    plain = run_plainly(model, padded, 4)[:, :height, :width]
    torch.testing.assert_close(model.forward_features(x), plain.flatten(1, 2))


def test_carriers_are_the_means_of_their_cells() -> None:
    built = build("hierarchical_attention", (32, 32), depth=1)
    model, x = built.model, token_map(built).detach()
    assert isinstance(model, BlockStack)
    windows = x.unfold(2, 4, 4).unfold(3, 4, 4).permute(0, 2, 3, 4, 5, 1)  # (B, 2, 2, 4, 4, C)
    cells = windows.unflatten(3, (2, 2)).unflatten(5, (2, 2)).mean((4, 6))  # (B, 2, 2, 2, 2, C)
    tokens, _ = model.blocks[0](windows.reshape(8, 16, 24), cells.reshape(2, 16, 24), (2, 2))
    plain = tokens.view(2, 2, 2, 4, 4, 24).transpose(2, 3).reshape(2, 64, 24)
    torch.testing.assert_close(model.forward_features(x), plain)


def test_scales_are_pooled_from_the_map() -> None:
    built = build("msa", (64, 32), depth=1)
    model, x = built.model, token_map(built).detach()
    assert isinstance(model, BlockStack)
    block = model.blocks[0]
    seen: list[list[Tensor]] = []
    block.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0]))
    model(x)
    expected = [x.permute(0, 2, 3, 1)]
    for _ in range(2):
        expected.append(max_pool(expected[-1], 2))
    assert [tokens.shape[1:3] for tokens in seen[0]] == [(16, 8), (8, 4), (4, 2)]
    for tokens, plain in zip(seen[0], expected, strict=True):
        torch.testing.assert_close(tokens, plain)


# Options and notes


@pytest.mark.parametrize(
    ("kind", "notes"),
    [
        (
            "msa",
            [
                "12 heads",
                "windows of 16x16 tokens, stride 8: max-pooled scales of 96x96, 12x12 tokens, all of them in the mean",
            ],
        ),
        ("vit", ["12 heads"]),
        ("window_vit", ["12 heads", "windows of 16x16 tokens that never exchange anything"]),
        ("shifted_window", ["12 heads", "windows of 16x16 tokens, shifted by half in every second block"]),
        (
            "hierarchical_attention",
            [
                "12 heads",
                "windows of 16x16 tokens with 2x2 carrier tokens each, averaged from the map without the stage's "
                "depthwise convolution; no propagation, no layer scale",
            ],
        ),
        (
            "dilated_attention",
            [
                "12 heads",
                "segments of 64, 128, 256, 512, 1024 tokens, dilated ratios 1, 2, 4, 8, 16",
                "9 groups of 1024 tokens that never exchange anything",
            ],
        ),
        (
            "mambavision_mixer",
            ["one scan over all 9216 tokens, row by row: a token reaches those after it; no attention"],
        ),
    ],
)
def test_a_record_says_every_setting_that_matters_also_the_defaults(kind: str, notes: list[str]) -> None:
    shape = "4 blocks of 768 channels, MLP ratio 4, on a map of 96x96 tokens (patch 4)"
    assert notes_of(kind) == (f"{shape}; no patch embedding, no classifier", *notes)


@pytest.mark.parametrize(
    ("kind", "options", "note"),
    [
        ("msa", {"downsample_stride": 4}, "24x24 tokens padded to 32x32, padded keys are masked (ours)"),
        ("window_vit", {"window_size": 20}, "96x96 tokens padded to 100x100, padded keys are masked (ours)"),
        (
            "shifted_window",
            {"window_size": 20},
            "96x96 tokens padded to 100x100, after the norm, padded keys are not masked (Swin's rule for detection)",
        ),
        (
            "hierarchical_attention",
            {"window_size": 20},
            "96x96 tokens padded to 100x100, not masked (FasterViT's rule)",
        ),
        (
            "dilated_attention",
            {"segment_length": [2048], "dilated_ratio": [1]},
            "9216 tokens padded to whole segments, not masked (the official rule)",
        ),
        ("mambavision_mixer", {"scan_window": 14}, "96x96 tokens padded to 98x98, not masked (MambaVision's rule)"),
        (
            "mambavision_mixer",
            {"scan_window": 14},
            "scans inside windows of 14x14 tokens, row by row: a token reaches those after it; no attention",
        ),
        (
            "window_vit",
            {"window_size": 128},
            "windows of 96x96 tokens (all of an axis where window_size 128 is more) that never exchange anything",
        ),
        (
            "shifted_window",
            {"window_size": 96},
            "windows of 96x96 tokens, never shifted: one covers the map",
        ),
        ("vit", {"num_heads": 1}, "1 head"),
    ],
)
def test_a_record_says_how_windows_lie_on_a_map_and_how_it_is_padded(
    kind: str, options: dict[str, Any], note: str
) -> None:
    assert note in notes_of(kind, **options)
    assert note not in notes_of(kind)


def test_what_a_kind_does_not_use_is_dropped_and_said_so() -> None:
    options = {"window_size": 8, "num_classes": 100, "patch_size": 8}
    built = build_without_data(lambda: build_model("block:vit", resolution=Resolution(64, 64), options=options))
    assert built.notes[-1] == "not used by block:vit: window_size, num_classes"
    assert built.options == {"patch_size": 8}
    one = build_without_data(
        lambda: build_model("block:window_vit", resolution=Resolution(64, 64), options={**options, "num_classes": 0})
    )
    assert one.options == {"patch_size": 8, "window_size": 8}
    assert not any("not used" in note for note in one.notes)


def test_a_mixer_without_heads_takes_a_width_that_they_do_not_divide() -> None:
    assert notes_of("mambavision_mixer", (32, 32), embed_dim=50)[-1].startswith("one scan over all 64 tokens")


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("vit", {"num_heads": 5}, "num_heads must divide embed_dim, got 5 heads and 768 channels"),
        ("window_vit", {"window_size": 0}, "window_size must be a whole number of at least 1, got 0"),
        ("vit", {"depth": 0}, "depth must be a whole number of at least 1, got 0"),
        ("vit", {"mlp_ratio": -1}, "mlp_ratio must be above 0, got -1"),
        ("vit", {"mlp_ratio": 0.001}, "mlp_ratio 0.001 leaves no hidden channels of 768"),
        ("vit", {"patch_size": 0}, "patch_size must be a whole number of at least 1, got 0"),
        ("msa", {"window_size": 10}, "window_size must be a multiple of downsample_stride 8, got 10"),
        ("msa", {"downsample_stride": 1}, "downsample_stride must be at least 2, got 1"),
        ("hierarchical_attention", {"ct_size": 17}, "ct_size must be at most window_size 16, got 17"),
        ("dilated_attention", {"segment_length": [8]}, "must be equally many, got 1 and 5"),
        ("dilated_attention", {"segment_length": 8}, "segment_length must be a list of whole numbers of at least 1"),
        ("mambavision_mixer", {"scan_window": -1}, "scan_window must be a whole number of at least 0, got -1"),
    ],
)
def test_values_that_no_block_has_are_refused(kind: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidOptionError, match=message):
        notes_of(kind, (64, 64), **options)


@pytest.mark.parametrize("option", ["kind", "resolution"])
def test_what_the_name_and_the_size_say_is_no_option(option: str) -> None:
    with pytest.raises(InvalidOptionError, match=f"does not take the option '{option}'. It takes: ct_size, depth,"):
        build_model("block:vit", resolution=Resolution(64, 64), options={option: "msa"})


def test_an_image_that_is_no_whole_number_of_patches_is_refused() -> None:
    with pytest.raises(
        InvalidWorkloadError, match="384 px is no whole number of 5 px patches: give multiples of 5, or"
    ):
        notes_of("vit", patch_size=5)


def test_one_window_has_no_carriers_to_exchange() -> None:
    with pytest.raises(UnsupportedError, match="needs more than one window: 16x16 tokens are one of 16x16"):
        notes_of("hierarchical_attention", (64, 64))
