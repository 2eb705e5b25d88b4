"""Parameters and FLOPs of MambaVision against what the official code gives, on the meta device."""

from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from atlasbench.core.resolution import Resolution
from atlasbench.core.workload import Mode, Workload
from atlasbench.measure.count import plan_workload
from atlasbench.models.layers import mamba_mixer
from atlasbench.models.mambavision import build_mambavision
from atlasbench.registry import MODELS

PARAMS = {
    "t": 31_794_248,
    "t2": 35_104_008,
    "s": 50_140_584,
    "b": 97_685_288,
    "l": 227_961_048,
    "l2": 241_554_824,
    "l2_512": 241_554_824,
    "l3_256": 739_570_472,
    "l3_512": 739_570_472,
}
FITTING = (8, 8, 16, 8)


def build_on_meta(short: str, height: int, width: int, **options: Any) -> nn.Module:
    arguments = {**MODELS[f"mambavision_{short}"].arguments, **options}
    with torch.device("meta"):
        return build_mambavision(resolution=Resolution(height, width), **arguments).model.eval()


def count_flops(model: nn.Module, height: int, width: int) -> dict[str, dict[Any, int]]:
    """FLOPs by module and operator, of an image of this size."""
    with FlopCounterMode(display=False, depth=2) as counter, torch.no_grad():
        model(torch.empty(1, 3, height, width, device="meta"))
    return counter.get_flop_counts()


def grids(height: int, width: int) -> list[tuple[int, int]]:
    return [(-(-height // stride), -(-width // stride)) for stride in (16, 32)]


def windows(short: str, height: int, width: int) -> list[tuple[int, int]]:
    """How many windows, and of how many tokens, in each of the last two levels."""
    arguments = MODELS[f"mambavision_{short}"].arguments
    if arguments.get("global_window"):
        return [(1, rows * columns) for rows, columns in grids(height, width)]
    sides = arguments["window_size"][2:]
    return [(-(-h // k) * -(-w // k), k * k) for (h, w), k in zip(grids(height, width), sides, strict=True)]


def attention_macs(short: str, height: int, width: int) -> int:
    """2 N^2 C of every attention in every window; a level's second half attends."""
    arguments = MODELS[f"mambavision_{short}"].arguments
    return sum(
        count * 2 * tokens**2 * (arguments["dim"] << level) * (arguments["depths"][level] // 2)
        for level, (count, tokens) in zip((2, 3), windows(short, height, width), strict=True)
    )


def scan_flops(short: str, height: int, width: int) -> int:
    """9 N I S + N I of every scan in every window, with I half the channels and S = 8."""
    arguments = MODELS[f"mambavision_{short}"].arguments
    return sum(
        count * 73 * tokens * (arguments["dim"] << level) // 2 * ((arguments["depths"][level] + 1) // 2)
        for level, (count, tokens) in zip((2, 3), windows(short, height, width), strict=True)
    )


def is_shown_as(flops: int, gigamacs: str) -> bool:
    """Whether GMACs agree with a known number in all of its digits; known numbers were rounded twice."""
    return abs(flops / 2e9 - float(gigamacs)) <= 0.56 * 10 ** -len(gigamacs.partition(".")[2])


@pytest.fixture
def no_scan(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mamba_mixer, "selective_scan", lambda u, *_, **__: u)


@pytest.mark.parametrize("short", PARAMS)
def test_parameters_are_the_official_ones(short: str) -> None:
    model = build_on_meta(short, 224, 224)
    assert sum(parameter.numel() for parameter in model.parameters()) == PARAMS[short]


@pytest.mark.parametrize("short", ["t", "t2", "s", "b", "l", "l2"])
def test_a_global_window_changes_no_parameter(short: str) -> None:
    model = build_on_meta(f"{short}_global", 512, 512)
    assert sum(parameter.numel() for parameter in model.parameters()) == PARAMS[short]


@pytest.mark.usefixtures("no_scan")
@pytest.mark.parametrize(
    ("short", "size", "gigamacs", "attention"),
    [
        ("t", 224, 4.565, 0.105),
        ("t2", 224, 5.235, 0.129),
        ("s", 224, 7.578, 0.096),
        ("b", 224, 15.162, 0.207),
        ("l", 224, 35.160, 0.316),
        ("l2", 224, 37.880, 0.377),
        ("l2_512", 512, 206.204, 10.276),
        ("l3_256", 256, 123.547, 1.426),
        ("l3_512", 512, 511.294, 22.817),
    ],
)
def test_macs_at_the_published_size_are_the_official_ones(
    short: str, size: int, gigamacs: float, attention: float
) -> None:
    flops = count_flops(build_on_meta(short, size, size), size, size)["Global"]
    assert sum(flops.values()) / 2e9 == pytest.approx(gigamacs, abs=6e-4)
    attending = sum(
        count for operator, count in flops.items() if "attention" in str(operator) or "bmm" in str(operator)
    )
    assert attending == 2 * attention_macs(short, size, size)
    assert attending / 2e9 == pytest.approx(attention, abs=6e-4)


@pytest.mark.usefixtures("no_scan")
@pytest.mark.parametrize(
    ("short", "size", "options", "gigamacs"),
    [
        ("t", 256, {}, "13.41"),
        ("s", 256, {}, "20.32"),
        ("b", 256, {}, "43.15"),
        ("t", 512, {}, "34.28"),
        ("s", 512, {}, "54.20"),
        ("b", 512, {}, "111.93"),
        ("t", 1024, {}, "106.72"),
        ("s", 1024, {}, "174.22"),
        ("b", 1024, {}, "352.39"),
        ("t", 2048, {}, "426.87"),
        ("s", 2048, {}, "696.87"),
        ("b", 2048, {}, "1409.6"),
        ("t", 4096, {}, "1599.6"),
        ("s", 4096, {}, "2636.5"),
        ("b", 4096, {}, "5300.2"),
        ("t", 1024, {"window_size": FITTING}, "96.05"),
        ("s", 2048, {"window_size": FITTING}, "635.82"),
        ("b", 4096, {"window_size": FITTING}, "5090.6"),
        ("t_global", 512, {}, "26.15"),
        ("s_global", 512, {}, "41.70"),
        ("b_global", 512, {}, "83.77"),
        ("t_global", 1024, {}, "138.83"),
        ("s_global", 1024, {}, "198.21"),
        ("b_global", 1024, {}, "402.72"),
        ("t_global", 2048, {}, "1102.9"),
        ("s_global", 2048, {}, "1295.4"),
        ("b_global", 2048, {}, "2693.2"),
        ("t_global", 4096, {}, "13173"),
        ("s_global", 4096, {}, "13222"),
        ("b_global", 4096, {}, "28090"),
        ("l3_512", 224, {}, "403.8"),
    ],
    ids=str,
)
def test_macs_at_other_sizes_are_the_official_ones(
    short: str, size: int, options: dict[str, Any], gigamacs: str
) -> None:
    flops = count_flops(build_on_meta(short, size, size, **options), size, size)["Global"]
    assert is_shown_as(sum(flops.values()), gigamacs)


@pytest.mark.usefixtures("no_scan")
@pytest.mark.parametrize(
    ("short", "parts"), [("s", (4.08, 35.3, 35.3, 60.1, 39.4)), ("b", (5.29, 62.8, 62.8, 151.6, 69.9))]
)
def test_stem_and_levels_share_the_macs_as_in_the_official_code(short: str, parts: tuple[float, ...]) -> None:
    by_module = count_flops(build_on_meta(short, 1024, 1024), 1024, 1024)
    places = ["patch_embed", "levels.0", "levels.1", "levels.2", "levels.3"]
    counts = [sum(by_module[f"MambaVision.{place}"].values()) / 2e9 for place in places]
    assert counts == pytest.approx(parts, abs=0.05)


@pytest.mark.usefixtures("no_scan")
def test_a_global_window_of_a_wide_image_is_not_padded_to_a_square() -> None:
    height, width = 1024, 512
    square = count_flops(build_on_meta("s", height, width, window_size=(8, 8, 64, 32)), height, width)["Global"]
    assert sum(square.values()) / 2e9 == pytest.approx(159.5, abs=0.05)
    flops = count_flops(build_on_meta("s_global", height, width), height, width)["Global"]
    attending = sum(
        count for operator, count in flops.items() if "attention" in str(operator) or "bmm" in str(operator)
    )
    assert attending == 2 * attention_macs("s_global", height, width)
    assert sum(flops.values()) < 0.6 * sum(square.values())


@pytest.mark.parametrize(
    ("short", "height", "width", "gigamacs"),
    [
        ("t", 224, 224, "4.565"),
        ("b", 512, 512, "111.93"),
        ("s", 1024, 1024, "174.22"),
        ("b_global", 512, 512, "83.77"),
        ("s_global", 1024, 1024, "198.21"),
        ("t", 4096, 4096, "1599.6"),
        ("b_global", 4096, 4096, "28090"),
    ],
)
def test_the_toolkit_counts_the_official_macs_and_the_scan(short: str, height: int, width: int, gigamacs: str) -> None:
    workload = Workload(model=f"mambavision_{short}", resolution=Resolution(height, width), device="meta")
    counts = plan_workload(workload).counts
    assert counts is not None
    assert counts.params == PARAMS[short.removesuffix("_global")]
    without_scan = counts.flops - scan_flops(short, height, width)
    assert is_shown_as(without_scan, gigamacs)
    assert not counts.uncounted


@pytest.mark.parametrize(
    ("short", "size", "gigaflops"),
    [
        ("t", 224, 0.0114),
        ("t2", 224, 0.0160),
        ("b", 224, 0.0238),
        ("l3_512", 512, 0.478),
        ("b", 1024, 0.595),
        ("t_global", 1024, 0.239),
        ("b_global", 1024, 0.498),
    ],
)
def test_the_closed_form_of_the_scan_is_the_known_one(short: str, size: int, gigaflops: float) -> None:
    assert scan_flops(short, size, size) / 1e9 == pytest.approx(gigaflops, abs=6e-4 if size > 224 else 6e-5)


@pytest.mark.parametrize("mode", Mode)
def test_parts_are_those_of_the_layers(mode: Mode) -> None:
    workload = Workload(
        model="mambavision_t",
        resolution=Resolution(256, 256),
        device="meta",
        mode=mode,
        options={"dim": 16, "in_dim": 8, "depths": (1, 1, 2, 2), "num_heads": (1, 1, 2, 2), "num_classes": 10},
    )
    counts = plan_workload(workload).counts
    assert counts is not None
    levels = [(4, 14**2, 64), (4, 7**2, 128)]  # windows, tokens of one, channels; a scan and an attention in each
    times = 3 if mode is Mode.TRAIN else 1  # the backward pass of every product costs two
    attention = sum(4 * windows * n**2 * c + 73 * windows * n * c // 2 for windows, n, c in levels)
    projections = sum(windows * n * c * (8 * c + 4 * c + 2 * (c // 16) + 16) for windows, n, c in levels)
    stem = 2 * (9 * 3 * 8 * 128**2 + 9 * 8 * 16 * 64**2)
    conv_blocks = 2 * 2 * 9 * (16**2 * 64**2 + 32**2 * 32**2)
    halving = 2 * 18 * (16**2 * 32**2 + 32**2 * 16**2 + 64**2 * 8**2)
    assert counts.flops_by_part == {
        "stem": times * stem - (times > 1) * 2 * 9 * 3 * 8 * 128**2,  # the image wants no gradient
        "projections": times * projections,
        "attention": times * attention,
        "mlp": times * sum(2 * 16 * windows * n * c**2 for windows, n, c in levels),
        "head": times * 2 * 128 * 10,
        "other": times * (conv_blocks + halving + sum(6 * windows * n * c for windows, n, c in levels)),
    }
