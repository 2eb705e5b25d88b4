"""Backward pass of the selective scan: every block is computed again from the state before it, the last one first."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from atlasbench.models.layers.scan.block import Block, BlockMemory
from atlasbench.models.layers.scan.layout import ScanInputs, cut_blocks, time_first


@dataclass(frozen=True, slots=True)
class ScanGradients:
    """Gradients in the layout and dtype of the operator's arguments; of D and delta_bias also where they are not given.

    Attributes:
        u: (B, L, I).
        delta: (B, L, I).
        A: (I, S).
        B: (B, L, G, S).
        C: (B, L, G, S).
        D: (I).
        delta_bias: (I).
    """

    u: Tensor
    delta: Tensor
    A: Tensor
    B: Tensor
    C: Tensor
    D: Tensor
    delta_bias: Tensor


class _Sums:
    """Gradients that every block adds to: of A (G, S, J), D and delta_bias (G, 1, J).

    Totals are float64: a float32 total of a long sequence would lose a digit.
    """

    def __init__(self, inputs: ScanInputs) -> None:
        groups, _, channels = inputs.A.shape
        self.A = torch.zeros_like(inputs.A, dtype=torch.float64)
        self.D = self.A.new_zeros(groups, 1, channels)
        self.delta_bias = torch.zeros_like(self.D)
        self._ones = inputs.A.new_ones(0)

    def add(self, total: Tensor, terms: Tensor) -> None:
        """Add terms (T, R, ...) to a total (...)."""
        count = terms.shape[0] * terms.shape[1]
        if self._ones.numel() < count:
            self._ones = terms.new_ones(count)
        total.view(-1).add_(torch.mv(terms.view(count, -1).t(), self._ones[:count]))


def scan_backward(grad_y: Tensor, inputs: ScanInputs, carries: Tensor) -> ScanGradients:
    """Compute the gradient to every input.

    Args:
        grad_y: (B, L, I).
        inputs: What the forward pass read.
        carries: (blocks, B, G, S, J), the state before each block.
    """
    length, batch, groups, _, channels = inputs.u.shape
    states = inputs.A.shape[1]
    sums = _Sums(inputs)
    grad_u = inputs.u.new_empty(batch, length, groups * channels)
    grad_delta = inputs.delta.new_empty(grad_u.shape)
    grad_B, grad_C = (x.new_empty(batch, length, groups, states) for x in (inputs.B, inputs.C))
    streams = (
        *(inputs.u, inputs.delta, inputs.B, inputs.C),
        *(time_first(x, groups) for x in (grad_y, grad_u, grad_delta)),
        *(x.transpose(0, 1).unsqueeze(3) for x in (grad_B, grad_C)),
    )
    memory = BlockMemory(inputs)
    for rows, kept in zip(cut_blocks(streams, inputs.plan), carries.split(inputs.plan.rows, dim=1), strict=True):
        carried = None
        for (u, delta, B, C, *grads), before in zip(reversed(rows), reversed(kept.unbind(0)), strict=True):
            block = memory.block(*u.shape[:2])
            block.first_state.copy_(before)
            block.compute_states(u, delta, B, C)
            carried = _block_backward(block, grads, sums, carried)
    return ScanGradients(
        u=grad_u,
        delta=grad_delta,
        A=sums.A.transpose(1, 2).contiguous().flatten(0, 1),
        B=grad_B,
        C=grad_C,
        D=sums.D.flatten(),
        delta_bias=sums.delta_bias.flatten(),
    )


def _block_backward(block: Block, grads: list[Tensor], sums: _Sums, carried: Tensor | None) -> Tensor:
    """Write a block's gradients.

    Args:
        block: With its states computed.
        grads: Of y, and the memory for those of u, delta (T, R, G, 1, J), B and C (T, R, G, 1, S).
        sums: To add to.
        carried: (R, G, S, J), gradient to the block's last state from the steps after it; None at the end.

    Returns:
        (R, G, S, J), gradient to the last state of the block before.
    """
    given_y, grad_u, grad_delta, grad_B, grad_C = grads
    grad_y = block.take_per_channel("grad_y")
    block.gather(given_y, grad_y)
    grad_C.copy_(_sum_over_channels(grad_y, block.own_states))
    gradients = block.take_per_state("gradients")
    of_step = gradients.unbind(0)
    torch.mul(block.C, grad_y, out=gradients)
    if carried is not None:
        of_step[-1].add_(carried)
    block.retreat(gradients, of_step)
    carried = block.own_decays[0] * of_step[0]
    grad_B.copy_(_sum_over_channels(block.weighted, gradients))
    grad_weighted = _sum_over_states(block.B, gradients, out=block.take_per_channel("grad_weighted"))

    # What reaches the logarithm of each decay: decay times its gradient, which is the state before times that of now.
    grad_log = block.own_decays.mul_(gradients).mul_(block.states[:-1])
    sums.add(sums.A, torch.mul(grad_log, block.delta, out=gradients))
    grad_step = torch.sum(grad_log.mul_(block.inputs.A), dim=3, keepdim=True, out=block.take_per_channel("grad_step"))
    grad_step.addcmul_(grad_weighted, block.u)
    if block.inputs.delta_softplus:
        grad_step.mul_(block.raw_delta.sigmoid_())
    grad_delta.copy_(grad_step)
    if block.inputs.delta_bias is not None:
        sums.add(sums.delta_bias, grad_step)
    grad_weighted.mul_(block.delta)
    if block.inputs.D is not None:
        grad_weighted.addcmul_(grad_y, block.inputs.D)
        sums.add(sums.D, grad_y.mul_(block.u))
    grad_u.copy_(grad_weighted)
    return carried


def _sum_over_channels(per_channel: Tensor, per_state: Tensor) -> Tensor:
    """(T, R, G, 1, J) and (T, R, G, S, J) to (T, R, G, 1, S)."""
    product = torch.bmm(per_channel.flatten(0, 2), per_state.flatten(0, 2).transpose(1, 2))
    return product.view(*per_channel.shape[:4], -1)


def _sum_over_states(weights: Tensor, per_state: Tensor, out: Tensor) -> Tensor:
    """(T, R, G, S, 1) and (T, R, G, S, J) to (T, R, G, 1, J)."""
    torch.bmm(weights.flatten(0, 2).transpose(1, 2), per_state.flatten(0, 2), out=out.flatten(0, 2))
    return out
