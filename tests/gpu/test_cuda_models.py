"""What our models compute on a real GPU, with its own kernels; skips itself without one."""

from __future__ import annotations

from importlib import import_module

import pytest
import torch
from torch import Tensor

from atlasbench.core.resolution import Resolution
from atlasbench.models.factory import build_model
from atlasbench.models.layers.dilated_attention import dilated_attention
from atlasbench.models.layers.scan.mamba import find_mamba_scan
from atlasbench.models.layers.scan.reference import selective_scan_reference
from atlasbench.models.layers.selective_scan import scan_backend, selective_scan

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

SMALL = ["atlas_ti", "vit_ti", "window_vit_s", "swin_t", "convnext_t", "fastervit_0", "mambavision_t", "longvit_b"]


@pytest.fixture(autouse=True)
def _in_full_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


def relative_error(found: Tensor, exact: Tensor) -> float:
    return float((found.double().cpu() - exact.double().cpu()).norm() / exact.double().cpu().norm())


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_logits_and_gradients_of_a_model_are_those_of_the_cpu(name: str) -> None:
    torch.manual_seed(0)
    model = build_model(name, resolution=Resolution(256, 256), options={}).model.eval()
    images = torch.randn(2, 3, 256, 256)
    found = []
    for device in ("cpu", "cuda"):
        model.to(device).zero_grad()
        logits = model(images.to(device))
        logits.square().sum().backward()
        grads = torch.cat([x.grad.flatten().cpu() for x in model.parameters() if x.grad is not None])
        found.append((logits.detach(), grads))
    (logits, grads), (cuda_logits, cuda_grads) = found
    assert relative_error(cuda_logits, logits) < 1e-4
    assert relative_error(cuda_grads, grads) < 1e-3


@pytest.mark.parametrize("kernel", ["pytorch", "mamba_ssm"])
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.float16, 2e-2), (torch.bfloat16, 2e-2)], ids=str
)
@pytest.mark.parametrize("groups", [0, 4])
@pytest.mark.parametrize("length", [37, 196, 4096])
def test_both_scan_kernels_give_the_loop(
    kernel: str, dtype: torch.dtype, tolerance: float, groups: int, length: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kernel == "pytorch":
        module = import_module(selective_scan.__module__)  # its name in the package is that of the function
        monkeypatch.setattr(module, "scan_backend", lambda _: "pytorch")
    elif scan_backend("cuda") != "mamba_ssm":
        pytest.skip(f"mamba-ssm {find_mamba_scan()[1]}")
    torch.manual_seed(length)
    weights = (2, groups, 8, length) if groups else (2, 8, length)
    inputs = [
        torch.randn(2, 64, length).to(dtype),
        torch.empty(2, 64, length).uniform_(-5, 1).to(dtype),
        -torch.empty(64, 8).uniform_(0.1, 8),
        torch.randn(weights).to(dtype),
        torch.randn(weights).to(dtype),
        torch.randn(64),
        0.1 * torch.randn(64),
    ]
    grad_y = torch.randn(2, 64, length).to(dtype)

    exact = [x.double().cuda().requires_grad_() for x in inputs]
    wanted = selective_scan_reference(*exact)
    wanted.backward(grad_y.double().cuda())
    leaves = [x.cuda().requires_grad_() for x in inputs]
    y = selective_scan(*leaves)
    y.backward(grad_y.cuda())

    assert y.dtype == dtype
    assert relative_error(y.detach(), wanted.detach()) < tolerance
    for leaf, true in zip(leaves, exact, strict=True):
        assert relative_error(leaf.grad, true.grad) < 5 * tolerance


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float16, 2e-3), (torch.bfloat16, 2e-2)], ids=str
)
def test_dilated_attention_is_that_of_the_cpu(dtype: torch.dtype, tolerance: float) -> None:
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, 1030, 6, 64) for _ in range(3))
    wanted = dilated_attention(q.double(), k.double(), v.double(), [64, 256, 1030], [1, 2, 4])
    found = dilated_attention(q.to("cuda", dtype), k.to("cuda", dtype), v.to("cuda", dtype), [64, 256, 1030], [1, 2, 4])
    assert relative_error(found, wanted) < tolerance
