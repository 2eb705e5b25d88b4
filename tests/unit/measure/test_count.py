from pathlib import Path

import pytest
import torch
from counting import SIDE, count_module, count_named
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from atlasbench.core.errors import UnsupportedError
from atlasbench.core.record import LayerGroup
from atlasbench.core.resolution import Resolution
from atlasbench.core.workload import AttentionBackend, Mode, Workload
from atlasbench.measure.count import count_built, plan_workload
from atlasbench.measure.dataless import build_without_data
from atlasbench.measure.inputs import logits_of
from atlasbench.models.built import BuiltModel
from atlasbench.models.factory import build_model


class Small(nn.Module):
    """A stem, a tied pair of layers, a head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 8, stride=8, bias=False)
        self.blocks = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False))
        self.blocks[1].weight = self.blocks[0].weight
        self.head = nn.Linear(4, 10)

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.blocks(self.stem(image).flatten(2).transpose(1, 2)).mean(1))


TOKENS = (SIDE // 8) ** 2


@pytest.mark.parametrize("batch_size", [1, 3])
def test_counts_are_per_image_and_the_rows_by_module_sum_to_them(batch_size: int) -> None:
    counts, modules, notes = count_module(Small, batch_size=batch_size)
    assert counts.macs == TOKENS * (3 * 64 * 4 + 2 * 16) + 4 * 10
    assert counts.flops == 2 * counts.macs == sum(counts.flops_by_part.values())
    assert counts.params == 3 * 64 * 4 + 16 + 50 == sum(counts.params_by_part.values())  # what is tied counts once
    assert counts.activation_bytes == 4 * batch_size * (3 * TOKENS * 4 + 10)  # of the whole batch
    assert sum(module.macs for module in modules) == counts.macs
    assert {module.path: (module.part, module.params, module.macs) for module in modules} == {
        "stem": ("stem", 3 * 64 * 4, TOKENS * 3 * 64 * 4),
        "blocks.0": ("other", 16, TOKENS * 16),
        "blocks.1": ("other", 0, TOKENS * 16),
        "head": ("head", 50, 40),
    }
    assert not notes


@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize("batch_size", [1, 3])
def test_layers_with_weights_are_listed_by_part_and_tokens_of_one_image(batch_size: int, mode: Mode) -> None:
    counts, _, _ = count_module(Small, batch_size=batch_size, mode=mode)
    assert counts.layers == (
        LayerGroup(part="stem", tokens=TOKENS, values=TOKENS * 4),
        LayerGroup(part="head", tokens=1, values=10),
        LayerGroup(part="other", tokens=TOKENS, values=2 * TOKENS * 4),
    )


def test_padding_is_part_of_the_tokens_that_a_layer_computes() -> None:
    groups = [group for group in count_named("swin_t", 128).layers if group.part == "projections"]
    # Grids of 32, 16, 8 and 4 tokens a side in windows of 7; the last is one window of its own size.
    assert [group.tokens for group in groups] == [35**2, 21**2, 14**2, 7**2]
    assert groups[0].values == 2 * 35**2 * 4 * 96  # two blocks: queries, keys, values and the output


def test_work_that_is_done_once_for_a_batch_is_shared_by_its_images() -> None:
    one, four = (count_named("atlas_ti", 256, batch_size=size) for size in (1, 4))
    assert four.flops_by_part["other"] == one.flops_by_part["other"] // 4
    unshared = {part: flops for part, flops in one.flops_by_part.items() if part != "other"}
    assert {part: flops for part, flops in four.flops_by_part.items() if part != "other"} == unshared


@pytest.mark.parametrize("mode", list(Mode))
def test_a_model_without_a_classifier_is_counted(mode: Mode) -> None:
    counts = count_named("vit_ti", 64, options={"num_classes": 0}, mode=mode)
    assert counts.flops_by_part["head"] == 0 < counts.flops


def test_training_costs_three_forward_passes_less_the_gradient_to_the_image() -> None:
    infer, train = count_module(Small)[0], count_module(Small, mode=Mode.TRAIN)[0]
    factors = {part: train.flops_by_part[part] / flops for part, flops in infer.flops_by_part.items() if flops}
    assert factors == {"stem": 2, "other": 3, "head": 3}
    assert train.activation_bytes == infer.activation_bytes


@pytest.mark.parametrize(
    "name", ["vit_ti", "swin_t", "swinv2_t", "convnext_t", "davit_t", "atlas_ti", "xcit_nano_12_p16_224"]
)
@pytest.mark.parametrize(("height", "width"), [(128, 224), (416, 96)])
def test_totals_are_torch_s_own_on_images_that_are_not_square(name: str, height: int, width: int) -> None:
    with torch.device("meta"):
        model = build_model(name, resolution=Resolution(height, width), options={}, probe=False).model
        with FlopCounterMode(display=False) as counter:
            model.eval().requires_grad_(False)(torch.empty(1, 3, height, width))
    assert count_named(name, height, width).flops == counter.get_total_flops()


def test_counting_allocates_nothing_whatever_the_size() -> None:
    counts = count_named("vit_b", 8192, attention_backend=AttentionBackend.MATH)
    assert counts.predicted_peak_bytes > 12 * (512 * 512) ** 2 * 4  # one layer's scores: 3 TiB
    assert counts.tokens == 512 * 512


@pytest.mark.parametrize("wrap", [lambda x: (x,), lambda x: [x, None], lambda x: {"logits": x}, lambda x: ({"a": x},)])
def test_a_model_may_wrap_its_logits(wrap) -> None:
    class Wrapped(Small):
        def forward(self, image: Tensor) -> object:
            return wrap(super().forward(image))

    assert count_module(Wrapped, mode=Mode.TRAIN)[0].flops == count_module(Small, mode=Mode.TRAIN)[0].flops


def test_training_needs_a_tensor_to_learn_from() -> None:
    class Text(Small):
        def forward(self, image: Tensor) -> str:
            return "cat"

    assert count_module(Text)[0].flops == 0
    with pytest.raises(UnsupportedError, match=r"needs logits \(B, classes\); the model gives a str"):
        count_module(Text, mode=Mode.TRAIN)


def test_tensors_in_plain_attributes_come_along() -> None:
    class Plain(Small):
        def __init__(self) -> None:
            super().__init__()
            self.scale = torch.ones(4)
            self.tables = [torch.ones(4, 4), torch.ones(4, 4)]

        def forward(self, image: Tensor) -> Tensor:
            x = self.stem(image).flatten(2).transpose(1, 2) * self.scale
            return self.head((x @ self.tables[0] @ self.tables[1]).mean(1))

    assert count_module(Plain)[0].flops == count_module(Small)[0].flops


def test_what_is_not_counted_is_named() -> None:
    class Pairs(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.pair = nn.Bilinear(3, 3, 2)

        def forward(self, image: Tensor) -> Tensor:
            return self.pair(image.mean((2, 3)), image.mean((2, 3)))

    counts, _, notes = count_module(Pairs)
    assert counts.uncounted == ("aten._trilinear",)
    assert notes == ("aten._trilinear is not counted",)


ASKS_FOR_DATA = """
import torch
from torch import nn

class Adaptive(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 8, stride=8)

    def forward(self, image):
        x = self.stem(image)
        {question}
        return x.mean((2, 3))

def build():
    return Adaptive()
"""


@pytest.mark.parametrize(
    ("question", "operator"),
    [
        ("steps = int(x.sum().item())", "aten._local_scalar_dense"),
        ("x = x if x.mean() > 0 else -x", "aten._local_scalar_dense"),
        ("kept = x[x > 0]", "aten.nonzero"),
        ("table = x.numpy()", "numpy"),
    ],
)
def test_a_model_that_asks_for_values_is_planned_without_counts(tmp_path: Path, question: str, operator: str) -> None:
    file = tmp_path / "adaptive.py"
    file.write_text(ASKS_FOR_DATA.format(question=question))
    workload = Workload(model=f"{file}:build", resolution=Resolution(32, 32))
    plan = plan_workload(workload)
    assert plan.counts is None
    assert plan.modules == ()
    assert plan.notes[-1].startswith("cannot be counted without data: it needs the values of a tensor")
    assert operator in plan.notes[-1]


def test_where_counting_is_all_a_model_that_asks_for_values_is_unsupported(tmp_path: Path) -> None:
    file = tmp_path / "adaptive.py"
    file.write_text(ASKS_FOR_DATA.format(question="x.sum().item()"))
    workload = Workload(model=f"{file}:build", resolution=Resolution(32, 32), device="meta")
    with pytest.raises(
        UnsupportedError, match=r"build cannot be counted without data: it needs the values of a tensor"
    ):
        plan_workload(workload)


def test_a_plan_has_the_options_that_build_the_same_model() -> None:
    plan = plan_workload(Workload(model="vit_ti", resolution=Resolution(64, 64), device="meta"))
    assert plan.family == "vision_transformer"
    assert plan.workload.options["dynamic_img_size"] is True
    assert plan.counts is not None
    assert plan.counts.tokens == 16


def test_what_torch_changed_for_counting_is_as_it_was() -> None:
    before = torch.backends.mha.get_fastpath_enabled()
    count_module(Small)
    assert torch.backends.mha.get_fastpath_enabled() is before
    assert torch.is_grad_enabled()


class OnTokens(nn.Module):
    """Takes a map of 8 channels; a position MLP runs first."""

    def __init__(self) -> None:
        super().__init__()
        self.position = nn.Linear(2, 8)
        self.layer = nn.Linear(8, 8, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        assert tokens.shape[1:] == (8, 4, 6)
        x = tokens.flatten(2).transpose(1, 2) + self.position(torch.arange(48.0).view(24, 2))
        return self.layer(x).mean(1)


@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize("batch_size", [1, 3])
def test_a_model_that_takes_tokens_is_counted_on_as_many_as_it_names(batch_size: int, mode: Mode) -> None:
    built = build_without_data(lambda: BuiltModel(model=OnTokens(), input_shape=(8, 4, 6)))
    workload = Workload(model="tokens", resolution=Resolution(SIDE, SIDE), batch_size=batch_size, mode=mode)
    counts, modules, _ = count_built(built, workload)
    forward_passes = 3 if mode is Mode.TRAIN else 1
    assert counts.tokens == 24
    assert {module.path: module.part for module in modules} == {"position": "other", "layer": "other"}  # and no stem
    assert {module.path: module.macs for module in modules}["layer"] == forward_passes * 24 * 64


class Outputs(dict[str, Tensor]):
    """A dict of a model library's own."""


@pytest.mark.parametrize("wrap", [lambda x: Outputs(logits=x), lambda x: (None, [{"a": x}])])
def test_counting_and_measuring_find_the_same_logits(wrap) -> None:
    logits = torch.zeros(2, 5, 1, dtype=torch.bfloat16)
    found = logits_of(wrap(logits))
    assert found.shape == (2, 5)
    assert found.dtype is torch.float32
