"""How a selective scan lies in memory: time first, channels last, cut into blocks that stay in cache.

Legend of the scan's files: B batch, L length, I channels, S states of a channel, G groups of channels that share B and
C (nearly always 1), J = I / G channels of a group; T steps and R batch entries of one block. One step of one entry has
G * S * J values; channels are innermost, because vectors of 8 states are too short for the operators of a CPU.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

# Values in one tensor of a block: 256 KiB in float32, so that the three large ones of a backward pass stay in the
# second-level cache of a CPU core.
_BLOCK_VALUES = 2**16
_STEP_VALUES = 2**13  # of one step, from several batch entries: with fewer, calling operators is what costs
# On a GPU launching is what costs, so that blocks are as large as memory allows: 64 MiB a tensor.
_GPU_BLOCK_VALUES = 2**24
_GPU_STEP_VALUES = 2**18
_LEAST_STEPS_PER_STATE = 2  # one state is kept for each block: together at most half as many values as u has


@dataclass(frozen=True, slots=True)
class BlockPlan:
    """Size of the blocks that a scan is cut into; the last ones may be smaller.

    Attributes:
        rows: R.
        steps: T.
    """

    rows: int
    steps: int

    def count(self, length: int) -> int:
        """Blocks along a sequence."""
        return (length + self.steps - 1) // self.steps


def runs_by_halves(device_type: str) -> bool:
    """Whether the recurrence runs by halves, which launches less, instead of step by step, which computes less."""
    return device_type == "cuda"


def plan_blocks(batch: int, channels: int, states: int, device_type: str) -> BlockPlan:
    """Choose the size of blocks.

    Args:
        batch: B.
        channels: I.
        states: S.
        device_type: Where the scan runs.
    """
    budget, of_step = (
        (_GPU_BLOCK_VALUES, _GPU_STEP_VALUES) if runs_by_halves(device_type) else (_BLOCK_VALUES, _STEP_VALUES)
    )
    values = channels * states
    rows = min(batch, max(1, of_step // values))
    return BlockPlan(rows=rows, steps=max(_LEAST_STEPS_PER_STATE * states, budget // (rows * values)))


@dataclass(frozen=True, slots=True)
class ScanInputs:
    """What a scan reads, in the arithmetic's dtype where it is small, as time-first views where it is long.

    Attributes:
        u: (L, B, G, 1, J).
        delta: (L, B, G, 1, J), before bias and softplus.
        A: (G, S, J).
        B: (L, B, G, S, 1).
        C: (L, B, G, S, 1).
        D: (G, 1, J), or None.
        delta_bias: (G, 1, J), or None.
        delta_softplus: Whether softplus makes the step size.
        dtype: Of the arithmetic and the state.
        plan: Size of the blocks.
    """

    u: Tensor
    delta: Tensor
    A: Tensor
    B: Tensor
    C: Tensor
    D: Tensor | None
    delta_bias: Tensor | None
    delta_softplus: bool
    dtype: torch.dtype
    plan: BlockPlan


def arrange_inputs(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    delta_bias: Tensor | None,
    delta_softplus: bool,
    plan: BlockPlan,
) -> ScanInputs:
    """Lay out the operator's arguments: u, delta (B, L, I); A (I, S); B, C (B, L, G, S); D, delta_bias (I)."""
    groups = B.shape[2]
    dtype = arithmetic_dtype(u, delta, A, B, C, D, delta_bias)
    by_group = A.to(dtype).unflatten(0, (groups, -1))  # (G, J, S)

    def per_channel(x: Tensor | None) -> Tensor | None:
        return None if x is None else x.to(dtype).reshape(groups, 1, -1)

    return ScanInputs(
        u=time_first(u, groups),
        delta=time_first(delta, groups),
        A=by_group.transpose(1, 2).contiguous(),
        B=B.transpose(0, 1).unsqueeze(-1),
        C=C.transpose(0, 1).unsqueeze(-1),
        D=per_channel(D),
        delta_bias=per_channel(delta_bias),
        delta_softplus=delta_softplus,
        dtype=dtype,
        plan=plan,
    )


def arithmetic_dtype(*tensors: Tensor | None) -> torch.dtype:
    """Of the state: float32 also for inputs in half precision, because decays are multiplied over many steps."""
    is_double = any(tensor is not None and tensor.dtype == torch.float64 for tensor in tensors)
    return torch.float64 if is_double else torch.float32


def time_first(x: Tensor, groups: int) -> Tensor:
    """(B, L, I) seen as (L, B, G, 1, J)."""
    by_group: Tensor = x.unflatten(2, (groups, -1))
    return by_group.transpose(0, 1).unsqueeze(3)


def cut_blocks(tensors: Sequence[Tensor], plan: BlockPlan) -> Iterator[list[tuple[Tensor, ...]]]:
    """Cut tensors (L, B, ...) into blocks (T, R, ...): one list, in order of time, for every R batch entries."""
    for rows in zip(*(tensor.split(plan.rows, dim=1) for tensor in tensors), strict=True):
        yield list(zip(*(tensor.split(plan.steps, dim=0) for tensor in rows), strict=True))
