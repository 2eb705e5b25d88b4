"""The selective scan as a plain loop over time: it defines what is correct, and the benchmark's opponent."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def selective_scan_reference(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    delta_bias: Tensor | None = None,
    delta_softplus: bool = True,
) -> Tensor:
    """What `selective_scan` computes, in the inputs' own dtype, differentiated by autograd.

    Time comes first and is unbound: autograd writes a whole gradient for every step that is indexed instead.

    Args:
        u: (B, I, L).
        delta: (B, I, L).
        A: (I, S).
        B: (B, S, L) or (B, G, S, L).
        C: (B, S, L) or (B, G, S, L).
        D: (I).
        delta_bias: (I).
        delta_softplus: Whether softplus makes the step size.

    Returns:
        (B, I, L).
    """
    if delta_bias is not None:
        delta = delta + delta_bias[:, None]
    if delta_softplus:
        delta = F.softplus(delta)
    into, out_of = (_per_channel(x, u.shape[1]) for x in (B, C))
    steps = delta.permute(2, 0, 1)[:, :, None]  # (L, B, 1, I)
    decays = torch.exp(steps * A.t())  # (L, B, S, I)
    inputs = steps * u.permute(2, 0, 1)[:, :, None] * into
    state = torch.zeros_like(inputs[0])
    states = []
    for decay, value in zip(decays.unbind(0), inputs.unbind(0), strict=True):
        state = torch.addcmul(value, decay, state)
        states.append(state)
    y = (torch.stack(states) * out_of).sum(2).permute(1, 2, 0)
    return y if D is None else y + D[:, None] * u


def _per_channel(weights: Tensor, channels: int) -> Tensor:
    """(B, S, L) or (B, G, S, L) to (L, B, S, I), or to (L, B, S, 1) for one group."""
    by_group = weights.unsqueeze(1) if weights.dim() == 3 else weights
    groups = by_group.shape[1]
    return by_group.permute(3, 0, 2, 1).repeat_interleave(channels // groups if groups > 1 else 1, dim=3)
