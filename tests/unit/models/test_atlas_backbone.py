import inspect
import re

import pytest
import torch
from torch import Tensor, nn

from atlasbench.core.errors import (
    AtlasBenchError,
    InvalidOptionError,
    InvalidWorkloadError,
    ScaleDropError,
    UnsupportedError,
)
from atlasbench.core.resolution import Resolution
from atlasbench.models.atlas import Atlas, build_atlas
from atlasbench.models.built import BuiltModel
from atlasbench.models.layers.linear import Classifier, Mlp, Projection
from atlasbench.models.layers.multiscale_attention import MultiScaleBlock
from atlasbench.models.layers.position import WindowPosition, window_coordinates

TINY = {"embed_dim": 16, "num_heads": 2, "window_size": 4, "downsample_stride": 2, "num_classes": 5}


def build(height: int = 128, width: int | None = None, **options: object) -> BuiltModel:
    torch.manual_seed(0)
    return build_atlas(resolution=Resolution(height, width or height), **{**TINY, **options})  # type: ignore[arg-type]


def tiny(height: int = 128, width: int | None = None, **options: object) -> Atlas:
    model = build(height, width, **options).model
    assert isinstance(model, Atlas)
    return model


def images(
    height: int = 128, width: int | None = None, batch_size: int = 2, dtype: torch.dtype = torch.float32
) -> Tensor:
    generator = torch.Generator().manual_seed(7)
    return torch.randn(batch_size, 3, height, width or height, generator=generator, dtype=dtype)


@pytest.mark.parametrize("size", [(128, 128), (90, 131), (16, 16), (17, 40), (16, 400)], ids=str)
@pytest.mark.parametrize("training", [True, False])
def test_images_become_logits(size: tuple[int, int], training: bool) -> None:
    model = tiny(*size).train(training)
    logits = model(images(*size, batch_size=3))
    assert logits.shape == (3, 5)
    assert logits.isfinite().all()


@pytest.mark.parametrize("size", [(128, 128), (90, 131)], ids=str)
def test_every_parameter_gets_a_gradient_while_training(size: tuple[int, int]) -> None:
    model = tiny(*size).train()
    model(images(*size)).square().sum().backward()
    without = [
        name
        for name, parameter in model.named_parameters()
        if parameter.grad is None or not parameter.grad.isfinite().all() or not parameter.grad.any()
    ]
    assert without == []


@pytest.mark.parametrize("size", [(128, 128), (90, 131)], ids=str)
def test_an_image_gets_the_same_answer_in_every_batch(size: tuple[int, int]) -> None:
    model = tiny(*size).double().eval()
    x = images(*size, batch_size=3, dtype=torch.float64)
    with torch.no_grad():
        together, alone = model(x), torch.cat([model(image[None]) for image in x])
    torch.testing.assert_close(together, alone, rtol=1e-12, atol=1e-12)
    assert (together[0] - together[1]).abs().max() > 1e-6


def test_head_after_features_is_the_whole_model() -> None:
    model, x = tiny(90, 131).eval(), images(90, 131)
    features = model.forward_features(x)
    # 6 x 9 tokens, then 3 x 5, then 2 x 3: the coarsest scale is left, without padding
    assert features.shape == (2, 6, 16)
    assert torch.equal(model.forward_head(features), model(x))
    assert model.forward_head(features, pre_logits=True).shape == (2, model.num_features)


def test_scales_that_were_not_dropped_are_read_out() -> None:
    stack = tiny(90, 131, scale_drop="none", embed_dim=8).eval()
    assert stack.forward_features(images(90, 131)).shape == (2, 6 * 9 + 3 * 5 + 2 * 3, 8)
    early = tiny(90, 131, depths=(1, 1), embed_dim=8).eval()
    assert early.forward_features(images(90, 131)).shape == (2, 3 * 5 + 2 * 3, 8)


def test_the_classifier_can_be_replaced_and_removed() -> None:
    model, x = tiny().eval(), images()
    assert model.get_classifier() is model.head
    model.reset_classifier(11)
    assert model.num_classes == 11
    assert model(x).shape == (2, 11)
    model.reset_classifier(0)
    assert model(x).shape == (2, 16)
    assert isinstance(tiny(num_classes=0).head, nn.Identity)


def test_checkpointed_gradients_are_the_same() -> None:
    model, x = tiny(90, 131).double().train(), images(90, 131, dtype=torch.float64)
    gradients = []
    ran = 0

    def count(*_: object) -> None:
        nonlocal ran
        ran += 1

    first = model.stages[0].get_submodule("blocks.0")
    first.register_forward_pre_hook(count)  # the second pass stops before the end
    for enable in (False, True):
        model.set_grad_checkpointing(enable)
        ran = 0
        model.zero_grad()
        model(x).sum().backward()
        assert ran == (2 if enable else 1)
        gradients.append([parameter.grad for parameter in model.parameters()])
    for plain, recomputed in zip(*gradients, strict=True):
        assert plain is not None
        torch.testing.assert_close(recomputed, plain, rtol=1e-10, atol=1e-12)


def test_bfloat16_autocast_and_weights_run() -> None:
    model, x = tiny(90, 131).eval(), images(90, 131)
    with torch.no_grad():
        exact = model(x)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            autocast = model(x)
        cast = model.bfloat16()(x.bfloat16())
    assert autocast.dtype == cast.dtype == torch.bfloat16
    assert (autocast.float() - exact).abs().max() < 0.05
    assert (cast.float() - exact).abs().max() < 0.1


def test_bfloat16_autocast_trains() -> None:
    model = tiny(90, 131).train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = model(images(90, 131)).float().square().mean()
    loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_no_weight_decay_names_biases_and_norms() -> None:
    model = tiny()
    names = model.no_weight_decay()
    weights = {name for name, p in model.named_parameters() if name not in names}
    assert {"norm.weight", "head.bias", "stem.norm1.weight"} <= names
    assert "stages.0.blocks.0.scales.0.position.fc1.bias" in names
    assert {"head.weight", "stem.conv1.weight", "stages.0.blocks.0.scales.0.q.weight"} <= weights
    assert all(p.ndim > 1 for name, p in model.named_parameters() if name in weights)


def test_linear_layers_start_small_and_without_bias() -> None:
    linear = [m for m in tiny(embed_dim=64, num_heads=4).modules() if isinstance(m, nn.Linear)]
    assert len(linear) > 20
    for module in linear:
        if module.weight.numel() > 2000:
            assert 0.015 < float(module.weight.detach().std()) < 0.025
        assert module.bias is None or not module.bias.any()


def test_drop_path_grows_from_zero_over_each_stage() -> None:
    model = tiny(90, 131, scale_drop="3-1-2", drop_path_rate=0.3)
    rates = [
        [float(block.get_submodule("scales.0.drop_path").rate) for block in stage.blocks]  # type: ignore[arg-type]
        for stage in model.stages
    ]
    assert rates == [pytest.approx([0.0, 0.15, 0.3]), [0.0], pytest.approx([0.0, 0.3])]


def test_drop_path_acts_while_training_only() -> None:
    model, x = tiny(drop_path_rate=0.9), images(batch_size=8)
    model.eval()
    with torch.no_grad():
        assert torch.equal(model(x), model(x))
        model.train()
        assert not torch.equal(model(x), model(x))


def test_every_part_names_itself_for_the_flop_counter() -> None:
    model = tiny(512, composition="conv", patch_size=8)
    parts = {type(m): getattr(m, "flops_part", None) for m in model.modules()}
    assert parts[Projection] == "projections"
    assert parts[Mlp] == "mlp"
    assert parts[WindowPosition] == "other"
    assert parts[Classifier] == "head"
    assert model.stem.flops_part == "stem"
    assert model.stages[1].get_submodule("downsample").flops_part == "other"  # type: ignore[comparison-overlap]


@pytest.mark.parametrize(
    ("n", "coordinates"), [(1, [0.0]), (2, [-1.0, 0.0]), (3, [-1.0, 0.0, 1.0]), (4, [-1.0, -0.5, 0.0, 0.5])]
)
def test_coordinates_are_taken_per_axis(n: int, coordinates: list[float]) -> None:
    table = window_coordinates(n, 2, torch.device("cpu"))
    assert table.shape == (n, 2, 2)
    assert table[:, 0, 0].tolist() == coordinates
    assert table[0, :, 1].tolist() == [-1.0, 0.0]


@pytest.mark.parametrize("size", [(120, 100), (65, 65), (128, 80)], ids=str)
def test_a_model_takes_every_size_with_its_number_of_scales(size: tuple[int, int]) -> None:
    assert tiny(128).eval()(images(*size)).shape == (2, 5)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("size", "scales"), [((64, 64), 1), ((64, 300), 4)], ids=str)
def test_another_number_of_scales_is_refused_with_both(size: tuple[int, int], scales: int, training: bool) -> None:
    model = tiny(128).train(training)
    wanted = f"This Atlas has 2 scales, but an image of {Resolution(*size)} px has {scales}"
    with pytest.raises(InvalidWorkloadError, match=re.escape(wanted)):
        model(images(*size))


def test_an_image_below_one_patch_is_refused() -> None:
    with pytest.raises(InvalidWorkloadError, match="15 px is smaller than one patch"):
        build(15)
    with pytest.raises(InvalidWorkloadError, match="15x200 px is smaller than one patch"):
        tiny(64)(images(15, 200))


@pytest.mark.parametrize(
    ("options", "depths", "written"),
    [
        ({}, (2, 10), "2-10"),
        ({"scale_drop": "1-3"}, (1, 3), "1-3"),
        ({"scale_drop": (1, 3)}, (1, 3), "1-3"),
        ({"scale_drop": "none"}, (12,), "none"),
        ({"depths": (3,)}, (3,), "none"),
        ({"depths": (3, 4)}, (3, 4), "3-4"),
        ({"composition": "stack"}, (12,), "none"),
        ({"composition": "stack", "depths": (4,)}, (4,), "none"),
        ({"composition": "stack", "scale_drop": "none"}, (12,), "none"),
        ({"composition": "conv"}, (3, 3, 3, 3), ""),
        ({"composition": "conv", "depths": (4,)}, (4,), ""),
    ],
    ids=str,
)
def test_blocks_of_every_stage_follow_from_the_options(
    options: dict[str, object], depths: tuple[int, ...], written: str
) -> None:
    with torch.device("meta"):
        model = tiny(128, **options)
    assert tuple(len(stage.get_submodule("blocks")) for stage in model.stages) == depths  # type: ignore[arg-type]
    assert model.scale_drop == written


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"scale_drop": "2-2-8"}, ScaleDropError, "2-2-8 has 3 entries but Atlas at 128 px has 2 scales"),
        ({"scale_drop": "12"}, ScaleDropError, "12 has 1 entry but Atlas at 128 px has 2 scales"),
        ({"scale_drop": "2,10"}, ScaleDropError, "'2,10' is not a scale drop"),
        ({"scale_drop": "2-10", "depths": (2, 10)}, ScaleDropError, "not both; Atlas at 128 px has 2 scales"),
        ({"depths": (1, 1, 1)}, ScaleDropError, "depths has 3 entries, but Atlas at 128 px has 2 scales"),
        ({"depths": (1, 0)}, ScaleDropError, "every stage needs at least 1 block"),
        ({"depths": ()}, ScaleDropError, "every stage needs at least 1 block"),
        ({"depths": (1.5, 2)}, ScaleDropError, "must be a whole number, got 1.5"),
        ({"composition": "stack", "depths": (1, 1)}, ScaleDropError, "'stack' has one stage, but depths has 2"),
        ({"composition": "stack", "scale_drop": "2-10"}, InvalidOptionError, "leave scale_drop 2-10 out"),
        ({"composition": "conv", "scale_drop": "2-10"}, InvalidOptionError, "give depths, no scale_drop"),
        ({"composition": "tree"}, InvalidOptionError, "composition must be one of drop, stack, conv, got 'tree'"),
        ({"communication": "some"}, InvalidOptionError, "communication must be one of none, bottom_up, top_down, both"),
        ({"window_matching": "x"}, InvalidOptionError, "window_matching must be one of covering, row_major, got 'x'"),
        ({"num_heads": 3}, InvalidOptionError, "num_heads must divide embed_dim, got 3 heads and 16 channels"),
        ({"num_heads": 0}, InvalidOptionError, "num_heads must divide embed_dim"),
        ({"num_heads": "2"}, InvalidOptionError, "num_heads must be a whole number, got '2'"),
        ({"window_size": 4.0}, InvalidOptionError, "window_size must be a whole number, got 4.0"),
        ({"num_classes": -1}, InvalidOptionError, "num_classes must be a whole number of at least 0, got -1"),
        ({"embed_dim": 18}, InvalidOptionError, "embed_dim must be a multiple of 4"),
        ({"patch_size": 32}, InvalidOptionError, "patch_size must be 4, 8 or 16, got 32"),
        ({"patch_size": 0}, InvalidOptionError, "patch_size must be 4, 8 or 16, got 0"),
        ({"window_size": 5}, InvalidOptionError, "window_size must be a multiple of downsample_stride 2, got 5"),
        ({"mlp_ratio": 0}, InvalidOptionError, "mlp_ratio must be above 0, got 0"),
        ({"mlp_ratio": "4"}, InvalidOptionError, "mlp_ratio must be a number, got '4'"),
        ({"drop_path_rate": 1.0}, InvalidOptionError, "drop_path_rate must be at least 0 and below 1, got 1.0"),
    ],
    ids=str,
)
def test_options_that_no_atlas_has_are_refused(
    options: dict[str, object], error: type[AtlasBenchError], message: str
) -> None:
    with pytest.raises(error, match=re.escape(message)):
        build(128, **options)


def test_row_major_matching_is_refused_where_windows_do_not_divide() -> None:
    # 5 x 3 windows over 3 x 2 windows
    with pytest.raises(UnsupportedError, match="15 windows are no multiple of the 6 windows of the next scale"):
        build(20 * 16, 12 * 16, window_matching="row_major")
    build(20 * 16, 12 * 16, window_matching="row_major", communication="bottom_up")  # nobody reads a coarser window


@pytest.mark.parametrize(
    ("size", "options", "notes"),
    [
        ((1024, 1024), {}, []),
        ((1024, 1024), {"scale_drop": "none"}, []),
        ((2048, 2048), {"scale_drop": "2-2-8"}, []),
        ((2048, 2048), {}, ["scale drop 2-2-8 is ours: the paper gives one for 2 scales"]),
        (
            (1000, 1500),
            {"scale_drop": "2-2-8"},
            ["token grids padded to whole windows: 63x94 to 64x96, 16x24 to 16x32 (ours)"],
        ),
        ((512, 512), {"patch_size": 8}, ["patch 8: the paper's stem, cut short (ours)"]),
        (
            (512, 512),
            {"patch_size": 8, "composition": "conv", "communication": "none"},
            ["patch 8: the paper's stem, cut short (ours)"],
        ),
        ((1024, 1024), {"communication": "none"}, ["communication none: no pooling between scales either (ours)"]),
        ((1024, 1024), {"window_matching": "row_major"}, ["coarse windows matched row-major, as in the public code"]),
    ],
    ids=str,
)
def test_notes_say_what_is_padded_and_what_is_ours(
    size: tuple[int, int], options: dict[str, object], notes: list[str]
) -> None:
    with torch.device("meta"):
        built = build_atlas(resolution=Resolution(*size), embed_dim=16, num_heads=2, **options)  # type: ignore[arg-type]
    assert list(built.notes) == notes


@pytest.mark.parametrize("communication", ["none", "bottom_up", "top_down", "both"])
@pytest.mark.parametrize("composition", ["drop", "stack", "conv"])
@pytest.mark.parametrize("patch_size", [4, 8, 16])
def test_every_variant_runs_forward_and_backward(communication: str, composition: str, patch_size: int) -> None:
    side = 9 * patch_size + 1  # 10 x 10 tokens: padded at every scale
    model = tiny(
        side,
        communication=communication,
        composition=composition,
        patch_size=patch_size,
        depths=(1,) if composition == "stack" else (1, 1),
    ).train()
    logits = model(images(side))
    assert logits.shape == (2, 5)
    logits.sum().backward()
    assert model.stem.conv1.weight.grad is not None


@pytest.mark.parametrize(
    ("communication", "coarse_reads_fine", "fine_reads_coarse"),
    [("none", False, False), ("bottom_up", True, False), ("top_down", False, True), ("both", True, True)],
)
def test_communication_decides_which_scale_hears_of_which(
    communication: str, coarse_reads_fine: bool, fine_reads_coarse: bool
) -> None:
    model = tiny(128, communication=communication, depths=(1,)).double().eval()
    (block,) = model.stages[0].get_submodule("blocks")  # type: ignore[misc]
    plans = model._plan([(8, 8), (4, 4)], torch.device("cpu"))
    assert isinstance(block, MultiScaleBlock)
    fine, coarse = (torch.randn(1, side, side, 16, dtype=torch.float64, requires_grad=True) for side in (8, 4))
    new_fine, new_coarse = block([fine, coarse], plans)
    (heard,) = torch.autograd.grad(new_fine.sin().sum(), coarse, allow_unused=True, retain_graph=True)
    assert (heard is not None and bool(heard.any())) == fine_reads_coarse
    (heard,) = torch.autograd.grad(new_coarse.sin().sum(), fine, allow_unused=True)
    assert (heard is not None and bool(heard.any())) == coarse_reads_fine


def test_builder_arguments_are_keywords_with_the_small_model_as_default() -> None:
    parameters = inspect.signature(build_atlas).parameters
    assert all(p.kind is p.KEYWORD_ONLY for p in parameters.values())
    assert (parameters["embed_dim"].default, parameters["num_heads"].default) == (384, 6)
