from __future__ import annotations

from dataclasses import replace

import pytest
from hand_made import failed, make_counts, make_measurement, make_record, timed

from atlasbench.analysis.points import (
    image_side,
    read_attention_flops,
    read_curves,
    read_flops,
    read_images_per_s,
    read_measured_peak,
    read_predicted_peak,
    read_time_per_image,
)
from atlasbench.analysis.series import Series
from atlasbench.core.kinds import Kind
from atlasbench.core.record import Memory, Status
from atlasbench.core.resolution import Resolution, parse_resolution


def test_time_per_image_is_the_step_over_its_images_with_its_interval() -> None:
    point = read_time_per_image(make_record(measurement=timed(0.8, spread=0.25), batch_size=8))

    assert point is not None
    assert (point.y, point.low, point.high) == pytest.approx((0.1, 0.075, 0.125))
    assert (point.x, point.kind, point.is_settled) == (1024, Kind.MEASURED, True)


def test_images_per_second_turn_the_interval_round() -> None:
    point = read_images_per_s(make_record(measurement=timed(0.5, spread=0.2), batch_size=4))

    assert point is not None
    assert (point.low, point.y, point.high) == pytest.approx((4 / 0.6, 8, 4 / 0.4))


@pytest.mark.parametrize("flag", ["not_converged", "few_samples", "drifting"])
def test_a_time_that_did_not_settle_says_so(flag: str) -> None:
    point = read_time_per_image(make_record(measurement=timed(0.5, flags=(flag,))))

    assert point is not None
    assert not point.is_settled


def test_what_ran_without_its_fast_kernel_says_so_and_its_counts_do_not() -> None:
    record = make_record("mambavision_t", measurement=make_measurement(kernels={"scan": "pytorch"}))

    for read, is_fallback in (
        (read_time_per_image, True),
        (read_images_per_s, True),
        (read_measured_peak, True),
        (read_flops, False),
        (read_predicted_peak, False),
    ):
        point = read(record)
        assert point is not None
        assert point.is_fallback is is_fallback


@pytest.mark.parametrize("status", [Status.OOM, Status.ERROR, Status.TIMEOUT])
def test_what_failed_has_counts_and_a_prediction_and_nothing_measured(status: Status) -> None:
    record = make_record(measurement=failed(status, "reason"))

    assert read_flops(record) is not None
    assert read_predicted_peak(record) is not None
    assert read_time_per_image(record) is None
    assert read_images_per_s(record) is None
    assert read_measured_peak(record) is None


def test_nothing_is_read_where_nothing_was_counted() -> None:
    record = make_record(measurement=failed(Status.ERROR, "reason", counts=None))

    for read in (read_flops, read_attention_flops, read_time_per_image, read_measured_peak, read_predicted_peak):
        assert read(record) is None


def test_a_model_without_attention_has_no_point_on_a_logarithmic_axis() -> None:
    counts = make_counts(flops_by_part={"stem": 5, "attention": 0})

    assert read_attention_flops(make_record("convnext_b", measurement=make_measurement(counts=counts))) is None


def test_a_peak_on_meta_is_predicted_and_not_measured() -> None:
    memory = Memory(peak_bytes=1000, method="predicted")
    record = make_record(device="meta", measurement=make_measurement(memory=memory, timing=None))

    point = read_predicted_peak(record)
    assert point is not None
    assert (point.y, point.kind) == (205_000_000, Kind.PREDICTED)
    assert read_measured_peak(record) is None


def test_a_peak_on_a_device_is_measured() -> None:
    point = read_measured_peak(make_record())

    assert point is not None
    assert (point.y, point.kind) == (412_000_000, Kind.MEASURED)


def test_a_count_beyond_64_bits_can_be_drawn() -> None:
    point = read_flops(make_record(measurement=make_measurement(counts=make_counts(2**70))))

    assert point is not None
    assert isinstance(point.y, float)


def test_an_image_that_is_not_square_stands_at_the_square_of_as_many_pixels() -> None:
    assert image_side(Resolution(512, 2048)) == 1024


def test_a_series_without_a_number_has_no_curve() -> None:
    record = make_record(measurement=failed(Status.ERROR, "reason", counts=None))
    series = [
        Series(label="vit_b", machine="host", records=(record,)),
        Series(label="swin_b", machine="host", records=(make_record("swin_b", 512), make_record("swin_b", 1024))),
    ]

    (curve,) = read_curves(series, read_flops)

    assert (curve.model, curve.label) == ("swin_b", "swin_b")
    assert [point.x for point in curve.points] == [512, 1024]
    assert [point.resolution for point in curve.points] == [parse_resolution(512), parse_resolution(1024)]


def test_a_curve_is_marked_when_one_of_its_points_is() -> None:
    slow = make_record("mambavision_t", 512, measurement=make_measurement(kernels={"scan": "pytorch"}))
    fast = make_record("mambavision_t", 1024, measurement=make_measurement(kernels={"scan": "mamba_ssm"}))
    series = Series(label="mambavision_t", machine="host", records=(slow, fast))

    assert read_curves([series], read_time_per_image)[0].is_fallback
    assert not read_curves([replace(series, records=(fast,))], read_time_per_image)[0].is_fallback
