"""Parameters and FLOPs of LongViT against known totals and the closed form, to the last digit."""

from collections.abc import Mapping
from typing import Any

import pytest

from atlasbench.core.resolution import parse_resolution
from atlasbench.core.workload import AttentionBackend, Mode, Workload
from atlasbench.measure.count import plan_workload

RATIOS = (1, 2, 4, 8, 16)
OTHERS = (64, 128, 256, 512, 1024)
WIDTH = {"longvit_s": 384, "longvit_b": 768}
PATCH = {"longvit_s": 32, "longvit_b": 16}

# Name, side in pixels, options, segments, parameters, GFLOP of an image, of it attention.
KNOWN: list[tuple[str, int, Mapping[str, Any], tuple[int, ...], int, str, str]] = [
    ("longvit_s", 1024, {}, OTHERS, 22_914_434, "48.24", "2.34"),
    ("longvit_s", 4096, {}, (1024, 2048, 4096, 8192, 16384), 28_812_674, "1333.6", "599.1"),
    ("longvit_s", 8192, {}, (1024, 4096, 8192, 16384, 65536), 47_687_042, "6648.6", "3710.9"),
    ("longvit_s", 16384, {}, (1024, 4096, 16384, 65536, 262144), 123_184_514, "36490", "24739"),
    ("longvit_s", 32768, {}, (1024, 4096, 32768, 262144, 1048576), 425_174_402, "284499", "237495"),
    ("longvit_s", 1024, {"patch_size": 16, "num_classes": 100}, OTHERS, 23_247_076, "185.72", "9.36"),
    ("longvit_b", 256, {}, OTHERS, 86_012_260, "44.89", "1.10"),
    ("longvit_b", 512, {}, OTHERS, 86_602_084, "179.84", "4.68"),
    ("longvit_b", 1024, {}, OTHERS, 88_961_380, "719.34", "18.72"),
    ("longvit_b", 2048, {}, OTHERS, 98_398_564, "2877.4", "74.9"),
    ("longvit_b", 4096, {}, (1024, 2048, 4096, 8192, 16384), 136_147_300, "16003", "4793"),
]


def attention_flops(tokens: int, width: int, segments: tuple[int, ...]) -> int:
    """Of one layer: segments and rows are rounded up, because padding is computed too."""
    used = [(min(segment, tokens), ratio) for segment, ratio in zip(segments, RATIOS, strict=True)]
    return 4 * width * sum(-(-tokens // w) * (-(-w // r)) ** 2 for w, r in used)


def shown(flops: int, like: str) -> str:
    """GFLOP with as many digits after the point as in the table."""
    return f"{flops / 1e9:.{len(like.partition('.')[2])}f}"


@pytest.mark.parametrize(
    ("name", "side", "options", "segments", "params", "total", "attention"),
    KNOWN,
    ids=[f"{name}-{side}-{len(options)}" for name, side, options, *_ in KNOWN],
)
def test_counts_are_the_known_ones(
    name: str,
    side: int,
    options: Mapping[str, Any],
    segments: tuple[int, ...],
    params: int,
    total: str,
    attention: str,
) -> None:
    plan = plan_workload(Workload(model=name, resolution=parse_resolution(side), options=options))
    assert plan.counts is not None
    assert plan.counts.params == params
    assert shown(plan.counts.flops, total) == total
    assert shown(plan.counts.flops_by_part["attention"], attention) == attention
    patch, width = options.get("patch_size", PATCH[name]), WIDTH[name]
    tokens, classes = (side // patch) ** 2, options.get("num_classes", 2 if name == "longvit_s" else 100)
    assert plan.counts.tokens == tokens
    assert plan.counts.uncounted == ()
    assert plan.counts.flops_by_part == {
        "stem": 2 * tokens * 3 * patch**2 * width,
        "projections": 12 * 8 * tokens * width**2,
        "attention": 12 * attention_flops(tokens, width, segments),
        "mlp": 12 * 16 * tokens * width**2,
        "head": 2 * width * classes,
        "other": 0,
    }


@pytest.mark.parametrize("padding", ["official", "aligned", "masked"])
@pytest.mark.parametrize("resolution", ["1000x600", "96x400"])
def test_every_backend_and_padding_counts_the_same(resolution: str, padding: str) -> None:
    size = parse_resolution(resolution)
    tokens = (size.height // 16) * (size.width // 16)
    options = {"depth": 1, "padding": padding}
    wanted = attention_flops(tokens, 768, OTHERS)
    for backend in (AttentionBackend.AUTO, AttentionBackend.MATH):
        for mode, times in ((Mode.INFER, 1), (Mode.TRAIN, 3)):
            workload = Workload(
                model="longvit_b", resolution=size, options=options, mode=mode, attention_backend=backend, batch_size=2
            )
            counts = plan_workload(workload).counts
            assert counts is not None
            assert counts.flops_by_part["attention"] == times * wanted
            assert counts.flops_by_part["projections"] == times * 8 * tokens * 768**2
            assert counts.flops_by_part["mlp"] == times * 16 * tokens * 768**2
            assert counts.flops_by_part["other"] == 0
