"""The selective scan as two operators of torch, forward and backward.

An operator runs on tensors without data, under a compiler and under autocast like torch's own, and shows under its name
to whatever watches operators. Inputs may have any floating dtype; the state and the gradients' sums are float32, or
float64 if any input is; outputs and gradients have the dtype of what they belong to.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from atlasbench.models.layers.scan.backward import scan_backward
from atlasbench.models.layers.scan.forward import scan_forward
from atlasbench.models.layers.scan.layout import BlockPlan, arithmetic_dtype, arrange_inputs

_INPUTS = (
    "Tensor u, Tensor delta, Tensor A, Tensor B, Tensor C, Tensor? D, Tensor? delta_bias, bool delta_softplus, "
    "SymInt rows, SymInt steps"
)
_Gradients = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]


@torch.library.custom_op(
    "atlasbench::selective_scan", mutates_args=(), schema=f"({_INPUTS}, bool keep_carries) -> (Tensor, Tensor)"
)
def selective_scan_operator(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    delta_bias: Tensor | None,
    delta_softplus: bool,
    rows: int,
    steps: int,
    keep_carries: bool,
) -> tuple[Tensor, Tensor]:
    """Scan tokens first: one call computes the whole sequence.

    Args:
        u: (B, L, I), inputs.
        delta: (B, L, I), step sizes, before bias and softplus.
        A: (I, S), negative.
        B: (B, L, G, S), weights into the state; I is a multiple of G.
        C: (B, L, G, S), weights out of the state.
        D: (I), the skip.
        delta_bias: (I).
        delta_softplus: Whether softplus makes the step size.
        rows: Batch entries of a block, as `plan_blocks` says; no result depends on it.
        steps: Length of a block; the number of carries depends on it.
        keep_carries: Whether a backward pass follows.

    Returns:
        (B, L, I), in u's dtype; and (blocks, B, G, S, I / G), the state before each block, for the backward pass.
    """
    with torch.autocast(u.device.type, enabled=False):  # what is called in here would be cast otherwise
        inputs = arrange_inputs(u, delta, A, B, C, D, delta_bias, delta_softplus, BlockPlan(rows=rows, steps=steps))
        return scan_forward(inputs, keep_carries=keep_carries)


@torch.library.custom_op(
    "atlasbench::selective_scan_backward",
    mutates_args=(),
    schema=f"(Tensor grad_y, {_INPUTS}, Tensor carries) -> ({', '.join(['Tensor'] * 7)})",
)
def selective_scan_backward_operator(
    grad_y: Tensor,
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    delta_bias: Tensor | None,
    delta_softplus: bool,
    rows: int,
    steps: int,
    carries: Tensor,
) -> _Gradients:
    """Gradients to u, delta, A, B, C, D and delta_bias; empty where there is no D or delta_bias.

    Args:
        grad_y: (B, L, I).
        u: This and all up to `steps` as the forward pass had them.
        delta: Likewise.
        A: Likewise.
        B: Likewise.
        C: Likewise.
        D: Likewise.
        delta_bias: Likewise.
        delta_softplus: Likewise.
        rows: Likewise.
        steps: Likewise.
        carries: As the forward pass gave them.
    """
    with torch.autocast(u.device.type, enabled=False):
        inputs = arrange_inputs(u, delta, A, B, C, D, delta_bias, delta_softplus, BlockPlan(rows=rows, steps=steps))
        found = scan_backward(grad_y, inputs, carries)
    grad_D = u.new_empty(0) if D is None else found.D.to(D.dtype)
    grad_bias = u.new_empty(0) if delta_bias is None else found.delta_bias.to(delta_bias.dtype)
    return found.u, found.delta, found.A.to(A.dtype), found.B, found.C, grad_D, grad_bias


@selective_scan_operator.register_fake
def _scan_shapes(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    delta_bias: Tensor | None,
    delta_softplus: bool,
    rows: int,
    steps: int,
    keep_carries: bool,
) -> tuple[Tensor, Tensor]:
    batch, length, channels = u.shape
    groups, states = B.shape[2:]
    blocks = BlockPlan(rows=rows, steps=steps).count(length) if keep_carries else 0
    dtype = arithmetic_dtype(u, delta, A, B, C, D, delta_bias)
    return u.new_empty(u.shape), u.new_empty(blocks, batch, groups, states, channels // groups, dtype=dtype)


@selective_scan_backward_operator.register_fake
def _gradient_shapes(
    grad_y: Tensor,
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    delta_bias: Tensor | None,
    delta_softplus: bool,
    rows: int,
    steps: int,
    carries: Tensor,
) -> _Gradients:
    grad_u, grad_delta, grad_A, grad_B, grad_C = (x.new_empty(x.shape) for x in (u, delta, A, B, C))
    grad_D, grad_bias = (u.new_empty(0) if x is None else x.new_empty(x.shape) for x in (D, delta_bias))
    return grad_u, grad_delta, grad_A, grad_B, grad_C, grad_D, grad_bias


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    *tensors, ctx.delta_softplus, ctx.rows, ctx.steps, _ = inputs
    ctx.save_for_backward(*tensors, output[1])
    ctx.mark_non_differentiable(output[1])


def _backward(ctx: Any, grad_y: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
    *tensors, carries = ctx.saved_tensors
    grads = selective_scan_backward_operator(grad_y, *tensors, ctx.delta_softplus, ctx.rows, ctx.steps, carries)
    return *(None if x is None else grad for x, grad in zip(tensors, grads, strict=True)), None, None, None, None


def _refuse(ctx: Any, *_: Tensor) -> None:
    raise NotImplementedError("A selective scan can be differentiated once, not twice.")


selective_scan_backward_operator.register_autograd(_refuse)
selective_scan_operator.register_autograd(_backward, setup_context=_setup_context)

# As whatever counts operators meets them.
SCAN = torch.ops.atlasbench.selective_scan
SCAN_BACKWARD = torch.ops.atlasbench.selective_scan_backward
