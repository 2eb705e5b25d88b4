"""Forward pass of the selective scan, block by block."""

from __future__ import annotations

import torch
from torch import Tensor

from atlasbench.models.layers.scan.block import Block, BlockMemory
from atlasbench.models.layers.scan.layout import ScanInputs, cut_blocks, time_first


def scan_forward(inputs: ScanInputs, *, keep_carries: bool) -> tuple[Tensor, Tensor]:
    """Compute outputs and, for the backward pass, the state before each block.

    Returns:
        (B, L, I) in u's dtype, and (blocks, B, G, S, J) in the arithmetic's; no blocks where not asked for.
    """
    length, batch, groups, _, channels = inputs.u.shape
    y = inputs.u.new_empty(batch, length, groups * channels)
    count = inputs.plan.count(length) if keep_carries else 0
    carries = torch.empty(count, batch, *inputs.A.shape, dtype=inputs.dtype, device=y.device)
    carries_of_rows = carries.split(inputs.plan.rows, dim=1)
    memory = BlockMemory(inputs)
    streams = (inputs.u, inputs.delta, inputs.B, inputs.C, time_first(y, groups))
    for rows, kept in zip(cut_blocks(streams, inputs.plan), carries_of_rows, strict=True):
        before = None
        for index, (u, delta, B, C, out) in enumerate(rows):
            block = memory.block(*u.shape[:2])
            if before is None:
                block.first_state.zero_()
            else:
                block.first_state.copy_(before)
            if keep_carries:
                kept[index].copy_(block.first_state)
            block.compute_states(u, delta, B, C)
            out.copy_(_read_out(block))
            before = block.last_state
    return y, carries


def _read_out(block: Block) -> Tensor:
    """(T, R, G, 1, J): states weighted by C, and the skip."""
    y = block.take_per_channel("y")
    torch.bmm(
        block.C.flatten(0, 2).transpose(1, 2),  # (T R G, 1, S)
        block.own_states.flatten(0, 2),  # (T R G, S, J)
        out=y.flatten(0, 2),
    )
    return y if block.inputs.D is None else y.addcmul_(block.inputs.D, block.u)
