"""Selective scan: the state-space recurrence of Mamba, whose decay and input depend on the token.

Legend: B batch, I channels, S states of a channel, L length, G groups of channels that share B and C.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd import forward_ad

from atlasbench.models.layers.scan.layout import plan_blocks
from atlasbench.models.layers.scan.mamba import find_mamba_scan, has_mamba_scan, run_mamba_scan
from atlasbench.models.layers.scan.operator import selective_scan_operator


def selective_scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    delta_bias: Tensor | None = None,
    delta_softplus: bool = True,
) -> Tensor:
    """Run a state through time for every channel, and read it out at every step.

    With d = softplus(delta + delta_bias), per channel and state: s_t = exp(d_t A) s_(t-1) + d_t B_t u_t from s = 0, and
    y_t = C_t . s_t + D u_t. The kernel is mamba-ssm's on CUDA tensors where it is installed, and PyTorch everywhere
    else; the state is float32 (float64 if any input is, which mamba-ssm does not do). Differentiable once, in every
    input, by a backward pass. For that pass PyTorch keeps one state of every block of steps: at most half as many
    values as u has, however many states.

    Args:
        u: (B, I, L), inputs.
        delta: (B, I, L), step sizes before bias and softplus.
        A: (I, S), real and negative: positive values grow without bound.
        B: (B, S, L) or (B, G, S, L), weights into the state; I is a multiple of G, channels of a group are neighbours.
        C: (B, S, L) or (B, G, S, L), weights out of the state.
        D: (I), weight of the skip; None for no skip.
        delta_bias: (I); None for no bias.
        delta_softplus: Whether softplus makes the step size; otherwise delta + delta_bias is it.

    Returns:
        (B, I, L), in u's dtype.

    Raises:
        ValueError: If shapes do not fit each other, a tensor is empty, not real floating point or on another device.
        NotImplementedError: If a tangent is carried forward, which would be lost.

    Source: Mamba (arXiv:2312.00752), algorithm 2.
    """
    B, C = (x.unsqueeze(1) if x.dim() == 3 else x for x in (B, C))
    _check(u, delta, A, B, C, D, delta_bias)
    _refuse_tangents(u, delta, A, B, C, D, delta_bias)
    tensors = [x for x in (u, delta, A, B, C, D, delta_bias) if x is not None]
    if scan_backend(u.device.type) == "mamba_ssm" and not any(x.dtype == torch.float64 for x in tensors):
        fused: Tensor = run_mamba_scan(u, delta, A, B, C, D, delta_bias, delta_softplus)
        return fused
    plan = plan_blocks(u.shape[0], A.shape[0], A.shape[1], u.device.type)  # here, so that compiled graphs know it
    needs_gradients = torch.is_grad_enabled() and any(x.requires_grad for x in tensors)
    y: Tensor = selective_scan_operator(
        u.transpose(1, 2),
        delta.transpose(1, 2),
        A,
        B.permute(0, 3, 1, 2),
        C.permute(0, 3, 1, 2),
        D,
        delta_bias,
        delta_softplus,
        plan.rows,
        plan.steps,
        needs_gradients,
    )[0]
    return y.transpose(1, 2)


def scan_backend(device_type: str) -> str:
    """Which kernel a selective scan runs on: `mamba_ssm` or `pytorch`."""
    return "mamba_ssm" if device_type == "cuda" and has_mamba_scan() else "pytorch"


def fallback_note(device_type: str) -> str:
    """Why a selective scan runs in PyTorch, in a line for the reader of a record; empty where it does not."""
    if scan_backend(device_type) == "mamba_ssm":
        return ""
    reason = f"mamba-ssm {find_mamba_scan()[1]}" if device_type == "cuda" else "mamba-ssm's kernel needs CUDA"
    return f"selective scan: PyTorch ({reason})"


def _check(
    u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor | None, delta_bias: Tensor | None
) -> None:
    if u.dim() != 3 or A.dim() != 2 or B.dim() != 4:
        raise ValueError(
            "A selective scan takes u (B, I, L), A (I, S) and B (B, S, L) or (B, G, S, L), "
            f"got {tuple(u.shape)}, {tuple(A.shape)} and {tuple(B.shape)}."
        )
    batch, channels, length = u.shape
    if not u.numel() or not A.numel():
        raise ValueError(
            f"A selective scan needs at least one of everything, got u {tuple(u.shape)}, A {tuple(A.shape)}."
        )
    groups = B.shape[1]
    if groups < 1 or channels % groups:
        raise ValueError(f"{channels} channels cannot be split into {groups} groups.")
    weights = (batch, groups, A.shape[1], length)
    expected = (
        ("u", u, (batch, channels, length)),
        ("delta", delta, (batch, channels, length)),
        ("A", A, (channels, A.shape[1])),
        ("B", B, weights),
        ("C", C, weights),
        ("D", D, (channels,)),
        ("delta_bias", delta_bias, (channels,)),
    )
    for name, tensor, shape in expected:
        if tensor is None:
            continue
        if tuple(tensor.shape) != shape:
            raise ValueError(f"{name} of this selective scan must be {shape}, got {tuple(tensor.shape)}.")
        if not tensor.is_floating_point():
            raise ValueError(f"{name} of a selective scan must be real floating point, got {tensor.dtype}.")
        if tensor.device != u.device:
            raise ValueError(f"{name} of this selective scan must be on {u.device}, as u is, got {tensor.device}.")


def _refuse_tangents(*tensors: Tensor | None) -> None:
    """Operators of one's own drop what forward-mode differentiation carries along, without a word."""
    if torch.compiler.is_compiling():
        return
    if any(tensor is not None and forward_ad.unpack_dual(tensor).tangent is not None for tensor in tensors):
        raise NotImplementedError("A selective scan has a backward pass only: use reverse-mode differentiation.")
