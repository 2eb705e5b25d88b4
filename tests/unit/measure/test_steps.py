from __future__ import annotations

import re

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from atlasbench.core.errors import UnsupportedError
from atlasbench.core.resolution import Resolution
from atlasbench.core.workload import AttentionBackend, Dtype, MemoryFormat, Mode, Workload
from atlasbench.measure.cpu_device import CpuDevice
from atlasbench.measure.kernels import name_kernels, watch_operators
from atlasbench.measure.steps import Step, describe_output, prepare_step
from atlasbench.models.layers import selective_scan


class Watched(nn.Module):
    """A tiny backbone with attention and batch statistics, which notes what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 4, stride=4)
        self.norm = nn.BatchNorm2d(8)
        self.dropout = nn.Dropout(0.5)
        self.head = nn.Linear(8, 5)
        self.seen: list[dict[str, object]] = []

    def forward(self, images: Tensor) -> Tensor:
        x = self.norm(self.stem(images))
        self.seen.append(
            {
                "training": self.training,
                "grad": torch.is_grad_enabled(),
                "input": images.dtype,
                "arithmetic": x.dtype,
                "channels_last": images.is_contiguous(memory_format=torch.channels_last),
                "images": images.clone(),
            }
        )
        tokens = x.flatten(2).transpose(1, 2).contiguous()[:, None]
        tokens = functional.scaled_dot_product_attention(tokens, tokens, tokens)
        return self.head(self.dropout(tokens[:, 0].mean(1)))


def workload_of(**fields) -> Workload:
    return Workload(model="tiny", resolution=Resolution(16, 24), batch_size=2, **fields)


def step_of(model: nn.Module | None = None, **fields) -> tuple[Step, nn.Module]:
    torch.manual_seed(0)
    model = model or Watched()
    return prepare_step(model, workload_of(**fields), CpuDevice()), model


def test_inference_runs_in_eval_mode_without_gradients_and_drops_the_output() -> None:
    step, model = step_of()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    step()
    assert model.seen[0]["training"] is False
    assert model.seen[0]["grad"] is False
    assert step.output is None
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_a_training_step_changes_every_parameter_and_leaves_no_gradients() -> None:
    step, model = step_of(mode=Mode.TRAIN)
    before = {name: value.clone() for name, value in model.named_parameters()}
    step()
    assert model.seen[0]["training"] is True
    assert model.seen[0]["grad"] is True
    assert all(not torch.equal(before[name], value) for name, value in model.named_parameters())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_the_input_is_the_same_normal_noise_for_every_workload_of_a_shape() -> None:
    images = []
    for _ in range(2):
        step, model = step_of()
        step()
        step()
        assert torch.equal(model.seen[0]["images"], model.seen[1]["images"])
        images.append(model.seen[0]["images"])
    assert images[0].shape == (2, 3, 16, 24)
    assert torch.equal(*images)
    assert abs(float(images[0].mean())) < 0.1
    assert abs(float(images[0].std()) - 1) < 0.1


@pytest.mark.parametrize(
    ("dtype", "weights", "arithmetic"),
    [
        (Dtype.FLOAT32, torch.float32, torch.float32),
        (Dtype.BFLOAT16, torch.float32, torch.bfloat16),
        (Dtype.FLOAT16, torch.float32, torch.float16),
        (Dtype.PURE_BFLOAT16, torch.bfloat16, torch.bfloat16),
        (Dtype.PURE_FLOAT16, torch.float16, torch.float16),
    ],
)
@pytest.mark.parametrize("mode", list(Mode))
def test_autocast_keeps_the_weights_and_pure_dtypes_cast_them(mode: Mode, dtype: Dtype, weights, arithmetic) -> None:
    step, model = step_of(mode=mode, dtype=dtype)
    step()
    assert next(model.parameters()).dtype is weights
    assert model.seen[0]["input"] is weights
    assert model.seen[0]["arithmetic"] is arithmetic


def test_float16_training_scales_its_loss_so_that_small_gradients_survive() -> None:
    class TinyGradients(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(3, 5)

        def forward(self, images: Tensor) -> Tensor:
            return self.head(images.mean((2, 3))) * 2.0**-16

    step, _ = step_of(TinyGradients(), mode=Mode.TRAIN, dtype=Dtype.FLOAT16)
    step()
    moments = [state["exp_avg"] for state in step._training._optimizer.state.values()]
    assert len(moments) == 2
    assert all(bool((moment != 0).any()) for moment in moments)


def test_channels_last_reaches_the_model_and_its_input() -> None:
    step, model = step_of(memory_format=MemoryFormat.CHANNELS_LAST)
    step()
    assert model.seen[0]["channels_last"] is True
    assert model.stem.weight.is_contiguous(memory_format=torch.channels_last)
    step, model = step_of()
    step()
    assert model.seen[0]["channels_last"] is False


def test_bytes_before_an_inference_step_are_parameters_buffers_and_input() -> None:
    step, model = step_of()
    parameters = 4 * sum(parameter.numel() for parameter in model.parameters())
    buffers = 8 * 4 * 2 + 8  # mean and variance, and the count of batches
    assert step.resident_bytes == parameters + buffers + 4 * 2 * 3 * 16 * 24


def test_bytes_before_a_training_step_include_labels_and_optimizer_state() -> None:
    inference, _ = step_of()
    training, model = step_of(mode=Mode.TRAIN)
    training()
    numbers = sum(parameter.numel() for parameter in model.parameters())
    counters = 4 * len(list(model.parameters()))  # AdamW counts its steps for each parameter
    assert training.resident_bytes == inference.resident_bytes + 2 * 4 * numbers + counters + 2 * 8


def test_tied_weights_are_counted_once() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 24, 8), nn.Linear(8, 8), nn.Linear(8, 8))
    step, _ = step_of(model)
    untied = step.resident_bytes
    model[3].weight = model[2].weight
    assert step.resident_bytes == untied - 8 * 8 * 4


def test_a_step_is_known_to_add_its_output_and_in_training_the_gradients() -> None:
    step, model = step_of()
    step.keep_output = True
    step()
    assert step.least_growth_bytes == 2 * 5 * 4
    assert step.output.shape == (2, 5)
    step, model = step_of(mode=Mode.TRAIN)
    model.stem.weight.requires_grad_(False)
    step.keep_output = True
    step()
    trained = sum(parameter.numel() for parameter in model.parameters()) - model.stem.weight.numel()
    assert step.least_growth_bytes == 2 * 5 * 4 + 4 * trained


def test_a_model_that_gives_several_outputs_is_trained_on_the_first() -> None:
    class Several(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(3, 5)

        def forward(self, images: Tensor) -> dict[str, list[Tensor]]:
            return {"logits": [self.head(images.mean((2, 3))), images]}

    step, model = step_of(Several(), mode=Mode.TRAIN)
    before = model.head.weight.clone()
    step()
    assert not torch.equal(before, model.head.weight)


def test_a_model_without_a_tensor_to_train_on_is_unsupported() -> None:
    class Nothing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(1))

        def forward(self, images: Tensor) -> str:
            return "no"

    step, _ = step_of(Nothing(), mode=Mode.TRAIN)
    with pytest.raises(UnsupportedError, match=r"needs logits \(B, classes\); the model gives a str"):
        step()


@pytest.mark.parametrize(
    ("output", "note"),
    [
        (torch.zeros(2, 5), None),
        (torch.tensor([[1.0], [float("nan")]]), "logits are not finite"),
        (torch.zeros(2, 5, 4, 4), r"a tensor of shape \(2, 5, 4, 4\), not logits \(2, classes\)"),
        (torch.zeros(3, 5), r"a tensor of shape \(3, 5\), not logits"),
        ([torch.zeros(2, 5)], "the model gives a list, not logits"),
    ],
)
def test_an_output_that_is_not_finite_logits_is_noted(output: object, note: str | None) -> None:
    notes = describe_output(output, workload_of())
    if note is None:
        assert notes == ()
    else:
        (only,) = notes
        assert re.search(note, only)


# Kernels


@pytest.mark.parametrize(("backend", "kernel"), [(AttentionBackend.MATH, "math"), (AttentionBackend.FLASH, "flash")])
@pytest.mark.parametrize("mode", list(Mode))
def test_the_attention_kernel_that_ran_is_the_one_asked_for(mode: Mode, backend: AttentionBackend, kernel: str) -> None:
    step, _ = step_of(mode=mode, attention_backend=backend)
    assert name_kernels(watch_operators(step), compiled=False) == {
        "attention": kernel,
        "scan": "none",
        "compile": "eager",
    }


def test_left_alone_torch_names_the_kernel_it_chose() -> None:
    step, _ = step_of()
    assert name_kernels(watch_operators(step), compiled=False)["attention"] in ("flash", "math")


def test_a_kernel_that_is_not_there_fails_instead_of_running_another() -> None:
    step, _ = step_of(attention_backend=AttentionBackend.CUDNN)
    with pytest.raises(RuntimeError, match=r"No (viable backend|available kernel)"):
        step()


def test_a_model_without_scaled_dot_product_attention_has_none() -> None:
    step, _ = step_of(nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 24, 5)))
    assert name_kernels(watch_operators(step), compiled=False)["attention"] == "none"


def test_several_kernels_are_all_named() -> None:
    operators = {"aten::_scaled_dot_product_flash_attention_for_cpu", "aten::_scaled_dot_product_attention_math"}
    assert name_kernels(operators, compiled=False)["attention"] == "flash+math"


def test_under_a_compiler_attention_that_was_not_seen_is_unknown() -> None:
    assert name_kernels(set(), compiled=True) == {"attention": "unknown", "scan": "none", "compile": "inductor"}
    seen = {"aten::_scaled_dot_product_efficient_attention"}
    assert name_kernels(seen, compiled=True)["attention"] == "efficient"


@pytest.mark.parametrize("profiler", ["profiler_legacy", None])
@pytest.mark.parametrize("training", [False, True])
def test_our_selective_scan_is_named(training: bool, profiler: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if profiler is None:
        monkeypatch.delattr(torch.autograd, "profiler_legacy")
    u = torch.ones(1, 4, 5, requires_grad=training)
    weights = torch.ones(1, 2, 5)
    operators = watch_operators(lambda: selective_scan(u, u, -torch.ones(4, 2), weights, weights))
    assert name_kernels(operators, compiled=False)["scan"] == "pytorch"


@pytest.mark.parametrize("training", [False, True])
def test_a_selective_scan_of_mamba_ssm_is_known_by_its_autograd_function(training: bool) -> None:
    class SelectiveScanFn(torch.autograd.Function):
        @staticmethod
        def forward(ctx, u):
            return u.cumsum(0)

    u = torch.ones(3, requires_grad=training)
    operators = watch_operators(lambda: SelectiveScanFn.apply(u))
    assert name_kernels(operators, compiled=False)["scan"] == "mamba_ssm"


@pytest.mark.parametrize("profiler", ["profiler_legacy", None])
def test_operators_are_seen_with_either_profiler(monkeypatch: pytest.MonkeyPatch, profiler: str | None) -> None:
    if profiler is None:
        monkeypatch.delattr(torch.autograd, "profiler_legacy")
    assert "aten::mm" in watch_operators(lambda: torch.zeros(2, 2) @ torch.zeros(2, 2))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_a_compiled_step_computes_what_the_plain_one_does() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 4, stride=4), nn.GELU(), nn.Flatten(), nn.Linear(4 * 4 * 6, 5))
    outputs = []
    for compiled in (False, True):
        step, _ = step_of(model, compiled=compiled)
        step.keep_output = True
        step()
        outputs.append(step.output)
    torch.testing.assert_close(outputs[0], outputs[1])


# Models whose input is no image


class OnTokens(nn.Module):
    """Takes a map of 8 channels."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 5)
        self.shapes: list[torch.Size] = []

    def forward(self, tokens: Tensor) -> Tensor:
        self.shapes.append(tokens.shape)
        return self.layer(tokens.mean((2, 3)))


@pytest.mark.parametrize("mode", list(Mode))
def test_a_model_that_takes_tokens_is_given_as_many_as_it_names(mode: Mode) -> None:
    model = OnTokens()
    step = prepare_step(model, workload_of(mode=mode), CpuDevice(), input_shape=(8, 4, 6))
    step()
    assert model.shapes == [(2, 8, 4, 6)]
    weights = 4 * (8 * 5 + 5)
    states = 2 * weights + 2 * 4 + 2 * 8 if mode is Mode.TRAIN else 0
    assert step.resident_bytes == weights + states + 4 * 2 * 8 * 4 * 6
