"""Parameters and MACs of FasterViT against the published models' and closed forms, on the meta device."""

import math
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from atlasbench.core.resolution import Resolution, parse_resolution
from atlasbench.core.workload import Mode, Workload
from atlasbench.measure.count import count_built
from atlasbench.measure.dataless import build_without_data
from atlasbench.models.built import BuiltModel
from atlasbench.models.factory import build_model
from atlasbench.models.fastervit import FasterViT

POSITION = 512  # hidden width of position MLPs


def build_on_meta(name: str, size: object, **options: Any) -> BuiltModel:
    with torch.device("meta"):
        built = build_model(name, resolution=parse_resolution(size), options=options)  # type: ignore[arg-type]
    built.model.eval()
    return built


def count_parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def count_macs(model: nn.Module, size: object, batch_size: int = 1) -> int:
    resolution = parse_resolution(size)  # type: ignore[arg-type]
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.empty(batch_size, 3, resolution.height, resolution.width, device="meta"))
    return counter.get_total_flops() // 2


PUBLISHED = [
    ("fastervit_0", 224, 31_404_840, "3.492"),
    ("fastervit_1", 224, 53_366_696, "5.503"),
    ("fastervit_2", 224, 75_923_816, "8.975"),
    ("fastervit_3", 224, 159_547_944, "18.708"),
    ("fastervit_4", 224, 365_555_712, "43.228"),
    ("fastervit_5", 224, 957_520_552, "113.968"),
    ("fastervit_6", 224, 1_360_328_872, "143.994"),
    ("fastervit_4_21k_224", 224, 271_944_224, "41.590"),
    ("fastervit_4_21k_384", 384, 271_944_224, "126.565"),
    ("fastervit_4_21k_512", 512, 271_944_224, "234.091"),
    ("fastervit_4_21k_768", 768, 271_944_224, "585.098"),
    ("fastervit_0", (576, 960), 30_609_192, "43.19"),
    ("fastervit_1", (576, 960), 52_043_688, "69.59"),
    ("fastervit_2", (541, 960), 74_338_664, "102.37"),
    ("fastervit_3", (576, 960), 156_383_784, "237.18"),
    ("fastervit_4", (576, 960), 360_720_384, "551.18"),
    ("fastervit_5", (576, 960), 949_637_800, "1459.67"),
    ("fastervit_6", (576, 960), 1_349_818_536, "1878.08"),
    ("fastervit_4_21k_224", (576, 960), 271_944_224, "546.74"),
    ("fastervit_4_21k_384", (576, 960), 271_944_224, "641.86"),
    ("fastervit_4_21k_512", (576, 960), 271_944_224, "768.58"),
    ("fastervit_4_21k_768", (576, 960), 271_944_224, "968.05"),
]
LARGE = [
    ("fastervit_0", 1024, {}, "78.969"),
    ("fastervit_0", 2048, {}, "308.998"),
    ("fastervit_0", 4096, {}, "1250.507"),
    ("fastervit_4", 1024, {}, "1010.803"),
    ("fastervit_4", 2048, {}, "3869.359"),
    ("fastervit_4", 4096, {}, "15216.027"),
    ("fastervit_0", 1024, {"window_size": (7, 7, 8, 8)}, "70.342"),
    ("fastervit_0", 2048, {"window_size": (7, 7, 8, 8)}, "283.329"),
    ("fastervit_0", 4096, {"window_size": (7, 7, 8, 8)}, "1171.522"),
    ("fastervit_0", 1024, {"window_size": (7, 7, 16, 8)}, "70.755"),
    ("fastervit_0", 2048, {"window_size": (7, 7, 16, 8)}, "282.190"),
    ("fastervit_0", 4096, {"window_size": (7, 7, 16, 8)}, "1130.196"),
    ("fastervit_0", 1120, {}, "84.986"),
    ("fastervit_4", 1120, {}, "1072.387"),
    ("fastervit_0", 4032, {}, "1176.228"),
    ("fastervit_4", 4032, {}, "14359.256"),
]


def rounded(macs: int, shown: str) -> str:
    return f"{macs / 1e9:.{len(shown.partition('.')[2])}f}"


@pytest.mark.parametrize(
    ("name", "size", "parameters", "gigamacs"),
    [
        # The widest and deepest take most of the time and repeat the others' arithmetic.
        pytest.param(*row, marks=pytest.mark.slow if row[0] in ("fastervit_5", "fastervit_6") else ())
        for row in PUBLISHED
    ],
    ids=str,
)
def test_published_models_have_their_parameters_and_macs(
    name: str, size: object, parameters: int, gigamacs: str
) -> None:
    model = build_on_meta(name, size).model
    assert count_parameters(model) == parameters
    assert rounded(count_macs(model, size), gigamacs) == gigamacs


@pytest.mark.parametrize(("name", "size", "options", "gigamacs"), LARGE, ids=str)
def test_large_images_cost_what_the_public_code_costs(
    name: str, size: int, options: dict[str, Any], gigamacs: str
) -> None:
    model = build_on_meta(name, size, **options).model
    assert rounded(count_macs(model, size), gigamacs) == gigamacs


def divide_up(length: int, divisor: int) -> int:
    return -(-length // divisor)


def level_form(model: FasterViT, level: int, height: int, width: int) -> tuple[int, int]:
    """Parameters and MACs of the blocks and carriers of a window level; all counts by the closed forms."""
    options = model.options
    k, c, h = options.window_size[level], options.ct_size, options.num_heads[level]
    C, K, m = options.width(level), k * k, c * c
    rows, columns = (divide_up(divide_up(side, 4 << level), k) for side in (height, width))
    N, M = rows * columns * K, rows * columns * m
    q, depth = math.isqrt(M), options.depths[level]
    scale = 2 * C if options.layer_scale is not None else 0
    parameters = 12 * C * C + 13 * C + 3072 + POSITION * (C + h) + scale
    if not (options.hat[level] and rows * columns > 1):
        macs = 12 * C * C * N + 2 * C * N * K + POSITION * ((2 + C) * K + (2 + h) * (2 * k - 1) ** 2)
        return depth * parameters, depth * macs
    positions = K + (M if rows == columns else 0)
    macs = (
        12 * C * C * (N + 2 * M)
        + 2 * C * ((N + M) * (K + m) + M * M)
        + POSITION * ((2 + C) * positions + (2 + h) * ((2 * k - 1) ** 2 + (2 * q - 1) ** 2))
    )
    missing = 0 if rows == columns else 1536 + POSITION * C
    return depth * (2 * parameters - missing) + 10 * C, depth * macs + 9 * C * N


def closed_form(model: FasterViT, size: object, classes: int = 1000) -> tuple[int, int]:
    """Parameters and MACs of a whole model with an MLP ratio of 4."""
    options, resolution = model.options, parse_resolution(size)  # type: ignore[arg-type]
    D, stem = options.dim, options.in_dim

    def area(stride: int) -> int:
        return divide_up(resolution.height, stride) * divide_up(resolution.width, stride)

    parameters = 29 * stem + 9 * stem * D + 2 * D + 16 * D + 8 * D * classes + classes
    macs = 27 * stem * area(2) + 9 * stem * D * area(4) + 8 * D * classes
    for level in range(4):
        C = options.width(level)
        if level < 2:
            parameters += options.depths[level] * (18 * C * C + 6 * C)
            macs += options.depths[level] * 18 * C * C * area(4 << level)
        else:
            own = level_form(model, level, resolution.height, resolution.width)
            parameters, macs = parameters + own[0], macs + own[1]
        if level < 3:
            parameters += 18 * C * C + 2 * C
            macs += 18 * C * C * area(8 << level)
    return parameters, macs


@pytest.mark.parametrize(
    ("name", "size", "options"),
    [
        ("fastervit_0", 224, {}),
        ("fastervit_0", 1024, {}),
        ("fastervit_0", 4096, {}),
        ("fastervit_0", (576, 960), {}),
        ("fastervit_0", (331, 777), {}),
        ("fastervit_0", 112, {}),
        ("fastervit_0", 17, {}),
        ("fastervit_3", 512, {}),
        ("fastervit_4_21k_224", 1000, {}),
        ("fastervit", (300, 1700), {"ct_size": 1, "hat": (False, False, True, True)}),
        ("fastervit", 500, {"ct_size": 3, "window_size": (7, 7, 9, 5), "hat": (False, False, True, True)}),
        ("fastervit", (230, 345), {"dim": 16, "in_dim": 8, "num_heads": (1, 1, 4, 2)}),
    ],
    ids=str,
)
def test_parameters_and_macs_are_the_closed_forms_to_the_last_one(
    name: str, size: object, options: dict[str, Any]
) -> None:
    model = build_on_meta(name, size, **options).model
    assert isinstance(model, FasterViT)
    parameters, macs = closed_form(model, size)
    assert count_parameters(model) == parameters
    assert count_macs(model, size) == macs
    assert count_macs(model, size, 2) == 2 * macs - shared_macs(model, size)


def shared_macs(model: FasterViT, size: object) -> int:
    """MACs of position MLPs, which a batch shares."""
    resolution = parse_resolution(size)  # type: ignore[arg-type]
    shared = 0
    for level in (2, 3):
        options = model.options
        k, h, C = options.window_size[level], options.num_heads[level], options.width(level)
        rows, columns = (divide_up(divide_up(side, 4 << level), k) for side in (resolution.height, resolution.width))
        each = (2 + C) * k * k + (2 + h) * (2 * k - 1) ** 2
        if options.hat[level] and rows * columns > 1:
            M = rows * columns * options.ct_size**2
            each += (2 + C) * M * (rows == columns) + (2 + h) * (2 * math.isqrt(M) - 1) ** 2
        shared += options.depths[level] * POSITION * each
    return shared


@pytest.mark.parametrize("mode", Mode)
def test_every_part_of_the_counts_is_its_own(mode: Mode) -> None:
    """Stem, projections, attention, MLPs and head by their closed forms; convolutions and positions are the rest."""
    size = 512
    resolution = Resolution(size, size)
    built = build_without_data(lambda: build_model("fastervit_0", resolution=resolution, options={}))
    counts, *_ = count_built(built, Workload(model="fastervit_0", resolution=resolution, mode=mode))
    parts = counts.flops_by_part
    # level 2: 5 x 5 windows of 7 on 35 x 35 tokens, 100 carriers; level 3: 3 x 3 windows on 21 x 21 tokens
    linear = 6 * 256**2 * (1225 + 2 * 100) + 5 * 512**2 * 441
    attention = 6 * 2 * 256 * ((1225 + 100) * 53 + 100**2) + 5 * 2 * 512 * 441 * 49
    expected = {
        "stem": 27 * 64 * 256**2 + 9 * 64 * 64 * 128**2,
        "projections": 4 * linear,
        "mlp": 8 * linear,
        "attention": attention,
        "head": 512 * 1000,
    }
    times = 2 if mode is Mode.INFER else 6
    found = {part: flops for part, flops in parts.items() if part in expected}
    if mode is Mode.TRAIN:  # no gradient to the image
        found["stem"] += 2 * 27 * 64 * 256**2
    assert found == {part: times * macs for part, macs in expected.items()}
    if mode is Mode.INFER:
        assert sum(parts.values()) == counts.flops == 2 * closed_form(built.model, size)[1]  # type: ignore[arg-type]
