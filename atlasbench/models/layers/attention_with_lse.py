"""Attention that also gives the log-sum-exp of its scores, which torch's public function keeps to itself.

torch's fused kernels compute it, behind operators that are private: each is used only where this version of torch has
it, and matrix products are the fallback and the definition. The choice follows torch's own switches
(`torch.nn.attention.sdpa_kernel`).

Legend: B batch, Q queries, K keys, d channels of a head.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.backends.cuda import (
    SDPAParams,
    can_use_efficient_attention,
    can_use_flash_attention,
    flash_sdp_enabled,
    math_sdp_enabled,
)
from torch.nn import functional as F

from atlasbench.core.compat import StrEnum
from atlasbench.core.errors import UnsupportedError

_HALVES = (torch.float16, torch.bfloat16)
_FLASH_ALIGNMENT = 8  # channels of a head
_BIAS_ALIGNMENT = 16  # elements, as torch pads a mask for its memory-efficient kernel


class AttentionKernel(StrEnum):
    """What computes attention and its log-sum-exp; each but the last is one operator of torch."""

    FLASH_CPU = "_scaled_dot_product_flash_attention_for_cpu"
    FLASH = "_scaled_dot_product_flash_attention"
    EFFICIENT = "_scaled_dot_product_efficient_attention"
    MATMUL = "matmul"

    @property
    def is_here(self) -> bool:
        """Whether this version of torch has it."""
        return self is AttentionKernel.MATMUL or hasattr(torch.ops.aten, self.value)


def attention_with_lse(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Attention softmax(q k^T / sqrt(d)) v, and the natural logarithm of the softmax's denominator.

    Args:
        q: (B, heads, Q, d) queries.
        k: (B, heads, K, d) keys, of the same dtype.
        v: (B, heads, K, d) values, of the same dtype.
        mask: True where a query may read a key; broadcasts to (B, heads, Q, K). None to read all.

    Returns:
        The (B, heads, Q, d) weighted values, and the (B, heads, Q) log-sum-exp of the scaled scores: float32 (float64
        for float64), without a gradient. A query that may read no key gets 0 and minus infinity.

    Raises:
        UnsupportedError: If the only kernels that are switched on cannot do this.
    """
    q, k, v = _follow_autocast(q), _follow_autocast(k), _follow_autocast(v)
    if mask is None:
        return _run(choose_kernel(q, k, v, None), q, k, v, None)
    reads_any = mask.any(dim=-1, keepdim=True)
    bias = _bias(mask | ~reads_any, q, k)  # kernels disagree about a softmax over nothing
    out, lse = _run(choose_kernel(q, k, v, bias), q, k, v, bias)
    return out.masked_fill(~reads_any, 0.0), lse.masked_fill(~reads_any.squeeze(-1), float("-inf"))


def choose_kernel(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None) -> AttentionKernel:
    """The fastest kernel that takes these tensors, among those that are switched on.

    Args:
        q: As for `attention_with_lse`, under autocast in its dtype.
        k: Likewise.
        v: Likewise.
        bias: Added to the scaled scores.

    Raises:
        UnsupportedError: If there is none.
    """
    may_flash, may_multiply = _switches()
    if q.device.type == "cpu" and may_flash and AttentionKernel.FLASH_CPU.is_here:
        return AttentionKernel.FLASH_CPU
    if q.device.type == "cuda" and q.dtype != torch.float64:
        params = SDPAParams(q, k, v, bias, 0.0, False, False)
        fits_flash = bias is None and q.dtype in _HALVES and q.shape[-1] % _FLASH_ALIGNMENT == 0
        if fits_flash and AttentionKernel.FLASH.is_here and can_use_flash_attention(params):
            return AttentionKernel.FLASH
        if AttentionKernel.EFFICIENT.is_here and can_use_efficient_attention(params):
            return AttentionKernel.EFFICIENT
    if not may_multiply:
        raise UnsupportedError(
            f"No kernel that is switched on gives attention with its log-sum-exp for {str(q.dtype)[6:]} on "
            f"{q.device.type}: allow another attention backend."
        )
    return AttentionKernel.MATMUL


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def _switches() -> tuple[bool, bool]:
    """Whether flash attention and written-out attention are switched on: a compiled model keeps the first answer."""
    return flash_sdp_enabled(), math_sdp_enabled()


def _run(kernel: AttentionKernel, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor]:
    if kernel is AttentionKernel.MATMUL:
        return attention_by_matmul(q, k, v, bias)
    operator = getattr(torch.ops.aten, kernel.value)
    results: Any
    if kernel is AttentionKernel.FLASH_CPU:
        results = operator(q, k, v, attn_mask=bias)
    elif kernel is AttentionKernel.FLASH:
        results = operator(q, k, v)
    else:
        results = operator(q, k, v, bias, True)
    out, lse = results[:2]
    return out, lse.narrow(-1, 0, q.shape[-2]).detach()  # the efficient kernel rounds its length up


def attention_by_matmul(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor]:
    """What `attention_with_lse` is, written out: memory grows with queries times keys.

    Args:
        q: (B, heads, Q, d).
        k: (B, heads, K, d).
        v: (B, heads, K, d).
        bias: Added to the scaled scores; broadcasts to (B, heads, Q, K).
    """
    precise = torch.promote_types(q.dtype, torch.float32)  # as torch's own written-out attention
    with _without_autocast(q.device.type):
        scores = (q.to(precise) * q.shape[-1] ** -0.5) @ k.to(precise).mT
        if bias is not None:
            scores = scores + bias
        out = scores.softmax(dim=-1) @ v.to(precise)
        lse = scores.detach().logsumexp(dim=-1)
    return out.to(q.dtype), lse


def _bias(mask: Tensor, q: Tensor, k: Tensor) -> Tensor:
    """0 where the mask is True and minus infinity elsewhere, in the shape and dtype that kernels ask for."""
    bias = torch.zeros_like(mask, dtype=q.dtype).masked_fill(~mask, float("-inf"))
    padded = F.pad(bias, (0, -bias.shape[-1] % _BIAS_ALIGNMENT))
    return padded.narrow(-1, 0, bias.shape[-1]).expand(*q.shape[:-1], k.shape[-2])


def _follow_autocast(x: Tensor) -> Tensor:
    """What autocast does for torch's public attention and not for the operators behind it."""
    if x.dtype == torch.float64 or not _is_autocast(x.device.type):
        return x
    return x.to(torch.get_autocast_dtype(x.device.type))


def _without_autocast(device_type: str) -> Any:
    return torch.autocast(device_type, enabled=False) if _is_autocast(device_type) else nullcontext()


def _is_autocast(device_type: str) -> bool:
    return device_type != "meta" and torch.is_autocast_enabled(device_type)
