from __future__ import annotations

import math

import pytest

from atlasbench.core.laws import Law, count_scales
from atlasbench.core.resolution import Resolution
from atlasbench.core.scales import token_grids


def test_laws_stand_in_order_of_growth() -> None:
    growth = [law.growth for law in Law]

    assert growth == sorted(growth)
    assert Law.LINEAR_LOG.growth == Law.MULTI_SCALE.growth


@pytest.mark.parametrize(
    ("law", "cost"),
    [
        (Law.LINEAR, 1),
        (Law.LINEAR_LOG, math.log(4096)),
        (Law.MULTI_SCALE, 256 * 2),
        (Law.POWER_1_5, 64),
        (Law.QUADRATIC, 4096),
    ],
)
def test_a_law_says_what_one_token_costs(law: Law, cost: float) -> None:
    assert law.per_token(4096) == pytest.approx(cost)


@pytest.mark.parametrize("side", [16, 256, 257, 512, 1024, 2048, 4096, 8192, 16384, 32768])
def test_scales_are_counted_as_square_grids_of_an_atlas_have_them(side: int) -> None:
    grids = token_grids(Resolution(side, side))

    assert count_scales(grids[0][0] * grids[0][1]) == len(grids)
