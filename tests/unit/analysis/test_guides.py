from __future__ import annotations

import pytest

from atlasbench.analysis.guides import fit_pixel_exponent, growth_guides
from atlasbench.analysis.points import Curve, Point
from atlasbench.core.kinds import Kind


def curve(values: dict[float, float], model: str = "vit_b") -> Curve:
    points = tuple(Point(x=side, y=value, kind=Kind.COUNTED) for side, value in values.items())
    return Curve(model=model, label=model, points=points)


def test_guides_start_at_the_lowest_first_point_and_end_at_the_largest_size() -> None:
    guides = growth_guides([curve({512: 30.0, 1024: 40.0}), curve({512: 10.0, 2048: 90.0}, "swin_b")])

    assert [guide.label for guide in guides] == ["N", "N K log_S N", "N²"]
    for guide in guides:
        assert (guide.x[0], guide.y[0]) == pytest.approx((512, 10.0))
        assert guide.x[-1] == pytest.approx(2048)
    linear, stepwise, quadratic = (guide.y[-1] / guide.y[0] for guide in guides)
    assert linear == pytest.approx(16)  # four times the side, sixteen times the tokens
    assert quadratic == pytest.approx(256)
    assert stepwise == pytest.approx(16 * 3 / 2)  # 512 px have two scales, 2048 px have three


def test_the_law_of_atlas_has_its_real_steps() -> None:
    (_, stepwise, _) = growth_guides([curve({64: 1.0, 8192: 2.0})])

    scales = [round(y / (x / 64) ** 2) for x, y in zip(stepwise.x, stepwise.y, strict=True)]

    assert sorted(set(scales)) == [1, 2, 3, 4]
    first = dict(reversed(list(zip(scales, stepwise.x, strict=True))))
    # A scale is added beyond one, four and sixteen windows of 16 tokens of 16 px.
    assert first[2] == pytest.approx(256, rel=0.05)
    assert first[3] == pytest.approx(1024, rel=0.05)
    assert first[4] == pytest.approx(4096, rel=0.05)


@pytest.mark.parametrize("values", [{512: 3.0}, {8: 1.0, 512: 3.0}])
def test_there_are_no_guides_for_one_size_and_none_below_a_patch(values: dict[float, float]) -> None:
    assert growth_guides([curve(values)]) == []


def test_the_exponent_is_against_pixels_not_against_the_side() -> None:
    exponent = fit_pixel_exponent(curve({side: side**4 for side in (256, 512, 1024)}))

    assert exponent is not None
    assert exponent.value == pytest.approx(2)
    assert fit_pixel_exponent(curve({512: 1.0})) is None
