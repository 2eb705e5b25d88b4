from __future__ import annotations

from dataclasses import replace

import pytest
from hand_made import ENVIRONMENT, failed, make_counts, make_measurement, make_record, make_timing

from atlasbench.analysis.roofline import find_roof, least_bytes_moved, read_roofline
from atlasbench.core.record import Status
from atlasbench.core.workload import Dtype, Mode

DEVICE = replace(ENVIRONMENT, matmul_flops_per_s={"bfloat16": 8e14, "float32": 5e13}, copy_bytes_per_s=4e12)
COUNTS = make_counts(flops=6_000, params=100, activation_bytes=300)


@pytest.mark.parametrize(
    ("dtype", "flops_per_s"),
    [(Dtype.BFLOAT16, 8e14), (Dtype.PURE_BFLOAT16, 8e14), (Dtype.FLOAT32, 5e13)],
)
def test_the_roof_is_that_of_the_arithmetic(dtype: Dtype, flops_per_s: float) -> None:
    roof = find_roof(DEVICE, dtype)

    assert roof is not None
    assert roof.flops_per_s == flops_per_s
    assert roof.ridge == pytest.approx(flops_per_s / 4e12)


def test_there_is_no_roof_where_a_limit_was_not_measured() -> None:
    assert find_roof(DEVICE, Dtype.FLOAT16) is None
    assert find_roof(replace(DEVICE, copy_bytes_per_s=None), Dtype.FLOAT32) is None
    assert find_roof(replace(DEVICE, matmul_flops_per_s={}), Dtype.FLOAT32) is None


@pytest.mark.parametrize(
    ("fields", "moved"),
    [
        ({}, 100 * 4 + 2 * 300),  # weights once; activations written and read
        ({"dtype": Dtype.BFLOAT16}, 100 * 4 + 2 * 300),  # autocast keeps its weights in float32
        ({"dtype": Dtype.PURE_BFLOAT16}, 100 * 2 + 2 * 300),
        ({"mode": Mode.TRAIN}, 3 * 100 * 4 + 5 * 300),
    ],
    ids=["infer", "autocast", "pure", "train"],
)
def test_bytes_are_weights_and_activations_as_rarely_as_a_step_allows(fields: dict[str, object], moved: float) -> None:
    assert least_bytes_moved(COUNTS, make_record(**fields).workload) == moved


def test_a_point_is_flops_per_byte_of_the_batch_and_flops_a_second_of_an_image() -> None:
    measurement = make_measurement(counts=COUNTS, timing=make_timing(2.0, spread=0.5))

    point = read_roofline(make_record(measurement=measurement, batch_size=4))

    assert point is not None
    assert point.x == pytest.approx(4 * 6_000 / 1_000)
    assert (point.low, point.y, point.high) == pytest.approx((8_000, 12_000, 24_000))


def test_what_was_not_timed_has_no_point() -> None:
    assert read_roofline(make_record(measurement=failed(Status.OOM, "too large"))) is None
    assert read_roofline(make_record(measurement=make_measurement(counts=None))) is None


def test_what_moves_nothing_has_no_point() -> None:
    counts = make_counts(params=0, activation_bytes=0)

    assert read_roofline(make_record(measurement=make_measurement(counts=counts))) is None
