from __future__ import annotations

from typing import Any

import pytest

from atlasbench.core.errors import InvalidOptionError, InvalidWorkloadError, ScaleDropError
from atlasbench.core.recipe import ModelChoice, SweepRequest
from atlasbench.core.resolution import parse_resolution
from atlasbench.core.workload import Mode
from atlasbench.sweep.grid import expand_request, find_label


def request(*models: ModelChoice | str, res: tuple[Any, ...] = (1024,), **fields: Any) -> SweepRequest:
    return SweepRequest(models=models, resolutions=[parse_resolution(size) for size in res], **fields)


def test_every_combination_is_a_workload_with_models_outermost() -> None:
    workloads = expand_request(
        request("atlas_s", "vit_b", res=(64, 128), batch_sizes=(1, 2), modes=(Mode.INFER, Mode.TRAIN))
    )

    assert len(workloads) == 16
    assert [workload.model for workload in workloads] == ["atlas_s"] * 8 + ["vit_b"] * 8
    assert [str(workload.resolution) for workload in workloads[:8]] == ["64"] * 4 + ["128"] * 4


def test_what_is_named_twice_is_measured_once() -> None:
    workloads = expand_request(request("vit_b", "vit_b", res=(64, "64x64", "64x128")))

    assert [str(workload.resolution) for workload in workloads] == ["64", "64x128"]


@pytest.mark.parametrize(
    ("resolution", "expected"),
    [(16, "12"), (256, "12"), (257, "2-10"), (1024, "2-10"), (4096, "2-2-8"), (8192, "2-2-2-6"), ("64x4096", "2-2-8")],
)
def test_the_default_scale_drop_follows_the_number_of_scales(resolution: Any, expected: str) -> None:
    assert [workload.scale_drop for workload in expand_request(request("atlas_s", res=(resolution,)))] == [expected]


def test_several_scale_drops_are_used_where_they_fit() -> None:
    workloads = expand_request(request("atlas_s", res=(1024, 4096), scale_drops=("2-10", "2-2-8", "none")))

    assert [(str(workload.resolution), workload.scale_drop) for workload in workloads] == [
        ("1024", "2-10"),
        ("1024", "none"),
        ("4096", "2-2-8"),
        ("4096", "none"),
    ]


def test_models_without_scales_ignore_the_scale_drops_of_an_atlas_beside_them() -> None:
    workloads = expand_request(request("vit_b", "atlas_s", scale_drops=("2-10", "none")))

    assert [(workload.model, workload.scale_drop) for workload in workloads] == [
        ("vit_b", ""),
        ("atlas_s", "2-10"),
        ("atlas_s", "none"),
    ]


def test_a_scale_drop_is_refused_when_no_model_has_scales() -> None:
    with pytest.raises(ScaleDropError, match="vit_b, swin_t has none: leave it out"):
        expand_request(request("vit_b", "swin_t", scale_drops=("2-10",)))


def test_a_scale_drop_that_fits_no_resolution_is_refused_with_the_scales_there() -> None:
    with pytest.raises(ScaleDropError) as caught:
        expand_request(request("atlas_s", res=(1024, 4096), scale_drops=("2-10", "2-2-8", "12")))

    assert str(caught.value) == (
        "Scale drop 12 does not fit: atlas_s has 2 scales at 1024 px, 3 scales at 4096 px. "
        "Give one entry for each scale, or none."
    )


def test_a_resolution_that_is_left_with_no_scale_drop_is_refused_with_its_scales() -> None:
    with pytest.raises(ScaleDropError) as caught:
        expand_request(request("atlas_s", res=(1024, 8192), scale_drops=("2-10",)))

    assert str(caught.value) == (
        "atlas_s has 4 scales at 8192 px, and no scale drop given (2-10) fits. Give one entry for each scale, or none."
    )


def test_the_options_of_a_model_decide_its_scales() -> None:
    options = {"window_size": 8, "downsample_stride": 2}

    workloads = expand_request(request("atlas", res=(512,), options=options, scale_drops=("2-2-8",)))

    assert workloads[0].scale_drop == "2-2-8"


@pytest.mark.parametrize("options", [{"depths": [2, 2]}, {"composition": "conv"}], ids=str)
def test_options_that_fix_the_stages_take_no_scale_drop(options: dict[str, Any]) -> None:
    assert [item.scale_drop for item in expand_request(request("atlas", options=options))] == [""]
    with pytest.raises(ScaleDropError, match="exclude each other"):
        expand_request(request("atlas", options=options, scale_drops=("2-10",)))


def test_a_stack_has_all_scales_in_every_block() -> None:
    assert expand_request(request("atlas_s", options={"composition": "stack"}))[0].scale_drop == "none"


@pytest.mark.parametrize("value", ["abc", 0, -16, 2.5, True, None, [8]], ids=repr)
def test_an_option_that_decides_the_scales_must_be_a_whole_number(value: Any) -> None:
    with pytest.raises(InvalidOptionError, match="window_size is a whole number of at least 1, got"):
        expand_request(request("atlas_s", options={"window_size": value}))


def test_an_image_smaller_than_a_patch_is_refused() -> None:
    with pytest.raises(InvalidWorkloadError, match="8 px is smaller than one patch: give at least 16 px"):
        expand_request(request("atlas_s", res=(1024, 8)))


def test_a_request_needs_a_model() -> None:
    with pytest.raises(InvalidWorkloadError, match="Name at least one model"):
        expand_request(request())


@pytest.mark.parametrize("batch_size", [0, -1, 1.5, True, "2"], ids=repr)
def test_a_batch_is_a_whole_number_of_images(batch_size: Any) -> None:
    with pytest.raises(InvalidWorkloadError, match="A batch size is a whole number of at least 1, got"):
        expand_request(request("vit_b", batch_sizes=(batch_size,)))


def test_models_bring_options_and_scale_drops_of_their_own() -> None:
    models = (
        ModelChoice(name="atlas_s", scale_drops=("none",)),
        ModelChoice(name="atlas_s", options={"composition": "conv"}),
        ModelChoice(name="atlas_s", options={"window_size": 64}),
        "vit_b",
    )

    workloads = expand_request(request(*models, options={"patch_size": 8}))

    assert [(item.model, item.options, item.scale_drop) for item in workloads] == [
        ("atlas_s", {"patch_size": 8}, "none"),
        ("atlas_s", {"patch_size": 8, "composition": "conv"}, ""),
        ("atlas_s", {"patch_size": 8, "window_size": 64}, "2-10"),
        ("vit_b", {"patch_size": 8}, ""),
    ]


def test_a_model_without_scales_takes_no_scale_drop_of_its_own() -> None:
    with pytest.raises(ScaleDropError) as caught:
        expand_request(request("atlas_s", ModelChoice(name="vit_b", scale_drops=("2-10",))))

    assert str(caught.value) == "vit_b has no scales: leave its scale_drops out."


def test_every_workload_has_the_label_of_its_own_choice() -> None:
    models = (
        ModelChoice(name="atlas_s", label="stack", scale_drops=("none",)),
        ModelChoice(name="atlas_s", label="usual"),
        ModelChoice(name="atlas_s", label="small windows", options={"window_size": 8}),
        ModelChoice(name="atlas_s", label="late", scale_drops=("2-10", "2-2-8")),
        "vit_b",
    )
    asked = request(*models, res=(1024, 4096), modes=(Mode.INFER, Mode.TRAIN))

    labels = {(item.scale_drop, str(item.options)): find_label(asked, item) for item in expand_request(asked)}

    assert labels == {
        ("none", "{}"): "stack",
        ("2-10", "{}"): "usual",
        ("2-2-8", "{}"): "usual",
        ("2-2-8", "{'window_size': 8}"): "small windows",
        ("2-2-2-6", "{'window_size': 8}"): "small windows",
        ("", "{}"): "vit_b",
    }
