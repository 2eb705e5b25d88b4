"""FLOPs and parameters of block-level models against closed forms, to the last digit."""

from __future__ import annotations

from typing import Any

import pytest

from atlasbench.core.record import Counts
from atlasbench.core.resolution import Resolution
from atlasbench.core.workload import Mode, Workload
from atlasbench.measure.count import count_built
from atlasbench.measure.dataless import build_without_data
from atlasbench.models.factory import build_model

C, HEADS, N, DEPTH = 768, 12, 96 * 96, 4  # the paper's: 384 px, patch 4
SCAN_STATES = 8


def count(kind: str, resolution: Resolution | None = None, mode: Mode = Mode.INFER, **options: Any) -> Counts:
    """Counts of a stack, at 384 px by default."""
    resolution = resolution or Resolution(384, 384)
    name = f"block:{kind}"
    built = build_without_data(lambda: build_model(name, resolution=resolution, options=options))
    return count_built(built, Workload(model=name, resolution=resolution, mode=mode))[0]


def position_flops(tokens: int, width: int) -> int:
    """The MLP 2 -> 512 -> width."""
    return 1024 * tokens * (2 + width)


def hierarchical_flops(k: int, c: int) -> int:
    K, m = k * k, c * c
    M = m * N // K
    position = position_flops(K, C) + position_flops(M, C)
    bias = position_flops((2 * k - 1) ** 2, HEADS) + position_flops((2 * round(M**0.5) - 1) ** 2, HEADS)
    return 24 * C * C * (N + 2 * M) + 4 * C * ((N + M) * (K + m) + M * M) + position + bias


def dilated_flops(lengths: list[int], ratios: list[int]) -> int:
    pairs = 0
    for length, ratio in zip(lengths, ratios, strict=True):
        w = min(length, N)
        pairs += -(-N // w) * (-(-w // ratio)) ** 2
    return 24 * N * C * C + 4 * C * pairs


def msa_flops(tokens: list[int], windows: list[int]) -> int:
    last = len(tokens) - 1
    linear = 24 * tokens[0] + (4 * tokens[0] + 48 * tokens[last] if last else 0) + 52 * sum(tokens[1:last])
    pairs = sum(n * sum(windows[scale:]) for scale, n in enumerate(tokens))
    pairs += sum(tokens[scale] * windows[scale - 1] for scale in range(1, len(tokens)))
    return C * C * linear + 4 * C * pairs + sum(position_flops(w, C) for w in windows)


RATIOS = [1, 2, 4, 8, 16]
VIT_PARAMS = 12 * C * C + 13 * C
PARAMS_PER_SCALE = 12 * C * C + 15 * C + 1536 + 512 * C


@pytest.mark.parametrize(
    ("kind", "options", "flops", "giga", "params"),
    [
        ("vit", {}, 24 * N * C * C + 4 * N * N * C, 391.379, VIT_PARAMS),
        *[
            ("window_vit", {"window_size": k}, 24 * N * C * C + 4 * N * k * k * C, giga, VIT_PARAMS)
            for k, giga in ((16, 137.707), (8, 132.272), (12, 134.536), (24, 146.767))
        ],
        *[
            (
                "shifted_window",
                {"window_size": k},
                24 * N * C * C + 4 * N * k * k * C,
                giga,
                VIT_PARAMS + HEADS * (2 * k - 1) ** 2,
            )
            for k, giga in ((16, 137.707), (8, 132.272), (12, 134.536), (24, 146.767))
        ],
        *[
            (
                "hierarchical_attention",
                {"window_size": k, "ct_size": c},
                hierarchical_flops(k, c),
                giga,
                2 * VIT_PARAMS + 2 * (1536 + 512 * C) + 2 * (1536 + 512 * HEADS),
            )
            for k, c, giga in (
                (16, 1, 139.033),
                (16, 2, 142.413),
                (8, 2, 150.371),
                (12, 2, 142.552),
                (24, 2, 149.358),
                (8, 1, 136.644),
                (12, 1, 136.593),
                (24, 1, 147.777),
            )
        ],
        *[
            (
                "dilated_attention",
                {"segment_length": lengths},
                dilated_flops(lengths, RATIOS),
                giga,
                12 * C * C + 23 * C,
            )
            for lengths, giga in (
                ([64, 128, 256, 512, 1024], 133.970),
                ([1024, 2048, 4096, 8192, 16384], 192.682),
                ([576, 1152, 2304, 4608, 9216], 162.055),
            )
        ],
        ("msa", {}, msa_flops([9216, 144], [256, 144]), 168.097, 2 * PARAMS_PER_SCALE),
        (
            "msa",
            {"window_size": 8, "downsample_stride": 4},
            msa_flops([9216, 576, 36], [64, 64, 36]),
            175.962,
            3 * PARAMS_PER_SCALE,
        ),
        (
            "msa",
            {"window_size": 12, "downsample_stride": 4},
            msa_flops([9216, 576, 36], [144, 144, 36]),
            180.910,
            3 * PARAMS_PER_SCALE,
        ),
        (
            "msa",
            {"window_size": 24, "downsample_stride": 4},
            msa_flops([9216, 576], [576, 576]),
            204.072,
            2 * PARAMS_PER_SCALE,
        ),
        (
            "msa",  # the second scale is padded from 24 to 32
            {"window_size": 16, "downsample_stride": 4},
            msa_flops([9216, 1024, 36], [256, 256, 36]),
            202.332,
            3 * PARAMS_PER_SCALE,
        ),
    ],
    ids=str,
)
def test_flops_and_parameters_are_the_closed_forms(
    kind: str, options: dict[str, Any], flops: int, giga: float, params: int
) -> None:
    counts = count(kind, **options)
    assert round(flops / 1e9, 3) == giga
    assert counts.flops == DEPTH * flops
    assert counts.params == DEPTH * params
    assert counts.tokens == N
    assert counts.flops_by_part["stem"] == counts.flops_by_part["head"] == 0
    assert counts.flops_by_part["mlp"] > counts.flops_by_part["projections"] > 0


def mixer_flops(tokens: int, width: int) -> int:
    I, R = width // 2, -(-width // 16)  # noqa: E741
    layers = 4 * tokens * width * width + tokens * width * (R + 2 * SCAN_STATES) + tokens * width * R
    scan = 9 * tokens * I * SCAN_STATES + tokens * I
    return layers + 6 * tokens * width + 16 * tokens * width * width + scan


@pytest.mark.parametrize("scan_window", [0, 8, 16])
def test_a_mamba_mixer_is_counted_with_its_scan_whether_or_not_in_windows(scan_window: int) -> None:
    assert round(mixer_flops(N, C) / 1e9, 3) == 109.810
    counts = count("mambavision_mixer", scan_window=scan_window)
    assert counts.flops == DEPTH * mixer_flops(N, C)
    assert counts.params == DEPTH * 5_954_304


@pytest.mark.parametrize("kind", ["msa", "shifted_window", "hierarchical_attention", "dilated_attention"])
def test_training_costs_three_forward_passes_less_what_reaches_only_the_input(kind: str) -> None:
    infer, train = (count(kind, mode=mode) for mode in Mode)
    for part in ("mlp", "attention"):
        assert train.flops_by_part[part] == 3 * infer.flops_by_part[part]
    assert train.flops <= 3 * infer.flops


def test_any_number_of_tokens_width_and_depth_is_counted() -> None:
    counts = count("vit", Resolution(40, 72), patch_size=8, depth=3, embed_dim=48, num_heads=4, mlp_ratio=2.0)
    tokens, width = 5 * 9, 48
    assert counts.tokens == tokens
    assert counts.flops == 3 * (16 * tokens * width * width + 4 * tokens * tokens * width)
