"""Parameters and FLOPs of Atlas against known totals and closed forms, on the meta device."""

from collections.abc import Sequence

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from atlasbench.core.resolution import Resolution, parse_resolution
from atlasbench.core.scales import (
    atlas_attention_flops,
    msa_block_attention_flops,
    padded_grids,
    token_grids,
    window_shapes,
)
from atlasbench.models.atlas import Atlas, build_atlas
from atlasbench.models.layers.multiscale_attention import MultiScaleBlock
from atlasbench.models.layers.multiscale_plan import plan_scales
from atlasbench.models.layers.scale_layout import lay_out_scales

Grids = Sequence[tuple[int, int]]


def build_on_meta(resolution: Resolution, **options: object) -> nn.Module:
    with torch.device("meta"):
        return build_atlas(resolution=resolution, **options).model.eval()  # type: ignore[arg-type]


def count_flops(model: nn.Module, *inputs: object) -> tuple[int, int]:
    """All FLOPs, and those of attention: products of activations."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(*inputs)
    by_operator = counter.get_flop_counts()["Global"]
    attention = sum(n for op, n in by_operator.items() if "attention" in str(op) or str(op).endswith("bmm"))
    return counter.get_total_flops(), attention


def images(resolution: Resolution, batch_size: int = 1) -> torch.Tensor:
    return torch.empty(batch_size, 3, resolution.height, resolution.width, device="meta")


def linear_flops(grids: Grids, window: int, dim: int) -> int:
    """Projections and MLPs of one block, keys and values projected once per version of a scale's tokens."""
    first, *rest = [height * width for height, width in padded_grids(grids, window)]
    if not rest:
        return 24 * dim**2 * first
    return dim**2 * (28 * first + 52 * sum(rest[:-1]) + 48 * rest[-1])


def position_flops(grids: Grids, window: int, dim: int) -> int:
    return sum(1024 * height * width * (2 + dim) for height, width in window_shapes(grids, window))


@pytest.mark.parametrize(
    ("options", "drop", "official", "stages"),
    [
        ({"embed_dim": 384, "num_heads": 6}, "2-10", 31_126_700, 2),
        ({"embed_dim": 768, "num_heads": 12}, "2-10", 118_410_476, 2),
        ({"embed_dim": 384, "num_heads": 6}, "2-2-8", 39_059_472, 3),
    ],
)
def test_parameters_are_the_official_ones_without_the_unused(
    options: dict[str, int], drop: str, official: int, stages: int
) -> None:
    size = 1024 if stages == 2 else 2048
    model = build_on_meta(Resolution(size, size), scale_drop=drop, **options)
    width = options["embed_dim"]
    unused = stages * (2 * width + 100 * width + 100)  # a norm and a head in every stage, never run
    assert sum(parameter.numel() for parameter in model.parameters()) == official - unused


@pytest.mark.parametrize(
    ("size", "width", "heads", "gigaflops"),
    [(1024, 384, 6, 205.26), (1024, 768, 12, 785.28), (2048, 384, 6, 793.91), (4096, 384, 6, 3218.2)],
)
def test_total_flops_are_the_known_ones(size: int, width: int, heads: int, gigaflops: float) -> None:
    resolution = Resolution(size, size)
    model = build_on_meta(resolution, embed_dim=width, num_heads=heads)
    total, _ = count_flops(model, images(resolution))
    assert total / 1e9 == pytest.approx(gigaflops, rel=1e-4)


def test_the_stem_is_most_of_the_small_model() -> None:
    model = build_on_meta(Resolution(1024, 1024))
    assert isinstance(model, Atlas)
    stem, attention = count_flops(model.stem, images(Resolution(1024, 1024)))
    assert stem / 1e9 == pytest.approx(149.48, abs=5e-3)
    assert attention == 0


@pytest.mark.parametrize(
    ("resolution", "options"),
    [
        (1024, {}),
        (1536, {}),
        (2048, {"scale_drop": "1-1-1"}),
        (1100, {"scale_drop": "1-1-1"}),
        (17, {}),
        (16, {}),
        (272, {"scale_drop": "1-1"}),
        ("300x1700", {"scale_drop": "1-2-1"}),
        ("16x4096", {"scale_drop": "1-1-1"}),
        ("2000x24", {"scale_drop": "1-1-1"}),
        (1100, {"scale_drop": "none"}),
        (1100, {"depths": (1, 2)}),
        ("513x700", {"window_size": 8, "downsample_stride": 2, "scale_drop": "1-1-1-1"}),
        ("333x777", {"window_size": 6, "downsample_stride": 3, "scale_drop": "1-1-1"}),
        (640, {"window_size": 8, "downsample_stride": 8, "scale_drop": "1-1"}),
        (1100, {"communication": "none", "scale_drop": "1-1-1"}),
        (1100, {"communication": "bottom_up", "scale_drop": "1-1-1"}),
        (1100, {"communication": "top_down", "scale_drop": "1-1-1"}),
        (256, {"patch_size": 4, "scale_drop": "1-1"}),
        (512, {"patch_size": 8, "scale_drop": "1-1"}),
    ],
    ids=str,
)
@pytest.mark.parametrize("batch_size", [1, 3])
def test_attention_flops_are_the_closed_form_to_the_last_one(
    resolution: int | str, options: dict[str, object], batch_size: int
) -> None:
    size = parse_resolution(resolution)
    model = build_on_meta(size, embed_dim=32, num_heads=2, **options)
    assert isinstance(model, Atlas)
    _, attention = count_flops(model, images(size, batch_size))
    kept = model.options
    grids = token_grids(
        size, patch_size=kept.patch_size, window_size=kept.window_size, downsample_stride=kept.downsample_stride
    )
    closed_form = atlas_attention_flops(grids, kept.window_size, 32, kept.depths, communication=kept.communication)
    assert attention == batch_size * closed_form > 0


def test_convolutional_downsampling_has_one_scale_of_windows() -> None:
    size = Resolution(512, 512)
    model = build_on_meta(size, embed_dim=32, num_heads=2, patch_size=8, composition="conv")
    _, attention = count_flops(model, images(size))
    sides = (64, 32, 16, 8)
    assert attention == 3 * sum(msa_block_attention_flops([(side, side)], 16, 32) for side in sides)


@pytest.mark.parametrize(
    ("window", "stride", "gigaflops"),
    [(16, 8, 168.097), (8, 4, 175.962), (12, 4, 180.910), (24, 4, 204.072), (16, 4, 202.332)],
)
def test_a_block_costs_what_the_block_comparison_says(window: int, stride: int, gigaflops: float) -> None:
    grids = token_grids(Resolution(384, 384), patch_size=4, window_size=window, downsample_stride=stride)
    dim = 768
    with torch.device("meta"):
        block = MultiScaleBlock(dim, 12, len(grids), downsample_stride=stride).eval()
    plans = plan_scales(
        lay_out_scales(grids, window), stride, reads_coarser=True, row_major=False, device=torch.device("meta")
    )
    tokens = [torch.empty(1, *plan.layout.padded, dim, device="meta") for plan in plans]
    total, attention = count_flops(block, tokens, plans)
    assert attention == msa_block_attention_flops(grids, window, dim)
    assert total - attention == linear_flops(grids, window, dim) + position_flops(grids, window, dim)
    assert total / 1e9 == pytest.approx(gigaflops, abs=6e-4)
    parameters = sum(parameter.numel() for parameter in block.parameters())
    assert parameters == len(grids) * (12 * dim**2 + 15 * dim + 1536 + 512 * dim)


@pytest.mark.parametrize("grid", [(17, 17), (5, 70), (64, 64), (100, 37), (4, 4), (1, 90)], ids=str)
def test_keys_and_values_are_projected_once_per_version_of_their_tokens(grid: tuple[int, int]) -> None:
    size = Resolution(grid[0] * 4, grid[1] * 4)
    grids = token_grids(size, patch_size=4, window_size=8, downsample_stride=2)
    dim = 16
    with torch.device("meta"):
        block = MultiScaleBlock(dim, 2, len(grids), downsample_stride=2).eval()
    plans = plan_scales(lay_out_scales(grids, 8), 2, reads_coarser=True, row_major=False, device=torch.device("meta"))
    tokens = [torch.empty(1, *plan.layout.padded, dim, device="meta") for plan in plans]
    total, attention = count_flops(block, tokens, plans)
    assert total - attention == linear_flops(grids, 8, dim) + position_flops(grids, 8, dim)
