import copy
import inspect
import re

import pytest
import torch
from torch import Tensor, nn

from atlasbench.core.errors import InvalidOptionError
from atlasbench.core.resolution import Resolution
from atlasbench.models.built import BuiltModel
from atlasbench.models.layers.convolution import ResidualConvBlock
from atlasbench.models.layers.mamba_mixer import MambaMixer
from atlasbench.models.layers.transformer_block import SelfAttention, TransformerBlock
from atlasbench.models.mambavision import MambaVision, build_mambavision

TINY = {
    "dim": 8,
    "in_dim": 8,
    "depths": (1, 1, 2, 2),
    "num_heads": (1, 1, 2, 4),
    "window_size": (8, 8, 4, 2),
    "num_classes": 5,
}
LAYER_SCALES = {"layer_scale": 0.5, "layer_scale_conv": 0.5}


def build(height: int = 96, width: int | None = None, **options: object) -> BuiltModel:
    torch.manual_seed(0)
    return build_mambavision(resolution=Resolution(height, width or height), **{**TINY, **options})  # type: ignore[arg-type]


def tiny(**options: object) -> MambaVision:
    model = build(**options).model  # type: ignore[arg-type]
    assert isinstance(model, MambaVision)
    return model


def lively(**options: object) -> MambaVision:
    """A model in which every layer matters: weights much larger than they start."""
    model = tiny(**options)
    for name, parameter in model.named_parameters():
        if parameter.ndim > 1 and not name.endswith("A_log"):
            nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5)
    return model


def images(height: int = 96, width: int | None = None, batch_size: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(7)
    return torch.randn(batch_size, 3, height, width or height, generator=generator)


@pytest.mark.parametrize("size", [(96, 96), (75, 133), (17, 40), (1, 1), (32, 300)], ids=str)
@pytest.mark.parametrize("global_window", [True, False])
def test_one_model_turns_images_of_every_size_into_logits(size: tuple[int, int], global_window: bool) -> None:
    model = tiny(global_window=global_window)
    assert model(images(*size, batch_size=3)).shape == (3, 5)
    model.eval()
    logits = model(images(*size))
    assert logits.isfinite().all()
    features = model.forward_features(images(*size))
    assert features.shape == (2, 64, -(-size[0] // 32), -(-size[1] // 32))
    assert torch.equal(model.forward_head(features), logits)


@pytest.mark.parametrize("options", [{}, LAYER_SCALES, {"global_window": True}], ids=str)
def test_every_parameter_gets_a_gradient_while_training(options: dict[str, object]) -> None:
    model = lively(drop_path_rate=0.0, **options).train()
    model(images(75, 133)).square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        cancelled_by_a_norm = re.fullmatch(r"levels\.[01]\.blocks\.\d\.conv[12]\.bias", name)
        assert cancelled_by_a_norm or parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize(("depth", "mixers"), [(1, 1), (2, 1), (4, 2), (5, 3), (7, 4), (8, 4), (11, 6)])
def test_the_first_half_of_a_levels_blocks_scan_and_the_others_attend(depth: int, mixers: int) -> None:
    with torch.device("meta"):
        model = tiny(depths=(2, 1, depth, depth))
    for level in (2, 3):
        kinds = [type(block.mixer) for block in model.levels[level].blocks]  # type: ignore[union-attr]
        assert kinds == [MambaMixer] * mixers + [SelfAttention] * (depth - mixers)
    for level, blocks in ((0, 2), (1, 1)):
        assert [type(block) for block in model.levels[level].blocks] == [ResidualConvBlock] * blocks  # type: ignore[union-attr]


def test_drop_path_rises_over_the_blocks_of_all_levels() -> None:
    with torch.device("meta"):
        model = build_mambavision(resolution=Resolution(224, 224)).model
    blocks = [module for module in model.modules() if isinstance(module, ResidualConvBlock | TransformerBlock)]
    assert [block.drop_path.rate for block in blocks] == pytest.approx([0.2 * index / 15 for index in range(16)])


def test_stochastic_depth_drops_single_windows() -> None:
    model = tiny(drop_path_rate=0.5, depths=(1, 1, 1, 1))
    level = model.levels[2]
    changed = []
    level.downsample.register_forward_hook(lambda _, args, __: changed.append(args[0]))
    entering: list[Tensor] = []
    level.register_forward_pre_hook(lambda _, args: entering.append(args[0]))
    model.train()(images(256))  # 16 x 16 tokens: 4 x 4 windows
    moved = (changed[0] - entering[0]).abs().amax(dim=1).unflatten(1, (4, 4)).unflatten(3, (4, 4))  # (B, 4, 4, 4, 4)
    kept = (moved.amax(dim=(2, 4)) > 0).flatten(1)  # (B, 16)
    assert kept.any(dim=1).all()
    assert (~kept).any(dim=1).all()


@pytest.mark.parametrize("padded", [False, True])
def test_editing_a_tile_changes_it_and_what_the_next_convolution_carries_over(padded: bool) -> None:
    # Windows of 8 and 4 tokens are tiles of 128 px; only the last tiles are padded.
    model = lively(window_size=(8, 8, 8, 4)).eval()
    side = 480 if padded else 512
    x = images(side, batch_size=1)
    edited = x.clone()
    edited[:, :, 192, 192] += 5  # the centre of tile (1, 1)
    with torch.no_grad():
        moved = (model.forward_features(edited) - model.forward_features(x)).abs().amax(dim=1)[0]
    tiles = nn.functional.pad(moved, (0, 16 - moved.shape[1], 0, 16 - moved.shape[0])).view(4, 4, 4, 4).amax(dim=(1, 3))
    assert {tuple(tile) for tile in (tiles > 0).nonzero().tolist()} == {(1, 1), (1, 2), (2, 1), (2, 2)}


def test_a_global_window_lets_every_tile_see_every_other() -> None:
    model = lively(global_window=True).eval()
    x = images(160, 288, batch_size=1)
    edited = x.clone()
    edited[:, :, -8, -8] += 5
    with torch.no_grad():
        moved = (model.forward_features(edited) - model.forward_features(x)).abs().amax(dim=1)
    assert bool((moved > 0).all())


@pytest.mark.parametrize("size", [96, 160])
def test_a_global_window_of_a_square_image_is_the_published_window_of_that_size(size: int) -> None:
    published = lively(window_size=(8, 8, -(-size // 16), -(-size // 32))).eval()
    everywhere = lively(global_window=True).eval()
    with torch.no_grad():
        assert torch.equal(everywhere(images(size)), published(images(size)))
        assert not torch.allclose(lively().eval()(images(size)), published(images(size)), atol=1e-4)


def test_padding_is_right_and_bottom() -> None:
    model = lively(window_size=(8, 8, 4, 4), depths=(1, 1, 1, 1)).eval()
    inside: list[Tensor] = []
    model.levels[2].blocks[0].register_forward_pre_hook(lambda _, args: inside.append(args[0]))  # type: ignore[union-attr]
    entering: list[Tensor] = []
    model.levels[2].register_forward_pre_hook(lambda _, args: entering.append(args[0]))
    model(images(80, 96, batch_size=1))  # 5 x 6 tokens: padded to 8 x 8
    windows = inside[0].view(2, 2, 4, 4, 32).permute(0, 2, 1, 3, 4).reshape(8, 8, 32)
    assert torch.equal(windows[:5, :6], entering[0][0].permute(1, 2, 0))
    assert not windows[5:].any()
    assert not windows[:, 6:].any()


def test_features_are_normalised_before_they_are_averaged() -> None:
    features = tiny().train().forward_features(images(batch_size=4))
    assert features.mean(dim=(0, 2, 3)).abs().max() < 1e-5
    assert features.var(dim=(0, 2, 3), unbiased=False).sub(1).abs().max() < 1e-2


@pytest.mark.parametrize("drop_path_rate", [0.0, 0.5])
@pytest.mark.parametrize("options", [{}, {**LAYER_SCALES, "global_window": True}], ids=str)
def test_recomputing_blocks_changes_no_gradient_and_no_running_statistic(
    drop_path_rate: float, options: dict[str, object]
) -> None:
    model = lively(drop_path_rate=drop_path_rate, **options).train()
    recomputing = copy.deepcopy(model)
    recomputing.set_grad_checkpointing()
    outputs = []
    for variant in (model, recomputing):
        torch.manual_seed(3)
        outputs.append(variant(images(75, 133)))
        outputs[-1].square().sum().backward()
    assert torch.equal(*outputs)
    for (name, parameter), other in zip(model.named_parameters(), recomputing.parameters(), strict=True):
        assert parameter.grad is not None
        assert other.grad is not None
        assert torch.allclose(parameter.grad, other.grad, rtol=1e-5, atol=1e-6), name
    for (name, buffer), other in zip(model.named_buffers(), recomputing.buffers(), strict=True):
        assert torch.equal(buffer, other), name


def test_images_of_a_batch_do_not_mix_and_neither_memory_format_nor_copying_matters() -> None:
    model = lively(**LAYER_SCALES).eval()
    x = images(75, 133, batch_size=3)
    with torch.no_grad():
        logits = model(x)
        alone = torch.cat([model(image[None]) for image in x])
        last = copy.deepcopy(model).to(memory_format=torch.channels_last)(x.to(memory_format=torch.channels_last))
    assert torch.allclose(alone, logits, atol=1e-5)
    assert torch.allclose(last, logits, atol=1e-5)


@pytest.mark.parametrize("mode", ["autocast", "pure"])
def test_bfloat16_is_close_to_float32_and_trains(mode: str) -> None:
    model = lively(drop_path_rate=0.0)
    exact = model(images())
    if mode == "autocast":
        with torch.autocast("cpu", torch.bfloat16):
            logits = model(images())
    else:
        model = model.to(torch.bfloat16)
        logits = model(images().to(torch.bfloat16))
    assert logits.dtype == torch.bfloat16
    assert (logits.float() - exact).detach().abs().max() < 0.1 * exact.detach().abs().max()
    logits.float().square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in model.parameters())


def test_it_is_built_and_run_without_values() -> None:
    with torch.device("meta"):
        model = tiny(**LAYER_SCALES)
        logits = model(torch.empty(2, 3, 75, 133))
    assert logits.shape == (2, 5)
    assert logits.is_meta
    assert all(parameter.is_meta for parameter in model.parameters())


@pytest.mark.slow
def test_it_compiles_into_one_graph_at_every_size() -> None:
    torch._dynamo.reset()
    model = lively(drop_path_rate=0.0)
    compiled = torch.compile(copy.deepcopy(model), fullgraph=True, backend="aot_eager")
    for height, width in ((64, 64), (75, 133)):
        x = images(height, width)
        logits, expected = compiled(x), model(x)
        assert torch.allclose(logits, expected, atol=1e-5)
    logits.square().sum().backward()
    expected.square().sum().backward()
    for ours, plain in zip(compiled.parameters(), model.parameters(), strict=True):
        assert ours.grad is not None
        assert plain.grad is not None
        assert torch.allclose(ours.grad, plain.grad, rtol=1e-4, atol=1e-4)


def test_weight_decay_leaves_vectors_alone_but_not_decays() -> None:
    model = tiny(**LAYER_SCALES)
    spared = model.no_weight_decay()
    mixer = "levels.2.blocks.0.mixer"
    expected = {f"{mixer}.D", f"{mixer}.dt_proj.bias", "levels.2.blocks.0.gamma1", "levels.0.blocks.0.gamma"}
    assert expected | {"norm.weight", "head.bias", "levels.3.blocks.1.norm2.bias"} <= spared
    assert not spared & {f"{mixer}.A_log", f"{mixer}.in_proj.weight", f"{mixer}.conv1d_x.weight"}


def test_linear_layers_start_small_and_without_bias_and_norms_at_one() -> None:
    model = tiny(dim=32, num_heads=(1, 1, 2, 4), **LAYER_SCALES)
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear):
            assert module.weight.std().item() == pytest.approx(0.02, rel=0.2), name
            assert module.bias is None or not module.bias.any(), name
        if isinstance(module, nn.LayerNorm | nn.BatchNorm2d):
            assert bool((module.weight == 1).all()), name
            assert not module.bias.any(), name
            assert module.eps == (1e-4 if name.startswith("patch_embed") else 1e-5), name
    for name, parameter in model.named_parameters():
        if "gamma" in name:
            assert bool((parameter == 0.5).all()), name
        if name.endswith("A_log"):
            assert torch.allclose(parameter.exp(), torch.arange(1.0, 9.0).expand_as(parameter))


def test_layer_scale_belongs_to_windows_and_to_convolutions_apart() -> None:
    with torch.device("meta"):
        names = {
            option: {name.split(".")[1] for name, _ in tiny(**{option: 1e-5}).named_parameters() if "gamma" in name}
            for option in LAYER_SCALES
        }
        assert not any("gamma" in name for name, _ in tiny().named_parameters())
    assert names == {"layer_scale": {"2", "3"}, "layer_scale_conv": {"0", "1"}}


def test_the_classifier_can_be_replaced_or_left_out() -> None:
    model = tiny().eval()
    pooled = model.forward_head(model.forward_features(images()), pre_logits=True)
    assert pooled.shape == (2, model.num_features) == (2, 64)
    model.reset_classifier(3)
    assert model(images()).shape == (2, model.num_classes) == (2, 3)
    model.reset_classifier(0)
    assert torch.equal(model(images()), pooled)
    assert isinstance(tiny(num_classes=0).get_classifier(), nn.Identity)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"depths": (1, 1, 2)}, "depths must be 4 numbers, got 3."),
        ({"depths": (1, 1, 0, 1)}, "depths must be a list of whole numbers of at least 1, got (1, 1, 0, 1)."),
        ({"num_heads": (1, 2, 3, 4, 5)}, "num_heads must be 4 numbers, got 5."),
        ({"num_heads": 4}, "num_heads must be a list of whole numbers of at least 1, got 4."),
        ({"num_heads": (1, 1, 3, 4)}, "with attention, got 3 heads and 32 channels in level 2."),
        ({"num_heads": (1, 1, 2, 5)}, "with attention, got 5 heads and 64 channels in level 3."),
        ({"window_size": (8, 8, 14)}, "window_size must be 4 numbers, got 3."),
        ({"window_size": (8, 8, 0, 7)}, "window_size must be a list of whole numbers of at least 1"),
        ({"window_size": (8, 8, 14.0, 7)}, "whole numbers of at least 1, got (8, 8, 14.0, 7)."),
        ({"dim": 0}, "dim must be a whole number of at least 1, got 0."),
        ({"in_dim": "8"}, "in_dim must be a whole number of at least 1, got '8'."),
        ({"in_chans": 0}, "in_chans must be a whole number of at least 1, got 0."),
        ({"num_classes": -1}, "num_classes must be a whole number of at least 0, got -1."),
        ({"mlp_ratio": 0}, "mlp_ratio must be above 0, got 0."),
        ({"drop_path_rate": 1.0}, "drop_path_rate must be at least 0 and below 1, got 1.0."),
        ({"mlp_ratio": 0.01}, "mlp_ratio 0.01 leaves no hidden channels of 32."),
        ({"layer_scale": "small"}, "layer_scale must be a number, got 'small'."),
        ({"layer_scale": float("nan")}, "layer_scale must be a number, got nan."),
        ({"layer_scale_conv": True}, "layer_scale_conv must be a number, got True."),
        ({"global_window": 1}, "global_window must be true or false, got 1."),
    ],
    ids=str,
)
def test_options_that_no_mambavision_has_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidOptionError, match=re.escape(message)):
        build(**options)  # type: ignore[arg-type]


def test_heads_of_levels_without_attention_are_not_looked_at() -> None:
    model = tiny(depths=(1, 1, 1, 2), num_heads=(3, 5, 7, 4))
    assert model(images()).shape == (2, 5)


@pytest.mark.parametrize(
    ("size", "options", "notes"),
    [
        ((224, 224), {"window_size": (8, 8, 14, 7)}, []),
        (
            (1024, 1024),
            {"window_size": (8, 8, 14, 7)},
            [
                "token grids padded to whole windows: 64x64 to 70x70, 32x32 to 35x35; "
                "padding is not masked (as published)",
                "scans and attention stay in their window, only convolutions cross: 25 of 14x14, 25 of 7x7 tokens",
            ],
        ),
        (
            (256, 512),
            {"window_size": (8, 8, 16, 8)},
            ["scans and attention stay in their window, only convolutions cross: 2 of 16x16, 2 of 8x8 tokens"],
        ),
        (
            (64, 64),
            {"window_size": (8, 8, 14, 2)},
            ["token grids padded to whole windows: 4x4 to 14x14; padding is not masked (as published)"],
        ),
        (
            (1000, 520),
            {"global_window": True},
            ["windows as large as the feature maps (ours): 1 of 63x33, 1 of 32x17 tokens"],
        ),
    ],
    ids=str,
)
def test_notes_say_what_is_padded_how_far_tokens_see_and_what_is_ours(
    size: tuple[int, int], options: dict[str, object], notes: list[str]
) -> None:
    with torch.device("meta"):
        assert list(build(*size, **options).notes) == notes


def test_builder_arguments_are_keywords_with_the_tiny_model_as_default() -> None:
    parameters = inspect.signature(build_mambavision).parameters
    assert all(parameter.kind is parameter.KEYWORD_ONLY for parameter in parameters.values())
    defaults = {name: parameters[name].default for name in ("dim", "in_dim", "depths", "num_heads", "window_size")}
    assert list(defaults.values()) == [80, 32, (1, 3, 8, 4), (2, 4, 8, 16), (8, 8, 14, 7)]
