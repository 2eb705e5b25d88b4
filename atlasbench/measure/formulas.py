"""Multiply-accumulates of every operator that counts: matrix products, convolutions, attention, recurrences, scans.

Each formula takes an operator's arguments and output as `__torch_dispatch__` sees them and gives MACs of the
mathematics: an attention kernel that recomputes scores in its backward counts no more than one that keeps them, and
a causal mask saves nothing. Nothing elementwise is counted (norms, activations, softmax, masks, adding biases), with
one exception: selective scans, which are nothing but elementwise and take the place of attention.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any

import torch
from torch import Tensor

from atlasbench.core.compat import StrEnum
from atlasbench.models.layers.scan.operator import SCAN, SCAN_BACKWARD

aten = torch.ops.aten


class OperatorKind(StrEnum):
    """What an operator computes."""

    MATRIX = "matrix"
    CONVOLUTION = "convolution"
    ATTENTION = "attention"
    RECURRENT = "recurrent"
    SCAN = "scan"


@dataclass(frozen=True, slots=True)
class Formula:
    """How to count one operator.

    Attributes:
        kind: What it computes.
        macs: From its arguments and its output.
        operands: Positions of the two tensors it multiplies, among the arguments.
    """

    kind: OperatorKind
    macs: Callable[[Sequence[Any], Any], int]
    operands: tuple[int, int] = (0, 1)


def _matrix_product(first: int, second: int, args: Sequence[Any], out: Any) -> int:
    a, b = args[first], args[second]  # (..., M, K) and (..., K, N), or (K,) for b
    return int(prod(a.shape) * (b.shape[-1] if b.dim() > 1 else 1))


def _linear(args: Sequence[Any], out: Any) -> int:
    return int(prod(args[0].shape) * args[1].shape[0])


def _convolution_macs(x: Tensor, weight: Tensor, out_shape: Sequence[int], transposed: bool) -> int:
    # weight: (C_out, C_in / groups, *kernel), or (C_in, C_out / groups, *kernel) when transposed
    positions = prod(x.shape[2:]) if transposed else prod(out_shape[2:])
    return int(x.shape[0] * positions * prod(weight.shape))


def _convolution(args: Sequence[Any], out: Any) -> int:
    return _convolution_macs(args[0], args[1], out.shape, bool(args[6]))


def _convolution_backward(args: Sequence[Any], out: Any) -> int:
    grad_out, x, weight, transposed, output_mask = args[0], args[1], args[2], bool(args[7]), args[10]
    # The gradients to the input and to the weight each cost what the forward pass costs.
    return _convolution_macs(x, weight, grad_out.shape, transposed) * sum(map(bool, output_mask[:2]))


def _attention(args: Sequence[Any], out: Any) -> int:
    q, k, v = args[:3]  # (B, heads, N, head_dim); keys and values may have fewer heads, each read by several queries
    return int(prod(q.shape[:-1]) * k.shape[-2] * (q.shape[-1] + v.shape[-1]))


def _attention_backward(args: Sequence[Any], out: Any) -> int:
    # The gradients to values, weights, queries and keys: two products for each of the forward pass's two.
    return 2 * _attention(args[1:], out)


def _lstm_layer(args: Sequence[Any], out: Any) -> int:
    steps, batch = args[0].shape[:2]  # (T, B, C); weights (4 H, C) and (4 H, H)
    return int(steps * batch * (prod(args[1].shape) + prod(args[2].shape)))


def _lstm_layer_backward(args: Sequence[Any], out: Any) -> int:
    return 2 * _lstm_layer(args, out)


def selective_scan_flops(u: Sequence[int], states: int, *, skip: bool) -> int:
    """FLOPs of a selective scan: 9 for each state of each channel at each step, and 1 for each skip.

    Eight have names: the exponent and its exponential, two products for the input, two operations for the update, two
    for the read-out. The ninth, and 1 instead of 2 for a skip, are the convention.

    Args:
        u: (B, L, I), shape of the inputs.
        states: S.
        skip: Whether there is D.

    Source: Mamba's authors, https://github.com/state-spaces/mamba/issues/110.
    """
    return int(9 * prod(u) * states + prod(u) * skip)


def _selective_scan(args: Sequence[Any], out: Any) -> int:
    u, decay_rates, skip = args[0], args[2], args[5]  # (B, L, I), (I, S) and (I) or None
    return (selective_scan_flops(u.shape, decay_rates.shape[1], skip=skip is not None) + 1) // 2


def _selective_scan_backward(args: Sequence[Any], out: Any) -> int:
    return 2 * _selective_scan(args[1:], out)


_KERNELS = (
    "_scaled_dot_product_flash_attention",
    "_scaled_dot_product_flash_attention_for_cpu",
    "_scaled_dot_product_efficient_attention",
    "_scaled_dot_product_cudnn_attention",
    "_scaled_dot_product_fused_attention_overrideable",
)
_MATRIX, _CONVOLUTION = OperatorKind.MATRIX, OperatorKind.CONVOLUTION
_BY_NAME: Mapping[str, Formula] = {
    **{
        name: Formula(_MATRIX, partial(_matrix_product, 0, 1)) for name in ("mm", "bmm", "mv", "dot", "vdot", "_int_mm")
    },
    **{
        name: Formula(_MATRIX, partial(_matrix_product, 1, 2), operands=(1, 2))
        for name in ("addmm", "baddbmm", "addbmm", "addmv", "_addmm_activation")
    },
    "linear": Formula(_MATRIX, _linear),
    **{
        name: Formula(_CONVOLUTION, _convolution)
        for name in ("convolution", "_convolution", "convolution_overrideable")
    },
    **{
        name: Formula(_CONVOLUTION, _convolution_backward, operands=(1, 2))
        for name in ("convolution_backward", "convolution_backward_overrideable")
    },
    **{name: Formula(OperatorKind.ATTENTION, _attention) for name in _KERNELS},
    **{f"{name}_backward": Formula(OperatorKind.ATTENTION, _attention_backward, operands=(1, 2)) for name in _KERNELS},
    "mkldnn_rnn_layer": Formula(OperatorKind.RECURRENT, _lstm_layer),
    "mkldnn_rnn_layer_backward": Formula(OperatorKind.RECURRENT, _lstm_layer_backward),
}
# Those of the operators that this version of torch has, and our own.
FORMULAS: Mapping[Any, Formula] = {
    **{getattr(aten, name): formula for name, formula in _BY_NAME.items() if hasattr(aten, name)},
    SCAN: Formula(OperatorKind.SCAN, _selective_scan),
    SCAN_BACKWARD: Formula(OperatorKind.SCAN, _selective_scan_backward),
}

_MULTIPLIES = re.compile(
    r"(^|_)(mm|bmm|matmul|conv\w*|attention|rnn|lstm|gru|bilinear|trilinear|linear|einsum|transformer|cdist|fft|linalg)(_|\d|$)|mm$"
)
_DOES_NOT = re.compile(
    r"upsample|grid_sampler|vector_norm|normal|_comm|convert|linear_combination|flatten_weight|reorder|quantize_weight|prepack"
    r"|_search$|fused_\w+_cell|differentiable_\w+_cell"
)
_NAMESPACES_WITHOUT_PRODUCTS = frozenset({"prims", "profiler"})


def may_multiply(operator: Any) -> bool:
    """Whether an operator without a formula multiplies matrices, or may do so: then it has to be named.

    Nothing is known about the arithmetic of operators outside torch's own namespaces.
    """
    if operator.namespace != "aten":
        return operator.namespace not in _NAMESPACES_WITHOUT_PRODUCTS
    name = operator.overloadpacket.__name__
    return bool(_MULTIPLIES.search(name)) and not _DOES_NOT.search(name)
