"""The probe sees when a timm model at a new resolution is another model, or looks at another image."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import atlasbench.models  # noqa: F401  # makes timm importable where torchvision's binary does not fit
from atlasbench.core.errors import UnsupportedError
from atlasbench.core.resolution import parse_resolution
from atlasbench.models.built import BuiltModel
from atlasbench.models.timm_backbones import build_timm_model


def build_on_meta(name: str, size: int | str, **arguments: Any) -> BuiltModel:
    with torch.device("meta"):
        return build_timm_model(name, resolution=parse_resolution(size), **arguments)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("maxvit_rmlp_pico_rw_256", {"img_size": 1024}),
        ("swinv2_cr_tiny_ns_224", {"img_size": 1024}),
        ("gcvit_xxtiny", {"img_size": 1024, "window_size": None}),
        ("nest_tiny", {}),
        ("nest_tiny", {"img_size": 1024}),
    ],
)
def test_windows_that_grow_with_the_image_are_refused(name: str, options: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedError, match=r"(window|partition|block)_size grows from \S+ at \d+ px to \d+x\d+"):
        build_on_meta(name, 1024, **options)


def test_a_silently_resized_image_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="resample the 960 px image"):
        build_on_meta("crossvit_9_240", 960, img_size=240)


def test_crossvit_is_taken_at_multiples_of_its_size_where_both_branches_scale() -> None:
    built = build_on_meta("crossvit_9_240", 480)

    assert built.options["img_size"] == [480, 480]
    assert any("for each position" in note for note in built.notes)


def test_an_image_size_that_a_model_does_not_survive_is_refused_with_its_reason() -> None:
    with pytest.raises(UnsupportedError, match=r"made for 408 px.* does not run at 960 px: .*3161"):
        build_on_meta("crossvit_15_dagger_408", 960, img_size=960)


@pytest.mark.parametrize(("size", "dropped"), [(1024, "2 rows and 2 columns"), ("1008x1024", "2 columns")])
def test_pixels_beyond_the_last_patch_are_refused(size: int | str, dropped: str) -> None:
    height, width = parse_resolution(size).height, parse_resolution(size).width
    options = {"img_size": [height, width], "dynamic_img_size": False, "dynamic_img_pad": False}

    with pytest.raises(UnsupportedError, match=f"ignores the last {dropped} of .* 14x14 patches"):
        build_on_meta("vit_small_patch14_dinov2", size, **options)


@pytest.mark.parametrize("name", ["convmixer_768_32", "pit_b_224"])
def test_patch_embeddings_that_ignore_pixels_are_refused_in_every_family(name: str) -> None:
    with pytest.raises(UnsupportedError, match="ignores the last 6 rows and 6 columns of a 1000 px image"):
        build_on_meta(name, 1000)


@pytest.mark.parametrize(
    ("name", "size", "note"),
    [
        ("vit_small_patch14_dinov2", 1024, "padded to 1036x1036"),
        ("vit_small_patch14_dinov2", "1008x1024", "padded to 1008x1036"),
        ("eva02_tiny_patch14_224", 1024, "padded to 1036x1036"),
        ("naflexvit_base_patch16_gap", 1000, "padded to 1008x1008"),
        ("vit_tiny_patch16_224", 1000, "padded to 1008x1008"),
    ],
)
def test_padding_of_the_image_is_noted(name: str, size: int | str, note: str) -> None:
    assert note in build_on_meta(name, size).notes


def test_padding_inside_convolutions_is_not_noted() -> None:
    assert build_on_meta("tf_efficientnetv2_b0", 1000).notes == ()


@pytest.mark.parametrize(
    ("name", "size", "note"),
    [
        ("convnext_atto", 1000, "drops the last row and column of a 125x125 map"),
        ("convnext_atto", "992x1000", "drops the last column of a 124x125 map"),
        ("inception_v4", 512, "drops the last row and column of a 512x512 map"),
    ],
)
def test_maps_that_lose_their_border_are_noted(name: str, size: int | str, note: str) -> None:
    assert any(found.startswith(note) for found in build_on_meta(name, size).notes)


@pytest.mark.parametrize(("name", "size"), [("convnext_atto", 1024), ("resnet18", 1000), ("inception_v4", 299)])
def test_maps_that_keep_their_border_are_not_noted(name: str, size: int) -> None:
    assert build_on_meta(name, size).notes == ()


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("hiera_tiny_224", "27.91", "33.90"),  # (256^2 - 56^2) positions of 96 channels more
        ("volo_d1_224", "26.63", "28.13"),  # (64^2 - 14^2) positions of 384 channels more
        ("vit_relpos_small_patch16_224", None, None),
        ("hiera_base_abswin_256", None, None),
        ("vit_tiny_patch16_224", None, None),
    ],
)
def test_weights_for_each_position_are_noted(name: str, before: str | None, after: str | None) -> None:
    grown = [note for note in build_on_meta(name, 1024).notes if "for each position" in note]

    expected = [f"learns weights for each position: {after} M parameters, {before} M at 224 px"]
    assert grown == (expected if before else [])


def test_windows_that_follow_the_grid_by_a_seventh_are_noted() -> None:
    built = build_on_meta("gcvit_xxtiny", 1024)

    assert built.options["window_size"] == [8, 8, 16, 8]
    assert "windows of 8x8 positions, natively 7x7" in built.notes


def test_native_windows_are_kept_where_they_fit() -> None:
    assert build_on_meta("gcvit_xxtiny", 896).options["window_size"] == [7, 7, 14, 7]
    assert "img_size" not in build_on_meta("maxvit_tiny_tf_224", 896).options


@pytest.mark.slow
def test_maxvit_takes_the_next_window_for_each_side() -> None:
    built = build_on_meta("maxvit_tiny_tf_224", "896x1280")

    assert built.options["img_size"] == [224, 256]
    assert "windows of 7x8 positions, natively 7x7" in built.notes


def test_recurrent_models_are_probed_without_running_their_steps() -> None:
    assert build_on_meta("sequencer2d_s", 1022).options == {"timm_name": "sequencer2d_s"}


@pytest.mark.parametrize("name", ["beit_base_patch16_224", "vit_relpos_small_patch16_224", "coatnet_0_rw_224"])
def test_a_global_attention_may_follow_the_image(name: str) -> None:
    assert build_on_meta(name, 512).options["img_size"] == [512, 512]


@pytest.mark.parametrize(
    ("name", "size", "arguments"),
    [
        ("resnet18", 300, {}),
        ("levit_128s", 512, {"img_size": [512, 512]}),
        ("convit_tiny", 512, {"img_size": [512, 512]}),
        ("davit_tiny", 1000, {}),
    ],
)
def test_families_outside_the_table_get_the_mildest_call_that_works(
    name: str, size: int, arguments: dict[str, Any]
) -> None:
    assert build_on_meta(name, size).options == {"timm_name": name, **arguments}


@pytest.mark.parametrize("name", ["efficientformer_l1", "hrnet_w18_small", "hiera_tiny_224", "dla34"])
def test_a_model_that_breaks_at_a_size_is_unsupported_with_one_line(name: str) -> None:
    with pytest.raises(UnsupportedError, match="1000 px") as caught:
        build_on_meta(name, 1000)
    assert len(str(caught.value).splitlines()) == 1
