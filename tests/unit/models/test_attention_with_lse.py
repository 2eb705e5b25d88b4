"""Attention with its log-sum-exp: every kernel against the written-out definition, and which one is chosen."""

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from atlasbench.core.errors import UnsupportedError
from atlasbench.models.layers import attention_with_lse as module
from atlasbench.models.layers.attention_with_lse import AttentionKernel, attention_with_lse, choose_kernel

DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]
# torch's kernel takes a faster exponential for half precision; rounding the scores would cost 2e-2.
LSE_TOLERANCE = {torch.float64: 1e-12, torch.float32: 2e-6, torch.bfloat16: 1e-4, torch.float16: 1e-4}
TOLERANCE = {torch.float64: 1e-12, torch.float32: 2e-6, torch.bfloat16: 1e-2, torch.float16: 2e-3}
SIZES = [(64, 64), (37, 50), (1, 7), (70, 1)]
BACKENDS = {"fused": SDPBackend.FLASH_ATTENTION, "written out": SDPBackend.MATH}


def make_inputs(queries: int, keys: int, dtype: torch.dtype, head_dim: int = 24) -> list[Tensor]:
    generator = torch.Generator().manual_seed(queries)
    shapes = [(2, 3, length, head_dim) for length in (queries, keys, keys)]
    return [torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype).requires_grad_() for shape in shapes]


def define(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """In float64, entry by entry as on paper."""
    q, k, v = q.double(), k.double(), v.double()
    shares = torch.exp(torch.einsum("bhqd,bhkd->bhqk", q, k) / q.shape[-1] ** 0.5)
    if mask is not None:
        shares = torch.where(mask, shares, 0.0)
    total = shares.sum(dim=-1)
    out = torch.einsum("bhqk,bhkd->bhqd", shares, v) / torch.where(total == 0, 1.0, total)[..., None]
    return out, total.log()


def some_mask(shape: tuple[int, ...]) -> Tensor:
    mask = torch.rand(shape, generator=torch.Generator().manual_seed(1)) < 0.6
    mask[..., 0] = True
    return mask


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("queries", "keys"), SIZES)
def test_output_and_lse_are_those_of_the_definition(backend: str, dtype: torch.dtype, queries: int, keys: int) -> None:
    inputs = make_inputs(queries, keys, dtype)
    with sdpa_kernel(BACKENDS[backend]):
        out, lse = attention_with_lse(*inputs)
    wanted, wanted_lse = define(*inputs)
    assert out.dtype == dtype
    assert lse.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert not lse.requires_grad
    assert lse.shape == (2, 3, queries)
    torch.testing.assert_close(out.double(), wanted, rtol=0, atol=TOLERANCE[dtype])
    torch.testing.assert_close(lse.double(), wanted_lse, rtol=0, atol=LSE_TOLERANCE[dtype])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("mask_shape", [(2, 3, 37, 50), (2, 1, 1, 50), (1, 3, 1, 50), (37, 50)], ids=str)
def test_gradients_are_those_of_the_definition(backend: str, mask_shape: tuple[int, ...]) -> None:
    mask = some_mask(mask_shape)
    upstream = torch.randn(2, 3, 37, 24, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    grads = []
    for function in (attention_with_lse, define):
        for given in (None, mask):
            inputs = make_inputs(37, 50, torch.float64)
            with sdpa_kernel(BACKENDS[backend]):
                out, _ = function(*inputs, given)
                grads.append((out, *torch.autograd.grad(out, inputs, upstream)))
    torch.testing.assert_close(grads[:2], grads[2:], rtol=0, atol=1e-12)
    assert not torch.allclose(grads[0][0], grads[1][0], atol=1e-3)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_query_that_reads_nothing_gets_zero_and_no_gradient(backend: str, dtype: torch.dtype) -> None:
    mask = some_mask((2, 3, 37, 50))
    mask[0, 1, 5] = False
    mask[1, :, 36] = False
    inputs = make_inputs(37, 50, dtype)
    with sdpa_kernel(BACKENDS[backend]):
        out, lse = attention_with_lse(*inputs, mask)
        out.float().square().sum().backward()
    wanted, wanted_lse = define(*inputs, mask)
    torch.testing.assert_close(out.double(), wanted, rtol=0, atol=TOLERANCE[dtype])
    torch.testing.assert_close(lse.double(), wanted_lse, rtol=0, atol=LSE_TOLERANCE[dtype])
    assert torch.isinf(lse).sum() == 4
    for tensor in inputs:
        assert tensor.grad is not None
        assert torch.isfinite(tensor.grad).all()
    assert inputs[0].grad is not None
    assert (inputs[0].grad[0, 1, 5] == 0).all()


@pytest.mark.parametrize("backend", BACKENDS)
def test_strided_inputs_need_no_copy(backend: str) -> None:
    packed = torch.randn(2, 37, 3, 3, 24, generator=torch.Generator().manual_seed(3))
    strided = [packed[:, :, index].transpose(1, 2) for index in range(3)]
    with sdpa_kernel(BACKENDS[backend]):
        out, lse = attention_with_lse(*strided)
        plain, plain_lse = attention_with_lse(*(tensor.contiguous() for tensor in strided))
    torch.testing.assert_close(out, plain)
    torch.testing.assert_close(lse, plain_lse)


@pytest.mark.parametrize("backend", BACKENDS)
def test_autocast_rounds_like_the_public_function_and_keeps_the_lse_precise(backend: str) -> None:
    inputs = make_inputs(37, 50, torch.float32)
    with sdpa_kernel(BACKENDS[backend]), torch.autocast("cpu", torch.bfloat16):
        out, lse = attention_with_lse(*inputs)
        public = F.scaled_dot_product_attention(*inputs)
    assert out.dtype == public.dtype == torch.bfloat16
    torch.testing.assert_close(out, public, rtol=0, atol=1e-2)
    _, wanted = define(*(tensor.bfloat16() for tensor in inputs))
    torch.testing.assert_close(lse.double(), wanted, rtol=0, atol=LSE_TOLERANCE[torch.bfloat16])


@pytest.mark.parametrize(
    ("backend", "kernel"), [(SDPBackend.FLASH_ATTENTION, "FLASH_CPU"), (SDPBackend.MATH, "MATMUL")]
)
def test_the_choice_follows_torchs_switches(backend: SDPBackend, kernel: str) -> None:
    q, k, v = make_inputs(8, 8, torch.float32)
    with sdpa_kernel(backend):
        assert choose_kernel(q, k, v, None) is AttentionKernel[kernel]
    assert choose_kernel(q, k, v, None) is AttentionKernel.FLASH_CPU


def test_without_a_kernel_that_is_switched_on_the_reason_is_said() -> None:
    q, k, v = make_inputs(8, 8, torch.float32)
    message = (
        "No kernel that is switched on gives attention with its log-sum-exp for float32 on cpu: "
        "allow another attention backend."
    )
    with sdpa_kernel(SDPBackend.EFFICIENT_ATTENTION), pytest.raises(UnsupportedError) as error:
        attention_with_lse(q, k, v)
    assert str(error.value) == message


def test_a_torch_without_the_operators_multiplies_matrices(monkeypatch: pytest.MonkeyPatch) -> None:
    class NoOperators:
        pass

    inputs = make_inputs(37, 50, torch.float32)
    fused = attention_with_lse(*inputs)
    with monkeypatch.context() as patch:
        patch.setattr(torch.ops, "aten", NoOperators())
        assert [kernel.name for kernel in AttentionKernel if kernel.is_here] == ["MATMUL"]
        assert choose_kernel(*inputs, None) is AttentionKernel.MATMUL
    assert all(kernel.is_here for kernel in AttentionKernel)
    torch.testing.assert_close(module.attention_by_matmul(*inputs, None), fused)


@pytest.mark.parametrize(
    ("dtype", "head_dim", "has_mask", "kernel"),
    [
        (torch.bfloat16, 64, False, "FLASH"),
        (torch.float16, 24, False, "FLASH"),
        (torch.bfloat16, 20, False, "EFFICIENT"),  # flash wants multiples of 8
        (torch.bfloat16, 64, True, "EFFICIENT"),  # flash takes no mask
        (torch.float32, 64, False, "EFFICIENT"),
        (torch.float64, 64, False, "MATMUL"),
    ],
    ids=str,
)
def test_on_a_gpu_the_kernel_follows_dtype_head_size_and_mask(
    monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype, head_dim: int, has_mask: bool, kernel: str
) -> None:
    monkeypatch.setattr(module, "SDPAParams", lambda *arguments: arguments)
    monkeypatch.setattr(module, "can_use_flash_attention", lambda _: True)
    monkeypatch.setattr(module, "can_use_efficient_attention", lambda _: True)
    with FakeTensorMode():
        q, k, v = (torch.empty(2, 3, 130, head_dim, device="cuda", dtype=dtype) for _ in range(3))
        bias = torch.zeros(2, 3, 130, 130, device="cuda", dtype=dtype) if has_mask else None
        assert choose_kernel(q, k, v, bias) is AttentionKernel[kernel]


def test_the_efficient_kernels_lse_is_cut_to_the_queries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "choose_kernel", lambda *_: AttentionKernel.EFFICIENT)
    with FakeTensorMode():
        q, k, v = (torch.empty(2, 3, 130, 64, device="cuda") for _ in range(3))
        assert torch.ops.aten._scaled_dot_product_efficient_attention(q, k, v, None, True)[1].shape == (2, 3, 160)
        out, lse = attention_with_lse(q, k, v)
    assert out.shape == q.shape
    assert lse.shape == (2, 3, 130)


def test_a_gpu_that_can_use_neither_multiplies_matrices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SDPAParams", lambda *arguments: arguments)
    monkeypatch.setattr(module, "can_use_flash_attention", lambda _: False)
    monkeypatch.setattr(module, "can_use_efficient_attention", lambda _: False)
    with FakeTensorMode():
        q, k, v = (torch.empty(2, 3, 130, 64, device="cuda", dtype=torch.bfloat16) for _ in range(3))
        assert choose_kernel(q, k, v, None) is AttentionKernel.MATMUL


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("has_mask", [False, True], ids=["all", "masked"])
@pytest.mark.parametrize("head_dim", [64, 24, 20])
@pytest.mark.parametrize("length", [128, 130])
def test_on_a_real_gpu_every_kernel_gives_the_definition(
    dtype: torch.dtype, has_mask: bool, head_dim: int, length: int
) -> None:
    inputs = [tensor.detach().cuda().requires_grad_() for tensor in make_inputs(length, length, dtype, head_dim)]
    mask = some_mask((2, 1, 1, length)).cuda() if has_mask else None
    out, lse = attention_with_lse(*inputs, mask)
    wanted, wanted_lse = define(*inputs, mask)
    tolerance = 1e-2 if dtype == torch.float32 else 4 * TOLERANCE[dtype]  # float32 may run in TF32
    torch.testing.assert_close(out.double(), wanted, rtol=0, atol=tolerance)
    torch.testing.assert_close(lse.double(), wanted_lse, rtol=0, atol=1e-2)
    grads = torch.autograd.grad(out.double().square().sum(), inputs)
    wanted_grads = torch.autograd.grad(wanted.square().sum(), inputs)
    for grad, wanted_grad in zip(grads, wanted_grads, strict=True):
        torch.testing.assert_close(grad, wanted_grad, rtol=5e-2, atol=10 * tolerance)
