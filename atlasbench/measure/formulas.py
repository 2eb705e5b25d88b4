"""Multiply-accumulates of every operator that counts: matrix products, convolutions, attention.

Each formula takes an operator's arguments and output as `__torch_dispatch__` sees them and gives MACs of the
mathematics: an attention kernel that recomputes scores in its backward counts no more than one that keeps them.
Nothing elementwise is counted (norms, activations, softmax, masks, additions of biases).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor

Formula = Callable[[Sequence[Any], dict[str, Any], Any], int]

aten = torch.ops.aten


def _matrix_product(first: int, second: int) -> Formula:
    """Product of the matrices (..., M, K) and (..., K, N) at these positions of the arguments."""

    def macs(args: Sequence[Any], kwargs: dict[str, Any], out: Any) -> int:
        a, b = args[first], args[second]
        columns = b.shape[-1] if b.dim() > 1 else 1
        return int(prod(a.shape) * columns)

    return macs


def _linear(args: Sequence[Any], kwargs: dict[str, Any], out: Any) -> int:
    return int(prod(args[0].shape) * args[1].shape[0])


def _convolution_macs(x: Tensor, weight: Tensor, out_shape: Sequence[int], transposed: bool) -> int:
    # weight: (C_out, C_in / groups, *kernel), or (C_in, C_out / groups, *kernel) when transposed
    positions = prod(x.shape[2:]) if transposed else prod(out_shape[2:])
    return int(x.shape[0] * positions * prod(weight.shape))


def _convolution(args: Sequence[Any], kwargs: dict[str, Any], out: Any) -> int:
    return _convolution_macs(args[0], args[1], out.shape, bool(args[6]))


def _convolution_backward(args: Sequence[Any], kwargs: dict[str, Any], out: Any) -> int:
    grad_out, x, weight, transposed, output_mask = args[0], args[1], args[2], bool(args[7]), args[10]
    # The gradients to the input and to the weight each cost what the forward pass costs.
    return _convolution_macs(x, weight, grad_out.shape, transposed) * sum(map(bool, output_mask[:2]))


def _attention_macs(q: Tensor, k: Tensor, v: Tensor) -> int:
    *batch, queries, head_dim = q.shape  # (B, heads, N, head_dim)
    return int(prod(batch) * queries * k.shape[-2] * (head_dim + v.shape[-1]))


def _attention(args: Sequence[Any], kwargs: dict[str, Any], out: Any) -> int:
    return _attention_macs(args[0], args[1], args[2])


def _attention_backward(args: Sequence[Any], kwargs: dict[str, Any], out: Any) -> int:
    # dV, dP, dQ and dK: two products for each of the forward's two
    return 2 * _attention_macs(args[1], args[2], args[3])


def _packets(names: Sequence[str]) -> list[Any]:
    """Those of the operators that this version of torch has."""
    return [getattr(aten, name) for name in names if hasattr(aten, name)]


def _formulas() -> dict[Any, Formula]:
    table: dict[Any, Formula] = {}
    for packet in _packets(("mm", "bmm", "mv", "dot", "vdot")):
        table[packet] = _matrix_product(0, 1)
    for packet in _packets(("addmm", "baddbmm", "addbmm", "addmv", "_addmm_activation")):
        table[packet] = _matrix_product(1, 2)
    for packet in _packets(("linear",)):
        table[packet] = _linear
    for packet in _packets(("convolution", "_convolution", "convolution_overrideable")):
        table[packet] = _convolution
    for packet in _packets(("convolution_backward", "convolution_backward_overrideable")):
        table[packet] = _convolution_backward
    kernels = ("flash_attention", "efficient_attention", "cudnn_attention", "fused_attention_overrideable")
    for kernel in kernels:
        for packet in _packets((f"_scaled_dot_product_{kernel}",)):
            table[packet] = _attention
        for packet in _packets((f"_scaled_dot_product_{kernel}_backward",)):
            table[packet] = _attention_backward
    for packet in _packets(("scaled_dot_product_attention", "_scaled_dot_product_flash_attention_for_cpu")):
        table[packet] = _attention
    for packet in _packets(("_scaled_dot_product_flash_attention_for_cpu_backward",)):
        table[packet] = _attention_backward
    return table


FORMULAS = _formulas()
# Operators that are attention by themselves: scores and weighted values.
ATTENTION_PACKETS = frozenset(
    packet for packet, formula in FORMULAS.items() if formula in (_attention, _attention_backward)
)
_MULTIPLIES = re.compile(
    r"(^|_)(mm|bmm|matmul|conv\w*|attention|rnn|lstm|gru|bilinear|trilinear|einsum)(_|$)|mm$"
)
_DOES_NOT = re.compile(r"upsample|grid_sampler|normal|conv_tbc_backward|comm")


def is_uncounted_product(operator: Any) -> bool:
    """Whether an operator multiplies matrices, or may do so, and has no formula.

    Operators outside torch's own namespaces count as such: nothing is known about their arithmetic.
    """
    namespace, name = operator.namespace, operator.overloadpacket.__name__
    if namespace not in ("aten", "prim", "prims"):
        return True
    return bool(_MULTIPLIES.search(name)) and not _DOES_NOT.search(name)
