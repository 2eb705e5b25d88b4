import copy
import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from atlasbench.core.errors import InvalidOptionError, InvalidWorkloadError
from atlasbench.core.resolution import Resolution
from atlasbench.models.built import BuiltModel
from atlasbench.models.fastervit import FasterViT, build_fastervit
from atlasbench.models.layers.linear import Classifier

TINY = {
    "dim": 8,
    "in_dim": 4,
    "depths": (1, 1, 2, 1),
    "num_heads": (1, 1, 2, 4),
    "window_size": (7, 7, 4, 2),
    "mlp_ratio": 2,
    "num_classes": 5,
    "drop_path_rate": 0.0,
}
SIZES = {"windows fit": (128, 128), "padded": (130, 190), "odd": (101, 77), "one window": (64, 64), "tiny": (9, 200)}
sizes = pytest.mark.parametrize("size", SIZES.values(), ids=list(SIZES))


def build(height: int = 128, width: int | None = None, **options: Any) -> BuiltModel:
    torch.manual_seed(0)
    return build_fastervit(resolution=Resolution(height, width or height), **{**TINY, **options})


def tiny(height: int = 128, width: int | None = None, **options: Any) -> FasterViT:
    model = build(height, width, **options).model
    assert isinstance(model, FasterViT)
    return model


def images(
    height: int = 128, width: int | None = None, batch_size: int = 2, dtype: torch.dtype = torch.float32
) -> Tensor:
    generator = torch.Generator().manual_seed(7)
    return torch.randn(batch_size, 3, height, width or height, generator=generator, dtype=dtype)


@sizes
@pytest.mark.parametrize("training", [True, False])
def test_images_become_logits(size: tuple[int, int], training: bool) -> None:
    model = tiny(*size, layer_scale=1e-5, do_propagation=True).train(training)
    logits = model(images(*size, batch_size=3))
    assert logits.shape == (3, 5)
    assert logits.isfinite().all()


@sizes
def test_every_parameter_gets_a_gradient_while_training(size: tuple[int, int]) -> None:
    # A block drops its carriers at the end: without propagation the last one's second MLP would still reach tokens.
    model = tiny(*size, hat=(False, False, True, True), layer_scale_conv=0.5, layer_scale=0.5).train()
    model(images(*size)).square().sum().backward()
    without = [
        name
        for name, parameter in model.named_parameters()
        if parameter.grad is None or not parameter.grad.isfinite().all() or not parameter.grad.any()
    ]
    # A constant before a norm, and one that all windows of a single token or key share, change nothing.
    assert [name for name in without if not name.endswith(("conv1.bias", "conv2.bias"))] == []


@sizes
def test_an_image_gets_the_same_answer_in_every_batch(size: tuple[int, int]) -> None:
    model = tiny(*size).double().eval()
    x = images(*size, batch_size=3, dtype=torch.float64)
    with torch.no_grad():
        together, alone = model(x), torch.cat([model(image[None]) for image in x])
    torch.testing.assert_close(together, alone, rtol=1e-10, atol=1e-12)
    assert (together[0] - together[1]).abs().max() > 1e-9


@sizes
def test_features_have_a_thirty_second_of_the_sides_rounded_up(size: tuple[int, int]) -> None:
    model, x = tiny(*size).eval(), images(*size)
    features = model.forward_features(x)
    assert features.shape == (2, 64, -(-size[0] // 32), -(-size[1] // 32))
    assert torch.equal(model.forward_head(features), model(x))
    assert model.forward_head(features, pre_logits=True).shape == (2, model.num_features)


def test_the_classifier_can_be_replaced_and_removed() -> None:
    model, x = tiny().eval(), images()
    assert isinstance(model.get_classifier(), Classifier)
    model.reset_classifier(11)
    assert model(x).shape == (2, 11)
    model.reset_classifier(0)
    assert model(x).shape == (2, 64)
    assert isinstance(tiny(num_classes=0).head, nn.Identity)


@pytest.mark.parametrize("hat", [False, True])
def test_windows_meet_by_carriers_only(hat: bool) -> None:
    """Of the tokens that enter level 2, a corner reaches the far corner of the level only with carriers."""
    model = tiny(256, hat=(False, False, hat, False)).double().eval()
    with torch.no_grad():
        for parameter in model.levels[2].parameters():
            parameter.normal_(std=0.3)
    outputs = []
    model.levels[2].downsample = nn.Identity()
    for change in (0.0, 1.0):
        x = torch.ones(1, 32, 16, 16, dtype=torch.float64) * torch.arange(32.0).cos()[:, None, None]
        x[0, 0, 0, 0] += change
        layout = model._lay_out(256, 256)[0]
        with torch.no_grad():
            outputs.append(model.levels[2](x, layout, model.run_block))
    moved = (outputs[1] - outputs[0]).abs().amax(dim=(0, 1))
    assert (moved[:4, :4] > 1e-12).all()
    assert bool((moved[4:, 4:] > 1e-12).all()) is hat
    assert bool(moved[:, 4:].any()) is hat


def test_padding_is_zeros_right_and_bottom_and_is_not_masked() -> None:
    """A padded map gives what the same map gives with the zeros written in it, cropped."""
    model = tiny(112).double().eval()  # level 2: 7 x 7 tokens, padded to 8 x 8
    level = model.levels[2]
    level.downsample = nn.Identity()
    x = torch.randn(2, 32, 7, 7, dtype=torch.float64)
    with torch.no_grad():
        padded = level(x, model._lay_out(112, 112)[0], model.run_block)
        written = level(nn.functional.pad(x, (0, 1, 0, 1)), model._lay_out(128, 128)[0], model.run_block)
    assert padded.shape == x.shape
    torch.testing.assert_close(padded, written[:, :, :7, :7])


@pytest.mark.parametrize("size", [(128, 128), (130, 190)], ids=str)
def test_checkpointed_gradients_are_the_same(size: tuple[int, int]) -> None:
    model, x = tiny(*size).double().train(), images(*size, dtype=torch.float64)
    gradients, ran = [], 0

    def count(*_: object) -> None:
        nonlocal ran
        ran += 1

    model.levels[2].get_submodule("blocks.0").register_forward_pre_hook(count)
    for enable in (False, True):
        model.set_grad_checkpointing(enable)
        ran = 0
        model.zero_grad()
        model(x).square().sum().backward()
        assert ran == (2 if enable else 1)
        gradients.append([parameter.grad for parameter in model.parameters()])
    for plain, recomputed in zip(*gradients, strict=True):
        assert plain is not None
        torch.testing.assert_close(recomputed, plain, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("size", [(128, 128), (130, 190)], ids=str)
def test_bfloat16_autocast_and_weights_run(size: tuple[int, int]) -> None:
    model, x = tiny(*size, do_propagation=True).eval(), images(*size)
    with torch.no_grad():
        exact = model(x)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            autocast = model(x)
        channels_last = model.to(memory_format=torch.channels_last)(x.to(memory_format=torch.channels_last))
        cast = model.bfloat16()(x.bfloat16())
    assert autocast.dtype == cast.dtype == torch.bfloat16
    torch.testing.assert_close(channels_last, exact)
    spread = exact.abs().max()
    assert (autocast.float() - exact).abs().max() < 0.1 * spread
    assert (cast.float() - exact).abs().max() < 0.1 * spread


def test_bfloat16_autocast_trains() -> None:
    model = tiny(130, 190).train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = model(images(130, 190)).float().square().mean()
    loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_a_copy_is_a_model_of_its_own_also_after_a_step_of_training() -> None:
    model = tiny().train()
    model(images()).sum().backward()
    duplicate = copy.deepcopy(model).eval()
    model.eval()
    with torch.no_grad():
        assert torch.equal(duplicate(images()), model(images()))
        duplicate.head.weight.zero_()  # type: ignore[operator, union-attr]
        assert not torch.equal(duplicate(images()), model(images()))


@pytest.mark.parametrize("size", [(128, 128), (96, 160)], ids=str)
def test_a_compiled_graph_gives_the_same_answer(size: tuple[int, int]) -> None:
    model, x = tiny(*size).eval(), images(*size)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the compiler itself
        compiled = torch.compile(model, backend="eager", fullgraph=True)
        torch.testing.assert_close(compiled(x), model(x))


def test_nothing_of_the_size_is_stored() -> None:
    buffers = dict(tiny(256, hat=(False, False, True, True)).named_buffers())
    assert all(".norm" in name or name.startswith("norm.") for name in buffers)
    small, large = (tiny(size).state_dict() for size in (128, 1024))
    assert {name: value.shape for name, value in small.items()} == {name: value.shape for name, value in large.items()}


def test_a_model_builds_without_data_and_runs_on_shapes() -> None:
    with torch.device("meta"):
        model = tiny(500, 300)
    assert all(parameter.is_meta for parameter in model.parameters())
    assert model(torch.empty(2, 3, 500, 300, device="meta")).shape == (2, 5)


def test_drop_path_grows_over_all_blocks_and_is_one_rate_within_a_block() -> None:
    model = tiny(drop_path_rate=0.4)
    rates = [
        {module.rate for name, module in block.named_modules() if name.endswith("drop_path")}
        for level in model.levels
        for block in level.blocks  # type: ignore[union-attr]
    ]
    assert [len(found) for found in rates] == [1] * 5
    assert [found.pop() for found in rates] == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4])


def test_drop_path_acts_while_training_only() -> None:
    model, x = tiny(drop_path_rate=0.9).eval(), images(batch_size=4)
    with torch.no_grad():
        assert torch.equal(model(x), model(x))
        model.train()
        assert not torch.equal(model(x), model(x))


def test_layers_start_as_published() -> None:
    model = tiny(dim=32, layer_scale=1e-5, layer_scale_conv=1e-4)
    for module in model.modules():
        if isinstance(module, nn.Linear):
            assert module.bias is None or not module.bias.any()
            if module.weight.numel() > 2000:
                assert 0.018 < float(module.weight.detach().std()) < 0.022
    scales = {name: set(value.tolist()) for name, value in model.named_parameters() if "gamma" in name}
    assert len(scales) == 2 + 2 * 4 + 2
    for name, values in scales.items():
        assert sorted(values) == pytest.approx([1e-4 if name.startswith(("levels.0", "levels.1")) else 1e-5])


def test_norms_have_the_published_eps() -> None:
    model = tiny()
    eps = {name: module.eps for name, module in model.named_modules() if hasattr(module, "eps")}
    for name, value in eps.items():
        expected = 1e-4 if name.startswith("patch_embed") else 1e-6 if "downsample" in name else 1e-5
        assert value == expected, name
    assert isinstance(model.norm, nn.BatchNorm2d)
    last = tiny(layer_norm_last=True).norm
    assert isinstance(last, nn.LayerNorm)
    assert last.eps == 1e-6


def test_no_weight_decay_names_biases_and_norms() -> None:
    model = tiny(layer_scale=1e-5)
    names = model.no_weight_decay()
    assert {"norm.weight", "head.bias", "levels.2.blocks.0.windows.gamma1"} <= names
    assert "levels.2.blocks.0.windows.mixer.qkv.weight" not in names
    assert all(parameter.ndim <= 1 for name, parameter in model.named_parameters() if name in names)


# At 64 px level 2 is one window of 4; at 96 x 160 px it has 2 x 3, at 128 and 200 px 2 x 2 and 4 x 4.
@pytest.mark.parametrize(
    ("built", "run", "reason"),
    [
        ((128, 128), (64, 64), "carriers with positions in level 2, but an image of 64 px needs no carriers"),
        (
            (128, 128),
            (96, 160),
            "carriers with positions in level 2, but an image of 96x160 px needs carriers without positions",
        ),
        (
            (96, 160),
            (128, 128),
            "carriers without positions in level 2, but an image of 128 px needs carriers with positions",
        ),
        ((64, 64), (128, 128), "no carriers in level 2, but an image of 128 px needs carriers with positions"),
    ],
    ids=str,
)
def test_a_size_that_needs_other_parameters_is_refused(
    built: tuple[int, int], run: tuple[int, int], reason: str
) -> None:
    with pytest.raises(InvalidWorkloadError) as refusal:
        tiny(*built)(images(*run))
    assert str(refusal.value) == f"This FasterViT has {reason}: build it with that resolution."


@pytest.mark.parametrize(
    ("built", "run"),
    [((128, 128), (200, 231)), ((128, 128), (1000, 1000)), ((96, 160), (200, 300)), ((64, 64), (33, 50))],
    ids=str,
)
def test_a_size_that_needs_the_same_parameters_runs_as_if_built_for_it(
    built: tuple[int, int], run: tuple[int, int]
) -> None:
    model, other = tiny(*built).eval(), tiny(*run).eval()
    other.load_state_dict(model.state_dict())
    with torch.no_grad():
        assert torch.equal(model(images(*run, batch_size=1)), other(images(*run, batch_size=1)))


def test_without_carriers_one_model_runs_every_size() -> None:
    model = tiny(64, hat=(False, False, False, False)).eval()
    for size in SIZES.values():
        assert model(images(*size)).isfinite().all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"depths": (1, 1, 2)}, "depths must be 4 numbers, got 3."),
        ({"depths": (1, 1, 0, 1)}, "depths must be a list of whole numbers of at least 1, got (1, 1, 0, 1)."),
        ({"depths": "1111"}, "depths must be a list of whole numbers of at least 1, got '1111'."),
        ({"num_heads": (1, 1, 2, 4, 8)}, "num_heads must be 4 numbers, got 5."),
        (
            {"num_heads": (1, 1, 3, 4)},
            "num_heads must divide the channels of every level with attention, got 3 heads and 32 channels in level 2.",
        ),
        (
            {"num_heads": (1, 1, 2, 7)},
            "num_heads must divide the channels of every level with attention, got 7 heads and 64 channels in level 3.",
        ),
        ({"window_size": (7, 7, 0, 2)}, "window_size must be a list of whole numbers of at least 1, got (7, 7, 0, 2)."),
        ({"window_size": 7}, "window_size must be a list of whole numbers of at least 1, got 7."),
        ({"window_size": (7, 7)}, "window_size must be 4 numbers, got 2."),
        (
            {"ct_size": 5},
            "ct_size must be at most the window of a level with carriers, got 5 and windows of 4 in level 2.",
        ),
        ({"ct_size": 0}, "ct_size must be a whole number of at least 1, got 0."),
        ({"dim": 8.5}, "dim must be a whole number of at least 1, got 8.5."),
        ({"in_dim": 0}, "in_dim must be a whole number of at least 1, got 0."),
        ({"in_chans": 0}, "in_chans must be a whole number of at least 1, got 0."),
        ({"num_classes": -1}, "num_classes must be a whole number of at least 0, got -1."),
        ({"mlp_ratio": 0}, "mlp_ratio must be above 0, got 0."),
        ({"drop_path_rate": 1.0}, "drop_path_rate must be at least 0 and below 1, got 1.0."),
        ({"layer_scale": "1e-5"}, "layer_scale must be a number, got '1e-5'."),
        ({"layer_scale": True}, "layer_scale must be a number, got True."),
        ({"layer_scale": float("nan")}, "layer_scale must be a number, got nan."),
        ({"mlp_ratio": 0.01}, "mlp_ratio 0.01 leaves no hidden channels of 32."),
        ({"layer_scale_conv": (1,)}, "layer_scale_conv must be a number, got (1,)."),
        ({"do_propagation": 1}, "do_propagation must be true or false, got 1."),
        ({"layer_norm_last": None}, "layer_norm_last must be true or false, got None."),
        ({"hat": (False, True)}, "hat must be a list of 4 times true or false, got (False, True)."),
        ({"hat": (0, 0, 1, 0)}, "hat must be a list of 4 times true or false, got (0, 0, 1, 0)."),
        ({"hat": True}, "hat must be a list of 4 times true or false, got True."),
        ({"carrier_order": "random"}, "carrier_order must be one of official, ordered, got 'random'."),
    ],
    ids=str,
)
def test_values_that_no_fastervit_has_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidOptionError) as refusal:
        build(**options)
    assert str(refusal.value) == message


def test_values_of_levels_of_convolutions_are_not_used() -> None:
    plain = tiny().state_dict()
    other = tiny(window_size=(1, 3, 4, 2), num_heads=(3, 5, 2, 4), hat=(True, True, True, False)).state_dict()
    assert plain.keys() == other.keys()
    assert all(torch.equal(plain[name], other[name]) for name in plain)


def test_carriers_may_be_larger_than_windows_that_have_none() -> None:
    assert tiny(ct_size=3, window_size=(1, 1, 4, 2))(images()).shape == (2, 5)
