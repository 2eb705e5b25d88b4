from pathlib import Path

import pytest
import torch

import atlasbench
from atlasbench.core.errors import InvalidOptionError, InvalidWorkloadError, UnknownModelError
from atlasbench.core.resolution import Resolution
from atlasbench.models.factory import build_model


@pytest.fixture(autouse=True)
def _without_data():
    with torch.device("meta"):
        yield


def test_the_default_resolution_is_1024() -> None:
    assert atlasbench.create_model("atlas_ti").scale_drop == "2-10"


@pytest.mark.parametrize("resolution", [512, (512, 512), [512, 512], "512", "512x512", Resolution(512, 512)])
def test_a_resolution_may_be_a_number_a_pair_or_text(resolution) -> None:
    assert atlasbench.create_model("atlas_ti", resolution=resolution).num_scales == 2


def test_img_size_means_resolution() -> None:
    assert atlasbench.create_model("atlas_ti", img_size=2048).num_scales == 3


def test_img_size_and_resolution_together_are_refused() -> None:
    with pytest.raises(InvalidOptionError, match="give one of them"):
        atlasbench.create_model("atlas_ti", img_size=512, resolution=512)


@pytest.mark.parametrize(("name", "classes"), [("atlas_ti", 100), ("vit_ti", 1000)])
def test_the_number_of_classes_is_the_models_own_unless_given(name: str, classes: int) -> None:
    image = torch.empty(2, 3, 224, 224)
    assert atlasbench.create_model(name, resolution=224)(image).shape == (2, classes)
    assert atlasbench.create_model(name, resolution=224, num_classes=7)(image).shape == (2, 7)


def test_an_unknown_name_is_refused_with_the_closest() -> None:
    with pytest.raises(UnknownModelError, match=r"Unknown model 'atlas_z'. Did you mean 'atlas_") as caught:
        atlasbench.create_model("atlas_z")
    assert "'atlas_s'" in str(caught.value)


def test_an_unknown_option_is_refused_with_those_there_are() -> None:
    with pytest.raises(
        InvalidOptionError, match=r"atlas_ti does not take the option 'widnow_size'. It takes: .*window_"
    ):
        atlasbench.create_model("atlas_ti", widnow_size=8)


def test_a_scale_drop_may_be_numbers_or_text() -> None:
    assert atlasbench.create_model("atlas_ti", resolution=1024, scale_drop=(1, 2)).scale_drop == "1-2"
    assert atlasbench.create_model("atlas_ti", resolution=1024, scale_drop="none").scale_drop == "none"


def test_a_model_without_scales_refuses_a_scale_drop() -> None:
    with pytest.raises(InvalidOptionError, match="has no scales"):
        atlasbench.create_model("vit_ti", resolution=224, scale_drop="2-10")


def test_options_that_equal_the_default_are_left_out_of_the_record() -> None:
    built = build_model(
        "atlas_ti", resolution=Resolution(512, 512), options={"window_size": 16, "patch_size": 8, "embed_dim": 192}
    )
    assert built.options == {"patch_size": 8}


@pytest.mark.parametrize("name", ["atlas_ti", "vit_ti", "swin_t", "convnext_t", "resnet18"])
def test_building_again_with_the_recorded_options_gives_the_same_model(name: str) -> None:
    resolution = Resolution(512, 640)
    first = build_model(name, resolution=resolution, options={"num_classes": 5})
    again = build_model(name, resolution=resolution, options=first.options, probe=False)
    assert again.options == first.options
    shapes = [{key: value.shape for key, value in built.model.state_dict().items()} for built in (first, again)]
    assert shapes[0] == shapes[1]


def test_timm_knows_our_names() -> None:
    import timm

    model = timm.create_model("atlas_s", img_size=2048, num_classes=3)
    assert type(model).__name__ == "Atlas"
    assert (model.num_scales, model.num_classes, model.num_features) == (3, 3, 384)
    assert "atlas_b" in timm.list_models("atlas*")


def test_timm_is_told_that_there_are_no_pretrained_weights() -> None:
    import timm

    with pytest.raises(InvalidOptionError, match="no pretrained weights for atlas_s"):
        timm.create_model("atlas_s", pretrained=True)


USER_FILE = """
from torch import nn

def build(resolution, width=4):
    return nn.Sequential(nn.Conv2d(3, width, 3, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten())

def broken():
    return "no module"
"""


def test_a_function_in_a_users_file_is_a_model(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(USER_FILE)
    built = build_model(f"{path}:build", resolution=Resolution(32, 32), options={"width": 6})
    assert built.model(torch.empty(1, 3, 32, 32)).shape == (1, 6)
    assert built.options["width"] == 6
    path.write_text(USER_FILE + "# edited")
    edited = build_model(f"{path}:build", resolution=Resolution(32, 32), options=built.options)
    assert edited.options["source_sha256"] != built.options["source_sha256"]


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("{}:nope", "has no function 'nope'"),
        ("{}:broken", r"must return a torch.nn.Module, not str"),
        ("missing.py:build", "there is no file 'missing.py'"),
    ],
)
def test_a_users_file_that_does_not_give_a_model_is_refused(tmp_path: Path, target: str, message: str) -> None:
    path = tmp_path / "mine.py"
    path.write_text(USER_FILE)
    with pytest.raises(InvalidOptionError, match=message):
        build_model(target.format(path), resolution=Resolution(32, 32), options={})


@pytest.mark.parametrize("word", ["resolution", "img_size"])
def test_a_resolution_of_nothing_is_refused_and_not_taken_for_the_default(word: str) -> None:
    with pytest.raises(InvalidWorkloadError, match="at least 1 pixel"):
        atlasbench.create_model("atlas_ti", **{word: 0})


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("faster_vit_0_224", "fastervit_0"),
        ("faster_vit_4_21k_384", "fastervit_4_21k_384"),
        ("mamba_vision_T", "mambavision_t"),
        ("LongViT_small", "longvit_s"),
        ("atlas-b", "atlas_b"),
    ],
)
def test_a_papers_spelling_is_answered_with_the_name_here_first(typed: str, meant: str) -> None:
    with pytest.raises(UnknownModelError, match=f"Did you mean '{meant}'"):
        atlasbench.create_model(typed)
