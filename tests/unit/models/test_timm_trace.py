"""The trace of a forward pass, and the verdicts on it, on models small enough to know the answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import atlasbench.models  # noqa: F401  # makes timm importable where torchvision's binary does not fit
from atlasbench.core.errors import UnsupportedError
from atlasbench.core.resolution import Resolution
from atlasbench.models import timm_construction
from atlasbench.models.timm_families import Native
from atlasbench.models.timm_honesty import check_honesty
from atlasbench.models.timm_trace import trace_forward


class Model(nn.Module):
    """A patch embedding of an image that was prepared somehow, and a second convolution."""

    def __init__(self, prepare: Callable[[Tensor], Tensor], patch: int = 4, **second: Any) -> None:
        super().__init__()
        self.prepare = prepare
        self.patches = nn.Conv2d(3, 8, patch, patch)
        self.second = nn.Conv2d(8, 8, **(second or {"kernel_size": 1}))

    def forward(self, x: Tensor) -> Tensor:
        mean = torch.zeros(3, 1, 1, device=x.device)
        return self.second(self.patches(self.prepare(x - mean)))


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 4, 4)
        self.lstm = nn.LSTM(8, 5, bidirectional=True, batch_first=True)
        self.head = nn.Linear(10, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.lstm(self.patches(x).flatten(2).transpose(1, 2))[0])


def whole(x: Tensor) -> Tensor:
    return x


def judge(model: nn.Module, size: int, native_size: int = 32) -> tuple[str, ...]:
    model = model.to("meta")
    at_home = Resolution(native_size, native_size)
    native = Native(name="toy", resolution=at_home, model=model, trace=trace_forward(model, at_home))
    return check_honesty(native, model, Resolution(size, size))


@pytest.mark.parametrize(
    ("prepare", "reason"),
    [
        (lambda x: F.interpolate(x, (32, 32), mode="bicubic"), "resample the 64 px image"),
        (lambda x: F.adaptive_avg_pool2d(x, 32), "resample the 64 px image"),
        (lambda x: x[:, :, :32, :32], "cut 32 rows or columns"),
        (lambda x: F.avg_pool2d(x, x.shape[-1] // 32), "1.00 times the work for 4.0 times the pixels"),
    ],
    ids=["interpolated", "pooled", "cropped", "subsampled"],
)
def test_a_model_that_does_not_see_the_whole_image_is_refused(prepare: Callable[[Tensor], Tensor], reason: str) -> None:
    assert judge(Model(prepare), 32) == ()
    with pytest.raises(UnsupportedError, match=reason):
        judge(Model(prepare), 64)


@pytest.mark.parametrize(
    "prepare",
    [whole, lambda x: F.interpolate(x, scale_factor=0.5), lambda x: x[:, :, 1::2, ::2], lambda x: x.flip(-1)],
    ids=["whole", "halved", "every second pixel", "mirrored"],
)
def test_preparing_the_image_alike_at_every_size_is_honest(prepare: Callable[[Tensor], Tensor]) -> None:
    assert judge(Model(prepare), 64) == ()


def test_a_border_that_fills_no_patch_is_refused_with_sizes_that_do() -> None:
    with pytest.raises(UnsupportedError, match=r"last 3 rows and 3 columns .* 4x4 patches .*; try 64 or 68 px"):
        judge(Model(whole), 67)


def test_filling_up_the_last_patch_is_noted() -> None:
    def pad(x: Tensor) -> Tensor:
        return F.pad(x, (0, -x.shape[-1] % 4, 0, -x.shape[-2] % 4))

    assert judge(Model(pad), 67) == ("padded to 68x68",)


def test_padding_on_both_sides_counts_pixels_from_the_image() -> None:
    def pad(x: Tensor) -> Tensor:
        return F.pad(x, (2, 1, 1, 0))

    (reader,) = trace_forward(Model(pad, 3).to("meta"), Resolution(30, 30)).image_readers
    # 31 rows: windows end at row 29, row 28 of the image; 33 columns: at column 32, beyond the image.
    assert reader.side == (30, 30)
    assert reader.dropped == (1, 0)


@pytest.mark.parametrize(
    ("second", "dropped"),
    [
        ({"kernel_size": 2, "stride": 2}, (1, 1)),
        ({"kernel_size": 3, "stride": 2, "padding": 1}, (0, 0)),
        ({"kernel_size": 2, "dilation": 3}, (0, 0)),
        ({"kernel_size": (4, 2), "stride": (4, 2), "padding": (0, 1)}, (1, 0)),
    ],
)
def test_positions_that_no_output_depends_on_are_counted(second: dict[str, Any], dropped: tuple[int, int]) -> None:
    model = Model(whole, **second)
    (reader,) = trace_forward(model.to("meta"), Resolution(68, 68)).map_readers

    image = torch.zeros(1, 8, 17, 17, requires_grad=True)
    convolution = nn.Conv2d(8, 8, **second)
    convolution(image).abs().sum().backward()
    assert image.grad is not None
    seen = image.grad.abs().sum((0, 1)) > 0
    unseen = (17 - 1 - int(seen.any(1).nonzero().max()), 17 - 1 - int(seen.any(0).nonzero().max()))
    assert reader.side == (17, 17)
    assert reader.dropped == dropped == unseen


def test_unfolding_that_drops_positions_is_seen() -> None:
    class Unfolding(Model):
        def forward(self, x: Tensor) -> Tensor:
            return F.unfold(self.patches(x), 4, stride=4)

    trace = trace_forward(Unfolding(whole).to("meta"), Resolution(68, 72))
    assert [reader.dropped for reader in trace.map_readers] == [(1, 2)]


def test_recurrent_layers_give_their_shape_and_are_given_back() -> None:
    model = Recurrent().to("meta")
    trace = trace_forward(model, Resolution(32, 32))

    assert trace.work >= 64 * (8 + 10 + 2)
    assert "forward" not in vars(model.lstm)


def test_a_model_is_left_in_its_mode_even_when_it_fails() -> None:
    model = Model(whole).to("meta").train()
    model.patches.eval()
    with pytest.raises(RuntimeError):
        trace_forward(model, Resolution(2, 2))

    assert model.training
    assert not model.patches.training


def test_constructors_that_read_values_are_run_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    def create_model(name: str, *, pretrained: bool, num_classes: int) -> nn.Module:
        return nn.Linear(int(torch.linspace(0, 4, 2).tolist()[1]), num_classes)

    monkeypatch.setattr(timm_construction.timm, "create_model", create_model)
    with torch.device("meta"):
        model = timm_construction.construct("any", {"num_classes": 3})

    assert model.weight.shape == (3, 4)
    assert model.weight.device.type == "meta"
