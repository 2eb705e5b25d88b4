from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

import matplotlib as mpl
import numpy as np
import pytest
from numpy.typing import NDArray

from atlasbench.core.record import PARTS
from atlasbench.report.figures.theme import DARK, LIGHT, Palette, Theme, number_variants, use_theme

Color = NDArray[np.float64]

# Machado, Oliveira and Fernandes, "A physiologically-based model for simulation of color vision deficiency" (2009),
# severity 1, on linear RGB.
VISIONS = {
    "normal": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}
LUMINANCE = np.array([0.2126, 0.7152, 0.0722])


def linear(color: str) -> Color:
    values = np.array([int(color[start : start + 2], 16) for start in (1, 3, 5)]) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def contrast(first: str, second: str) -> float:
    dark, light = sorted(float(linear(color) @ LUMINANCE) + 0.05 for color in (first, second))
    return light / dark


def lab(values: Color) -> Color:
    """CIE L*a*b* of linear RGB, in which equal distances look about equal."""
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = to_xyz @ np.clip(values, 0, 1) / np.array([0.9505, 1, 1.089])
    cubes = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * cubes[1] - 16, 500 * (cubes[0] - cubes[1]), 200 * (cubes[1] - cubes[2])])


def closest(colors: Iterable[str], vision: Color) -> float:
    seen = [lab(vision @ linear(color)) for color in colors]
    return min(float(np.linalg.norm(one - other)) for one, other in itertools.combinations(seen, 2))


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_text_and_names_stand_out_from_the_background(theme: Theme) -> None:
    assert contrast(theme.text, theme.background) >= 7
    assert contrast(theme.muted, theme.background) >= 4.5
    assert min(contrast(color, theme.background) for color in theme.models) >= 4.5


@pytest.mark.parametrize("vision", VISIONS)
@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_colours_of_models_stay_apart_in_every_vision(theme: Theme, vision: str) -> None:
    # 2.3 is just noticeable side by side; lines of a plot are thin and apart.
    assert closest(theme.models, VISIONS[vision]) >= 14


@pytest.mark.parametrize("vision", VISIONS)
@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_parts_that_touch_stay_apart_in_every_vision(theme: Theme, vision: str) -> None:
    for pair in itertools.pairwise(theme.part_color(part) for part in PARTS):
        assert closest(pair, VISIONS[vision]) >= 14, pair


def test_colour_and_line_tell_thirty_two_models_apart() -> None:
    palette = Palette(models=tuple(f"model_{number}" for number in range(32)))

    for theme in (LIGHT, DARK):
        looks = {(palette.color(model, theme), palette.dashes(model)) for model in palette.models}
        assert len(looks) == 32
    assert len({palette.dashes(model) for model in palette.models[:4]}) == 4


def test_curves_of_one_model_share_its_colour_and_differ_in_their_lines() -> None:
    palette = Palette(models=("atlas_s", "vit_s"))

    lines: Sequence[object] = [palette.dashes("atlas_s", variant) for variant in range(4)]
    assert len(set(lines)) == 4
    assert number_variants(["atlas_s", "vit_s", "atlas_s", "atlas_s"]) == [0, 0, 1, 2]


def test_settings_of_the_user_neither_matter_nor_change() -> None:
    with mpl.rc_context({"axes.grid": False, "font.size": 31.0}):
        before = dict(mpl.rcParams)
        with use_theme(LIGHT):
            assert mpl.rcParams["font.size"] == LIGHT.font_pt
            assert mpl.rcParams["axes.grid"]
        assert dict(mpl.rcParams) == before
