"""fvcore counts the same, to the last multiply-accumulate."""

import pytest
import torch
from counting import watch
from torch import Tensor, nn
from torch.nn import functional as F

from atlasbench.core.errors import UnsupportedError
from atlasbench.core.plan import SecondOpinion
from atlasbench.core.resolution import Resolution
from atlasbench.core.workload import Dtype, Mode, Workload
from atlasbench.measure.second_opinion import count_with_fvcore, second_opinion
from atlasbench.models.layers import selective_scan
from atlasbench.registry import MODELS

QUICK = ["atlas_ti", "vit_ti", "convnext_t", "davit_t", "swin_t", "window_vit_s", "mambavision_t"]
SLOW = ["longvit_s", "swinv2_t", "gcvit_t", "maxvit_t", "fastervit_0"]
BLOCKS = [name for name in MODELS if name.startswith("block:")]


def ask(name: str, **fields: object) -> SecondOpinion:
    return second_opinion(Workload(model=name, resolution=Resolution(1024, 1024), **fields))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", [*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)])
def test_both_counters_agree_on_every_built_in_family(name: str) -> None:
    opinion = ask(name)
    assert opinion.macs == opinion.fvcore_macs > 0
    assert opinion.agrees


def test_every_built_in_family_is_among_them() -> None:
    assert {entry.family for entry in MODELS.values()} == {MODELS[name].family for name in [*QUICK, *SLOW, *BLOCKS]}


@pytest.mark.parametrize("name", BLOCKS)
def test_both_counters_agree_on_every_block(name: str) -> None:
    options = {"embed_dim": 24, "num_heads": 3, "depth": 2, "window_size": 8}
    assert ask(name, options=options).agrees


@pytest.mark.parametrize("drop", ["2-10", pytest.param("6-6", marks=pytest.mark.slow), "none"])
def test_both_counters_agree_on_more_scales_than_one(drop: str) -> None:
    opinion = ask("atlas_ti", scale_drop=drop)
    assert opinion.agrees
    if drop != "none":
        assert opinion.resolution == Resolution(320, 320)  # the smallest of the small sizes with two scales


@pytest.mark.parametrize("name", ["vit_base_patch16_siglip_224", "xcit_nano_12_p16_224", "pvt_v2_b0", "resnet18"])
def test_both_counters_agree_on_other_families(name: str) -> None:
    assert ask(name).agrees


def test_it_is_asked_about_one_image_and_inference_whatever_the_workload() -> None:
    plain = ask("vit_ti")
    assert ask("vit_ti", batch_size=8, mode=Mode.TRAIN, dtype=Dtype.PURE_BFLOAT16) == plain
    assert plain.resolution == Resolution(64, 64)


class Everything(nn.Module):
    """Each operator that fvcore misses or adds, once."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.GroupNorm(2, 4), nn.Upsample(scale_factor=2)
        )
        self.norm = nn.LayerNorm(4)

    def forward(self, image: Tensor) -> Tensor:
        x = self.layers(image).flatten(2).transpose(1, 2)
        x = F.scaled_dot_product_attention(x[:, None], x[:, None], x[:, None])[:, 0]
        x = torch.baddbmm(x, x, torch.ones(1, 4, 4))
        x = torch.ones(4, x.shape[1]) @ self.norm(x)  # two dimensions times three
        return torch.einsum("bnc,cd->bnd", x, torch.ones(4, 2))


def test_what_fvcore_misses_is_added_and_what_it_adds_is_left_out() -> None:
    tokens = 16  # 2 x 2 pixels, twice as large
    convolution, attention, batched = 4 * 3 * 4, 2 * tokens**2 * 4, tokens * 4 * 4
    matmul, einsum = 4 * tokens * 4, 4 * 4 * 2
    expected = convolution + attention + batched + matmul + einsum
    assert count_with_fvcore(Everything(), torch.zeros(1, 3, 2, 2)) == expected


@pytest.mark.parametrize("skip", [False, True])
def test_both_counters_agree_on_a_selective_scan(skip: bool) -> None:
    class Scans(nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            u = image.flatten(2)  # (B, 3, L)
            A, D = -torch.ones(3, 5), torch.ones(3) if skip else None
            weights = torch.ones(1, 5, u.shape[-1])
            return selective_scan(u, u, A, weights, weights, D).mean(-1)

    positions = 3 * 5 * 7
    expected = (positions * (9 * 5 + skip) + 1) // 2
    assert count_with_fvcore(Scans(), torch.zeros(1, 3, 5, 7)) == expected
    assert watch(Scans(), (1, 3, 5, 7)).macs.total() == expected


def test_a_model_is_left_in_the_mode_it_was_in(caplog: pytest.LogCaptureFixture) -> None:
    model = Everything().train()
    count_with_fvcore(model, torch.zeros(1, 3, 2, 2))
    assert model.training
    assert not caplog.records  # fvcore logs what it does not know


def test_a_model_that_takes_no_small_size_gets_no_second_opinion(tmp_path) -> None:
    file = tmp_path / "large.py"
    file.write_text(
        "from torch import nn\n"
        "class Large(nn.Module):\n"
        "    def forward(self, image):\n"
        "        assert image.shape[-1] >= 1024, 'too small'\n"
        "        return image.mean((2, 3))\n"
        "def build():\n"
        "    return Large()\n"
    )
    with pytest.raises(UnsupportedError, match="takes none of the small sizes up to 512 px: too small"):
        ask(f"{file}:build")
