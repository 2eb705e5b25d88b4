"""Counts what a model computes while it runs on tensors without data.

This is the toolkit's own counter: it sees every operator below autograd, so that the backward pass, fused
attention and functional calls are counted like modules are, and it attributes each to a module and a part.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as hooks
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from atlasbench.measure.formulas import ATTENTION_PACKETS, FORMULAS, is_uncounted_product
from atlasbench.measure.liveness import LiveStorages


class FlopCounter(TorchDispatchMode):
    """Counts multiply-accumulates, output bytes and live bytes of everything that runs inside it.

    Use `with counter.watch(model), counter:`. Operators of the backward pass are attributed to the module whose
    forward operator they differentiate, through autograd's sequence numbers.

    Attributes:
        macs: (module path, part) to multiply-accumulates.
        activation_bytes: Sum of the counted forward operators' output bytes.
        storages: Live tensors and their peak.
        uncounted: Operators that multiply and have no formula.
        stem_positions: Positions of the stem's last operator, for the whole batch: the finest token grid.
    """

    def __init__(self, parts: Mapping[str, str]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.macs: Counter[tuple[str, str]] = Counter()
        self.activation_bytes = 0
        self.storages = LiveStorages()
        self.uncounted: set[str] = set()
        self.stem_positions = 0
        self._parts = parts
        self._stack = [""]
        self._place_of_sequence: dict[int, tuple[str, str]] = {}

    @contextmanager
    def watch(self, model: nn.Module) -> Iterator[None]:
        """Follow which module is running, and enter the model's parameters and buffers as live."""
        paths = {id(module): path for path, module in model.named_modules()}
        for tensor in (*model.parameters(), *model.buffers()):
            self.storages.add(tensor, is_constant=True)

        def enter(module: nn.Module, _: Any) -> None:
            # A module outside the model (made on the fly) counts as its caller.
            self._stack.append(paths.get(id(module), self._stack[-1]))

        def leave(module: nn.Module, _: Any, __: Any) -> None:
            self._stack.pop()

        handles = (
            hooks.register_module_forward_pre_hook(enter),
            hooks.register_module_forward_hook(leave, always_call=True),
        )
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run one operator and count it."""
        kwargs = kwargs or {}
        inputs = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        # Asked before the operator runs: an in-place one changes what its input is made of.
        constant = all(self.storages.is_constant(tensor) for tensor in inputs)
        formula = FORMULAS.get(func.overloadpacket)
        if formula is None and is_uncounted_product(func):
            decomposed = self._decompose(func, args, kwargs)
            if decomposed is not NotImplemented:
                return decomposed
            self.uncounted.add(str(func.overloadpacket))
        out = func(*args, **kwargs)
        outputs = [leaf for leaf in tree_leaves(out) if isinstance(leaf, Tensor)]
        for tensor in outputs:
            self.storages.add(tensor, is_constant=constant)
        if formula is not None:
            self._count(func, inputs, formula(args, kwargs, out), outputs)
        return out

    def _decompose(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        with self:
            return func.decompose(*args, **kwargs)

    def _count(self, func: Any, inputs: list[Tensor], macs: int, outputs: list[Tensor]) -> None:
        node: Any = torch._C._current_autograd_node()
        if node is None:
            place = (self._stack[-1], self._forward_part(func, inputs))
            self._place_of_sequence[torch._C._autograd._get_sequence_nr() - 1] = place
            self.activation_bytes += outputs[0].numel() * outputs[0].element_size()
            if place[1] == "stem":
                self.stem_positions = _positions(func, outputs[0])
        else:
            fallback = (self._stack[-1], self._parts.get(self._stack[-1], "other"))
            place = self._place_of_sequence.get(node._sequence_nr(), fallback)
        self.macs[place] += macs

    def _forward_part(self, func: Any, inputs: list[Tensor]) -> str:
        if func.overloadpacket in ATTENTION_PACKETS or self._is_product_of_activations(func, inputs):
            return "attention"
        return self._parts.get(self._stack[-1], "other")

    def _is_product_of_activations(self, func: Any, inputs: list[Tensor]) -> bool:
        name = func.overloadpacket.__name__
        if "convolution" in name or name == "linear":
            return False
        return not any(self.storages.is_constant(tensor) for tensor in inputs[-2:])


def _positions(func: Any, output: Tensor) -> int:
    """Positions of a map (B, C, H, W) that a convolution made, or rows of a matrix product."""
    channels = output.shape[1] if "convolution" in func.overloadpacket.__name__ else output.shape[-1]
    return output.numel() // max(channels, 1)
