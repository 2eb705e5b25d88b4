"""One block of a selective scan: memory that every block uses again, and the states computed in it."""

from __future__ import annotations

from math import e, log2, prod

import torch
from torch import Tensor

from atlasbench.models.layers.scan.layout import ScanInputs, runs_by_halves
from atlasbench.models.layers.scan.recurrence import (
    advance_by_halves,
    advance_by_steps,
    retreat_by_halves,
    retreat_by_steps,
)

_CACHE_WAY_BYTES = 4096  # addresses that differ by a multiple share a set of a CPU's first-level cache


class BlockMemory:
    """Named pieces of memory that blocks of every size lie in, one after the other."""

    def __init__(self, inputs: ScanInputs) -> None:
        self.inputs = inputs
        # For powers of 2: on a CPU exp2 costs a quarter of exp, which also slows down where it underflows.
        self.base2_A = inputs.A * log2(e)
        self.by_halves = runs_by_halves(inputs.u.device.type)
        self._pieces: dict[str, Tensor] = {}
        self._blocks: dict[tuple[int, int], Block] = {}

    def block(self, steps: int, rows: int) -> Block:
        """The block of this size, with what the last one left in it."""
        if (steps, rows) not in self._blocks:
            self._blocks[steps, rows] = Block(self, steps, rows)
        return self._blocks[steps, rows]

    def take(self, name: str, *shape: int) -> Tensor:
        """Uninitialised memory of this name."""
        size = prod(shape)
        piece = self._pieces.get(name)
        if piece is None or piece.numel() < size:
            piece = torch.empty(size, dtype=self.inputs.dtype, device=self.inputs.u.device)
            self._pieces[name] = piece
        return piece[:size].view(shape)


class Block:
    """T steps of R batch entries.

    Attributes:
        inputs: What does not depend on time: A, D, delta_bias.
        raw_delta: (T, R, G, 1, J), before softplus; the same memory as `delta` where there is none.
        delta: (T, R, G, 1, J), step sizes.
        u: (T, R, G, 1, J), inputs.
        weighted: (T, R, G, 1, J), step size times input.
        decays: (1 + T, R, G, S, J); the first is not used.
        states: (1 + T, R, G, S, J); the first is the state before the block.
        B, C: (T, R, G, S, 1).
    """

    def __init__(self, memory: BlockMemory, steps: int, rows: int) -> None:
        self.memory, self.inputs = memory, memory.inputs
        self.steps, self.rows = steps, rows
        groups, states, channels = self.inputs.A.shape
        self._per_channel = (steps, rows, groups, 1, channels)
        self._per_state = (rows, groups, states, channels)
        self.raw_delta = self.take_per_channel("raw_delta")
        self.delta = self.take_per_channel("delta") if self.inputs.delta_softplus else self.raw_delta
        self.u = self.take_per_channel("u")
        self.weighted = self.take_per_channel("weighted")
        self.B = memory.take("B", steps, rows, groups, states, 1)
        self.C = memory.take("C", steps, rows, groups, states, 1)
        self.decays = memory.take("decays", 1 + steps, *self._per_state)
        self.states = memory.take("states", 1 + steps, *self._per_state)
        self._by_halves = memory.by_halves
        self._decay_of_step, self._state_of_step = self.decays.unbind(0), self.states.unbind(0)
        # Views that are used more than once are made once: a view costs as much as a step.
        self.first_state, self.last_state = self._state_of_step[0], self._state_of_step[-1]
        self.own_decays, self.own_states = self.decays[1:], self.states[1:]

    def take_per_channel(self, name: str) -> Tensor:
        """Memory (T, R, G, 1, J)."""
        return self.memory.take(name, *self._per_channel)

    def take_per_state(self, name: str) -> Tensor:
        """Memory (T, R, G, S, J)."""
        return self.memory.take(name, self.steps, *self._per_state)

    def gather(self, x: Tensor, out: Tensor) -> None:
        """Copy a block (T, R, G, 1, J) from wherever it lies, channels side by side."""
        if not self._by_halves and x.stride(4) * x.element_size() % _CACHE_WAY_BYTES == 0:
            # Channels this far apart push each other out of the cache, so that time is read along first.
            along_time = self.memory.take("along_time", *(x.shape[dim] for dim in (1, 2, 3, 4, 0)))
            x = along_time.copy_(x.permute(1, 2, 3, 4, 0)).permute(4, 0, 1, 2, 3)
        out.copy_(x)

    def compute_states(self, u: Tensor, delta: Tensor, B: Tensor, C: Tensor) -> None:
        """Fill everything from the block's inputs and the state before it."""
        self.gather(u, self.u)
        self.gather(delta, self.raw_delta)
        if self.inputs.delta_bias is not None:
            self.raw_delta.add_(self.inputs.delta_bias)
        if self.inputs.delta_softplus:
            torch._C._nn.softplus(self.raw_delta, out=self.delta)  # type: ignore[call-arg]  # stubs lack it
        self.B.copy_(B)
        self.C.copy_(C)
        torch.mul(self.delta, self.u, out=self.weighted)
        torch.mul(self.delta, self.memory.base2_A, out=self.own_decays).exp2_()
        torch.mul(self.weighted, self.B, out=self.own_states)
        if self._by_halves:
            advance_by_halves(self.decays, self.states)
        else:
            advance_by_steps(self._decay_of_step, self._state_of_step)

    def retreat(self, gradients: Tensor, gradient_of_step: tuple[Tensor, ...]) -> None:
        """Carry gradients (T, R, G, S, J) with respect to the states back to every step before."""
        if self._by_halves:
            retreat_by_halves(self.own_decays, gradients)
        else:
            retreat_by_steps(self._decay_of_step[1:], gradient_of_step)
