"""The split of FLOPs by part: closed forms for every built-in family, and names and shapes that mislead."""

from functools import cache

import pytest
import torch
from counting import count_module, count_named
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from atlasbench.core.record import PARTS
from atlasbench.core.resolution import parse_resolution
from atlasbench.core.scales import (
    atlas_attention_flops,
    default_scale_drop,
    format_scale_drop,
    padded_grids,
    parse_scale_drop,
    token_grids,
    window_shapes,
)
from atlasbench.measure.flops import Place, Product
from atlasbench.measure.parts import find_parts
from atlasbench.models.layers import selective_scan

CLASSES = 1000


known_counts = cache(count_named)


def known_parts(name: str, height: int, width: int | None = None) -> dict[str, int]:
    counts = known_counts(name, height, width or height)
    assert sum(counts.flops_by_part.values()) == counts.flops == 2 * counts.macs
    assert sum(counts.params_by_part.values()) == counts.params
    return {part: flops for part, flops in counts.flops_by_part.items() if flops}


@pytest.mark.parametrize(
    ("name", "width", "depth"),
    [("vit_ti", 192, 12), ("vit_s", 384, 12), ("vit_b", 768, 12), ("vit_l", 1024, 24)],
)
@pytest.mark.parametrize(("height", "columns"), [(224, 224), (96, 160), (1024, 1024)])
def test_vit_follows_its_closed_form(name: str, width: int, depth: int, height: int, columns: int) -> None:
    patches = height * columns // 256
    tokens = patches + 1  # the class token
    assert known_parts(name, height, columns) == {
        "stem": 2 * patches * 768 * width,
        "projections": depth * 8 * tokens * width**2,
        "attention": depth * 4 * tokens**2 * width,
        "mlp": depth * 16 * tokens * width**2,
        "head": 2 * width * CLASSES,
    }


def stages(side: int, width: int, depths: tuple[int, ...]) -> list[tuple[int, int, int]]:
    """Tokens, width and depth of every stage of a pyramid that starts at a quarter of the image."""
    return [((side // (4 << i)) ** 2, width << i, depth) for i, depth in enumerate(depths)]


def merging_flops(pyramid: list[tuple[int, int, int]]) -> int:
    """2 x 2 patches to the next stage's width; a convolution of stride 2 costs the same."""
    return sum(2 * tokens * width * 2 * width for tokens, width, _ in pyramid[:-1])


@pytest.mark.parametrize(
    ("name", "side", "window", "depths"),
    [("swin_t", 224, 7, (2, 2, 6, 2)), ("swin_s", 448, 7, (2, 2, 18, 2)), ("swinv2_t", 256, 8, (2, 2, 6, 2))],
)
def test_swin_follows_its_closed_form(name: str, side: int, window: int, depths: tuple[int, ...]) -> None:
    pyramid = stages(side, 96, depths)
    position = 0
    if name.startswith("swinv2"):  # an MLP of offsets, (2k - 1)^2 of them, 2 -> 512 -> heads
        position = sum(depth * 2 * (2 * window - 1) ** 2 * 512 * (2 + width // 32) for _, width, depth in pyramid)
    assert known_parts(name, side) == {
        "stem": 2 * pyramid[0][0] * 48 * 96,
        "projections": sum(depth * 8 * n * width**2 for n, width, depth in pyramid),
        "attention": sum(depth * 4 * n * window**2 * width for n, width, depth in pyramid),
        "mlp": sum(depth * 16 * n * width**2 for n, width, depth in pyramid),
        "head": 2 * pyramid[-1][1] * CLASSES,
        "other": merging_flops(pyramid) + position,
    }


@pytest.mark.parametrize(("name", "depths"), [("convnext_t", (3, 3, 9, 3)), ("convnext_s", (3, 3, 27, 3))])
@pytest.mark.parametrize("side", [224, 512])
def test_convnext_has_only_stem_mlp_and_convolutions(name: str, depths: tuple[int, ...], side: int) -> None:
    pyramid = stages(side, 96, depths)
    depthwise = sum(depth * 2 * n * 49 * width for n, width, depth in pyramid)
    assert known_parts(name, side) == {
        "stem": 2 * pyramid[0][0] * 48 * 96,
        "mlp": sum(depth * 16 * n * width**2 for n, width, depth in pyramid),
        "head": 2 * pyramid[-1][1] * CLASSES,
        "other": merging_flops(pyramid) + depthwise,
    }


def test_davit_attends_over_windows_and_over_channels() -> None:
    pyramid = stages(224, 96, (1, 1, 3, 1))  # every block is a pair
    parts = known_parts("davit_t", 224)
    windows = sum(depth * 4 * n * 49 * width for n, width, depth in pyramid)
    channels = sum(depth * 4 * n * 32 * width for n, width, depth in pyramid)  # 32 channels in a head
    positions = sum(depth * 4 * 2 * n * 9 * width for n, width, depth in pyramid)  # four depthwise 3x3 in a pair
    assert parts == {
        "stem": 2 * pyramid[0][0] * 3 * 49 * 96,
        "projections": sum(2 * depth * 8 * n * width**2 for n, width, depth in pyramid),
        "attention": windows + channels,
        "mlp": sum(2 * depth * 16 * n * width**2 for n, width, depth in pyramid),
        "head": 2 * pyramid[-1][1] * CLASSES,
        "other": merging_flops(pyramid) + positions,
    }


def test_gcvit_shares_its_queries_in_every_other_block() -> None:
    pyramid = stages(224, 64, (3, 4, 19, 5))
    windows = (7, 7, 14, 7)
    local = [-(-depth // 2) for _, _, depth in pyramid]  # queries, keys, values; the others read the global queries
    parts = known_parts("gcvit_t", 224)
    assert parts["projections"] == sum(
        (8 * own + 6 * (depth - own)) * n * width**2 for own, (n, width, depth) in zip(local, pyramid, strict=True)
    )
    assert parts["attention"] == sum(
        depth * 4 * n * window**2 * width for window, (n, width, depth) in zip(windows, pyramid, strict=True)
    )
    assert parts["mlp"] == sum(depth * 12 * n * width**2 for n, width, depth in pyramid)  # three times as wide
    assert parts["head"] == 2 * pyramid[-1][1] * CLASSES
    assert parts["stem"] + parts["other"] == total_by_torch("gcvit_t", 224) - sum(
        parts[part] for part in ("projections", "attention", "mlp", "head")
    )


def test_maxvit_attends_in_windows_and_in_grids() -> None:
    pyramid = stages(512, 64, (2, 2, 5, 2))
    parts = known_parts("maxvit_t", 512)
    assert parts["stem"] == 2 * 256**2 * 9 * (3 + 64) * 64
    assert parts["projections"] == sum(2 * depth * 8 * n * width**2 for n, width, depth in pyramid)
    assert parts["attention"] == sum(2 * depth * 4 * n * 16**2 * width for n, width, depth in pyramid)
    assert parts["mlp"] == sum(2 * depth * 16 * n * width**2 for n, width, depth in pyramid)
    assert parts["head"] == 2 * 512 * (512 + CLASSES)
    assert sum(parts.values()) == total_by_torch("maxvit_t", 512)


def total_by_torch(name: str, side: int) -> int:
    from atlasbench.models.factory import build_model

    with torch.device("meta"):
        built = build_model(name, resolution=parse_resolution(side), options={}, probe=False)
        model = built.model.eval().requires_grad_(False)
        with FlopCounterMode(display=False) as counter:
            model(torch.empty(1, 3, side, side))
    return int(counter.get_total_flops())


@pytest.mark.parametrize(
    ("size", "drop"),
    [
        ("256", ""),
        ("512", ""),
        ("512", "none"),
        ("1024", "2-10"),
        ("1024", "6-6"),
        ("1024", "none"),
        ("2048", "2-2-8"),
        ("2048", "1-2-3"),
        ("4096", ""),
        ("1536", "4-4-4"),
        ("1000", ""),
        ("768x1536", ""),
        ("96x2080", ""),
    ],
)
def test_atlas_follows_its_closed_forms_at_every_size_and_scale_drop(size: str, drop: str) -> None:
    width, resolution = 192, parse_resolution(size)
    grids = token_grids(resolution)
    depths = parse_scale_drop(drop or format_scale_drop(default_scale_drop(len(grids)))) or (12,)
    counts = count_named("atlas_ti", resolution.height, resolution.width, scale_drop=drop)
    parts = counts.flops_by_part
    assert parts["attention"] == atlas_attention_flops(grids, 16, width, depths)
    assert parts["projections"] == sum(
        depth * projection_flops(grids[stage:], width) for stage, depth in enumerate(depths)
    )
    assert parts["mlp"] == sum(depth * mlp_flops(grids[stage:], width) for stage, depth in enumerate(depths))
    assert parts["other"] == sum(depth * position_flops(grids[stage:], width) for stage, depth in enumerate(depths))
    assert parts["head"] == 2 * width * 100
    assert parts["stem"] == stem_flops(resolution.height, resolution.width, width)
    assert counts.tokens == grids[0][0] * grids[0][1]


def padded_tokens(grids: tuple[tuple[int, int], ...]) -> list[int]:
    return [height * width for height, width in padded_grids(grids, 16)]


def projection_flops(grids: tuple[tuple[int, int], ...], width: int) -> int:
    """Queries, keys, values and outputs of both passes; keys and values once for each version that is read."""
    first, *rest = padded_tokens(grids)
    if not rest:
        return 8 * first * width**2
    return width**2 * (12 * first + 20 * sum(rest[:-1]) + 16 * rest[-1])


def mlp_flops(grids: tuple[tuple[int, int], ...], width: int) -> int:
    first, *rest = padded_tokens(grids)
    return 16 * width**2 * (first + 2 * sum(rest))


def position_flops(grids: tuple[tuple[int, int], ...], width: int) -> int:
    return sum(1024 * rows * columns * (2 + width) for rows, columns in window_shapes(grids, 16))


def stem_flops(height: int, columns: int, width: int) -> int:
    """Convolutions of 3 x 3; every second one of stride 2, which rounds the side up."""
    maps, sides = [], (height, columns)
    for _ in range(4):
        sides = (-(-sides[0] // 2), -(-sides[1] // 2))
        maps.append(sides[0] * sides[1])
    channels = (maps[0] * 3 * 64, maps[1] * 64 * width // 4, maps[1] * 6 * (width // 4) ** 2)
    channels += (maps[2] * width // 4 * width // 2, maps[2] * 6 * (width // 2) ** 2, maps[3] * width // 2 * width)
    return 18 * sum(channels)


@pytest.mark.parametrize(
    ("name", "side", "absent"),
    [
        ("resnet18", 64, {"projections", "attention", "mlp"}),  # its first convolution is the stem
        ("resnest14d", 64, {"projections", "attention", "mlp"}),  # split attention multiplies no two activations
        ("skresnet18", 64, {"projections", "attention", "mlp"}),
        ("vgg11", 64, {"projections", "attention", "mlp"}),  # names no stem: the layer that reads the image is it
        ("densenet121", 64, {"projections", "attention", "mlp"}),
        ("poolformer_s12", 64, {"projections", "attention"}),
        ("convformer_s18", 64, {"projections", "attention"}),  # its token mixer is a convolution
        ("mixer_s32_224", 224, {"projections", "attention", "other"}),
        ("caformer_s18", 64, set()),
        ("coat_lite_tiny", 224, set()),
        ("pvt_v2_b0", 64, set()),
        ("xcit_nano_12_p16_224", 64, set()),
        ("deit3_small_patch16_224", 64, {"other"}),
        ("vit_base_patch16_siglip_224", 64, {"other"}),
        ("beit_base_patch16_224", 224, {"other"}),
        ("naflexvit_base_patch16_gap", 64, {"other"}),
    ],
)
def test_other_families_have_the_parts_that_they_have(name: str, side: int, absent: set[str]) -> None:
    parts = known_parts(name, side)
    assert set(PARTS) - set(parts) == absent
    assert sum(parts.values()) == total_by_torch(name, side)


@pytest.mark.parametrize(
    ("name", "side", "tokens"),
    [
        ("vit_ti", 224, 14 * 14),
        ("swin_t", 224, 56 * 56),
        ("swinv2_t", 256, 64 * 64),
        ("convnext_t", 224, 56 * 56),
        ("davit_t", 224, 56 * 56),
        ("gcvit_t", 224, 56 * 56),
        ("maxvit_t", 512, 256 * 256),  # its stem has stride 2
        ("resnet18", 64, 16 * 16),  # after the pooling
        ("naflexvit_base_patch16_gap", 64, 16),  # its patches come from a linear layer
        ("vgg11", 64, 0),  # names no stem
    ],
)
def test_tokens_are_the_positions_that_the_stem_hands_on(name: str, side: int, tokens: int) -> None:
    assert known_counts(name, side, side).tokens == tokens


def test_tokens_are_those_of_one_image() -> None:
    assert count_named("vit_ti", 64, batch_size=3).tokens == 16


class Attends(nn.Module):
    """An attention under a name and with layers that tests choose."""

    def __init__(self, names: tuple[str, str] = ("qkv", "proj")) -> None:
        super().__init__()
        self.names = names
        for name in names:
            self.add_module(name, nn.Linear(4, 4))

    def forward(self, x: Tensor) -> Tensor:
        x = self.get_submodule(self.names[0])(x)
        return self.get_submodule(self.names[1])(x @ x.transpose(-1, -2) @ x)


class Gates(nn.Module):
    """Called attention by some, but nothing attends."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.fc(x).sigmoid()


def one_block(name: str, block: nn.Module) -> nn.Module:
    class Body(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(3, 4, 8, stride=8)
            self.add_module(name, block)

        def forward(self, image: Tensor) -> Tensor:
            return self.get_submodule(name)(self.stem(image).flatten(2).transpose(1, 2)).mean(1)

    return Body()


def parts_of_layers(build) -> dict[str, str]:
    _, modules, _ = count_module(build)
    return {module.path: module.part for module in modules if module.params}


@pytest.mark.parametrize(
    ("name", "block", "expected"),
    [
        ("attn", Attends, {"attn.qkv": "projections", "attn.proj": "projections"}),
        ("anything", Attends, {"anything.qkv": "projections", "anything.proj": "projections"}),
        ("attn", lambda: Attends(("one", "two")), {"attn.one": "projections", "attn.two": "projections"}),
        ("anything", lambda: Attends(("one", "two")), {"anything.one": "other", "anything.two": "other"}),
        ("attn", Gates, {"attn.fc": "other"}),
        ("token_mixer", Gates, {"token_mixer.fc": "other"}),
        ("mlp", Gates, {"mlp.fc": "mlp"}),
        ("feed_forward", Gates, {"feed_forward.fc": "mlp"}),
        ("rel_pos", Gates, {"rel_pos.fc": "other"}),
        ("head", Gates, {"head.fc": "head"}),
        ("block", Gates, {"block.fc": "other"}),
    ],
)
def test_an_attention_is_what_attends_not_what_is_called_one(name, block, expected) -> None:
    assert parts_of_layers(lambda: one_block(name, block())) == {"stem": "stem", **expected}


def test_torch_s_own_encoder_layer_is_understood() -> None:
    def build() -> nn.Module:
        return one_block("encoder", nn.TransformerEncoderLayer(4, 2, 8, batch_first=True))

    parts = parts_of_layers(build)
    assert parts["encoder.self_attn"] == parts["encoder.self_attn.out_proj"] == "projections"
    assert parts["encoder.linear1"] == parts["encoder.linear2"] == "mlp"


def test_names_mean_less_inside_numbered_stages() -> None:
    class Stage(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patch_embed = nn.Conv2d(4, 4, 1)
            self.fc = nn.Conv2d(4, 4, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(self.patch_embed(x))

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patch_embed = nn.Conv2d(3, 4, 8, stride=8)
            self.stages = nn.Sequential(Stage())
            self.fc = nn.Linear(4, 2)

        def forward(self, image: Tensor) -> Tensor:
            return self.fc(self.stages(self.patch_embed(image)).mean((2, 3)))

    assert parts_of_layers(Model) == {
        "patch_embed": "stem",
        "stages.0.patch_embed": "other",
        "stages.0.fc": "other",
        "fc": "head",
    }


@pytest.mark.parametrize(
    ("product", "part"),
    [
        (Product.SCORES, "attention"),
        (Product.DERIVED, "attention"),  # queries and a gathered table of positions
        (Product.CONSTANT, "other"),  # the table itself
        (Product.LAYER, "projections"),  # by a weight that it holds itself
    ],
)
def test_what_an_attention_multiplies_itself_is_told_by_what_it_is(product: Product, part: str) -> None:
    model = nn.ModuleDict({"attn": Attends()})
    parts = find_parts(model, [Place("attn", Product.SCORES)])
    assert parts.of_place(Place("attn", product)) == part


@pytest.mark.parametrize("name", ["attn", "mlp", "mixer", "pos_embed"])
def test_a_selective_scan_is_attention_whatever_its_module_is_called(name: str) -> None:
    class Scans(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            u = x.transpose(1, 2)  # (B, 4, 16)
            return selective_scan(u, u, -torch.ones(4, 2), u[:, :2], u[:, 2:]).transpose(1, 2)

    counts, rows, notes = count_module(lambda: one_block(name, Scans()))
    scan = 9 * 16 * 4 * 2 // 2
    assert {row.part: row.macs for row in rows if row.path == name} == {"attention": scan}
    assert counts.flops_by_part["attention"] == 2 * scan
    assert not notes


def test_attention_that_pools_for_the_classifier_belongs_to_the_head() -> None:
    model = nn.ModuleDict({"attn_pool": Attends()})
    parts = find_parts(model, [Place("attn_pool", Product.SCORES)])
    assert parts.of_place(Place("attn_pool", Product.SCORES)) == "head"


def test_a_model_can_name_its_parts_itself() -> None:
    block = Gates()
    block.fc.flops_part = "projections"
    assert parts_of_layers(lambda: one_block("mlp", block)) == {"stem": "stem", "mlp.fc": "projections"}
