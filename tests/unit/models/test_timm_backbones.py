"""timm models keep their identity at new resolutions: the calls, their counts, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import atlasbench.models  # noqa: F401  # makes timm importable where torchvision's binary does not fit
from atlasbench.core.errors import InvalidOptionError, UnknownModelError, UnsupportedError
from atlasbench.core.resolution import Resolution, parse_resolution
from atlasbench.models.built import BuiltModel
from atlasbench.models.timm_backbones import build_timm_model, native_resolution

# GFLOP (2 per MAC, 1000 classes) and millions of parameters, counted with torch's own counter on the meta device.
COUNTS = [
    ("vit_small_patch16_224", 1024, 485.8, 22.05),
    ("vit_small_patch16_224", 2048, 5653.9, 22.05),
    ("swin_small_patch4_window7_224", 1024, 386.6, 49.6),
    ("swin_small_patch4_window7_224", 4096, 5898.4, 49.6),
    ("convnext_small", 1024, 362.9, 50.2),
    ("mambaout_small", 2048, 1493.4, 48.5),
    ("maxvit_tiny_tf_512", 1024, 263.7, 31.05),
    ("maxxvit_rmlp_small_rw_256", 1024, 466.8, 66.0),
    ("efficientvit_m5", 4096, 332.6, 12.5),
    ("tiny_vit_21m_512", 1024, 215.1, 21.3),
    ("halonet50ts", 1024, 168.6, 22.7),
    ("xcit_small_24_p16_224", 1024, 378.5, 47.7),
    ("resnet50", 4096, 2733.2, 25.6),
    ("vit_base_patch16_dinov3", 1024, 1321.5, 86.4),
]
SLOW_COUNTS = [
    ("swinv2_base_window8_256", 2048, 2595.3, 87.9),
    ("swinv2_base_window16_256", 2048, 2788.9, 87.9),
    ("swin_s3_base_224", 2048, 2436.0, 71.1),
    ("swinv2_cr_base_224", 2048, 2650.0, 87.9),
    ("maxvit_base_tf_224", 1024, 1005.4, 119.5),
    ("gcvit_base", 2048, 2533.0, 94.7),
    ("coatnet_rmlp_2_rw_384", 1024, 1079.6, 73.9),
    ("volo_d3_224", 2048, 18674.0, 94.6),
    ("hiera_base_224", 1024, 778.3, 57.5),
    ("crossvit_base_240", 960, 1191.8, 109.6),
    ("sam2_hiera_base_plus", 1024, 638.1, 69.6),
    ("vit_base_patch16_siglip_512", 1024, 1328.8, 94.3),
    ("vit_pe_core_base_patch16_224", 1024, 1329.3, 93.7),
    ("pvt_v2_b5", 1024, 798.5, 82.0),
    ("mvitv2_base", 2048, 17980.0, 51.5),
]


def build_on_meta(name: str, size: int | str, **arguments: Any) -> BuiltModel:
    with torch.device("meta"):
        return build_timm_model(name, resolution=parse_resolution(size), **arguments)


def count_gflop(built: BuiltModel, size: int) -> float:
    model = built.model.eval().requires_grad_(False)
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        model(torch.empty(1, 3, size, size, device="meta"))
    return counter.get_total_flops() / 1e9


def count_millions(built: BuiltModel) -> float:
    return sum(parameter.numel() for parameter in built.model.parameters()) / 1e6


@pytest.mark.parametrize(
    ("name", "size", "gflop", "millions"),
    [*COUNTS, *(pytest.param(*row, marks=pytest.mark.slow) for row in SLOW_COUNTS)],
)
def test_honest_calls_count_what_the_model_does(name: str, size: int, gflop: float, millions: float) -> None:
    built = build_on_meta(name, size)

    assert count_gflop(built, size) == pytest.approx(gflop, rel=0.005)
    assert count_millions(built) == pytest.approx(millions, rel=0.005)


@pytest.mark.parametrize(
    ("name", "size", "gflop", "options"),
    [
        ("swinv2_cr_base_224", 1024, 650.1, {"img_size": 1024, "window_size": 8}),
        ("swin_base_patch4_window7_224", 1024, 648.8, {"img_size": 1024, "window_size": [8, 8]}),
        pytest.param("gcvit_base", 1024, 632.9, {"window_size": [8, 8, 16, 8]}, marks=pytest.mark.slow),
        pytest.param("maxvit_base_tf_224", 2048, 4021, {"img_size": 256}, marks=pytest.mark.slow),
    ],
)
def test_windows_that_the_user_names_are_kept(name: str, size: int, gflop: float, options: dict[str, Any]) -> None:
    built = build_on_meta(name, size, **options)

    assert count_gflop(built, size) == pytest.approx(gflop, rel=0.005)
    assert options.items() <= built.options.items()


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("vit_tiny_patch16_224", "320x512"),
        ("swin_tiny_patch4_window7_224", "320x512"),
        ("maxvit_rmlp_pico_rw_256", "256x512"),
        ("gcvit_xxtiny", 768),
        ("hiera_tiny_224", 512),
        ("levit_128s", 512),
        ("naflexvit_base_patch16_gap", 1000),
        ("resnet18", "300x500"),
    ],
)
def test_a_records_options_build_the_same_model_again(name: str, size: int | str) -> None:
    built = build_on_meta(name, size, num_classes=7)
    options = json.loads(json.dumps(dict(built.options)))
    again = build_on_meta(options.pop("timm_name"), size, **options)
    unprobed = build_on_meta(name, size, probe=False, **options)

    assert again.options == unprobed.options == built.options
    assert again.notes == built.notes
    shapes = [{key: value.shape for key, value in b.model.state_dict().items()} for b in (built, again, unprobed)]
    assert shapes[0] == shapes[1] == shapes[2]
    assert built.model.num_classes == 7


def test_models_are_built_on_the_current_device_and_run() -> None:
    built = build_timm_model("vit_tiny_patch16_224", resolution=Resolution(40, 56))

    assert built.model(torch.zeros(1, 3, 40, 56)).shape == (1, 1000)
    assert built.model.training
    assert all(parameter.requires_grad for parameter in built.model.parameters())
    assert built.notes == ("padded to 48x64",)


def test_a_probe_leaves_a_model_as_it_was_built() -> None:
    built = build_on_meta("resnet18", 64)

    assert built.model.training
    assert all(parameter.requires_grad for parameter in built.model.parameters())


@pytest.mark.parametrize(("num_classes", "outputs"), [(None, 1000), (1000, 1000), (10, 10)])
def test_classes_default_to_1000_even_without_a_pretrained_head(num_classes: int | None, outputs: int) -> None:
    built = build_on_meta("vit_small_patch16_dinov3", 64, num_classes=num_classes)

    assert built.model(torch.empty(1, 3, 64, 64, device="meta")).shape == (1, outputs)
    assert ("num_classes" in built.options) == (num_classes == 10)


def test_a_pretrained_tag_changes_nothing() -> None:
    tagged = build_on_meta("vit_tiny_patch16_224.augreg_in21k", 64)

    assert tagged.options == build_on_meta("vit_tiny_patch16_224", 64).options
    assert tagged.model.num_classes == 1000


def test_a_wrong_name_gets_suggestions() -> None:
    with pytest.raises(UnknownModelError, match="Did you mean 'convnext_tiny'"):
        build_on_meta("convnext_tinyy", 64)


@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("resnet18", {"img_size": 64}),
        ("resnet18", {"depht": 3}),
        ("caformer_s18", {"foo": 1}),
        ("maxvit_rmlp_pico_rw_256", {"foo": 1}),
        ("levit_128s", {"foo": 1}),
        ("efficientnet_b0", {"window_size": 7}),
        ("vit_tiny_patch16_224", {"window_size": 7}),
        ("resnet18", {"pretrained": True}),
        ("resnet18", {"features_only": True}),
        ("resnet18", {"in_chans": 4}),
    ],
)
def test_an_option_that_a_model_does_not_take_is_named(name: str, option: dict[str, Any]) -> None:
    with pytest.raises(InvalidOptionError, match=next(iter(option))):
        build_on_meta(name, 64, **option)


@pytest.mark.parametrize("options", [{"embed_dim": 7}, {"img_size": "large"}, {"depth": [1, 2]}])
def test_a_value_that_a_model_does_not_take_is_named(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidOptionError, match=next(iter(options))):
        build_on_meta("vit_tiny_patch16_224", 64, **options)


@pytest.mark.parametrize(
    ("name", "height", "width"),
    [
        ("vit_base_patch14_dinov2", 518, 518),
        ("crossvit_9_240", 240, 240),
        ("swinv2_tiny_window8_256.ms_in1k", 256, 256),
    ],
)
def test_native_resolutions_are_those_of_timm(name: str, height: int, width: int) -> None:
    assert native_resolution(name) == Resolution(height, width)


def test_native_resolution_refuses_an_unknown_name() -> None:
    with pytest.raises(UnknownModelError):
        native_resolution("no_such_model")


@pytest.mark.parametrize(
    ("name", "size", "sizes"),
    [
        ("maxvit_tiny_tf_384", 1024, "768 or 1152"),
        ("maxvit_tiny_tf_512", "896x1280", "512x1024 or 1024x1536"),
        ("maxvit_rmlp_pico_rw_256", 100, "256 or 512"),
        ("crossvit_9_240", 1024, "960 or 1200"),
        ("vit_relpos_small_patch16_224", 1000, "992 or 1008"),
        ("convmixer_768_32", 1024, "1022 or 1029"),
        ("gcvit_xxtiny", 1000, "1024"),
    ],
)
def test_a_refusal_names_sizes_that_fit(name: str, size: int | str, sizes: str) -> None:
    with pytest.raises(UnsupportedError, match=sizes):
        build_on_meta(name, size)
