"""Counts what a model computes while it runs on tensors without data.

This is the toolkit's own counter: it sees every operator below autograd, so that the backward pass, fused
attention and functional calls are counted like modules are, and it notes for each in which module it ran and what it
multiplied. Which part of the model that is follows afterwards (`measure/parts.py`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules import module as hooks
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from atlasbench.core.compat import StrEnum
from atlasbench.measure.formulas import FORMULAS, Formula, OperatorKind, may_multiply
from atlasbench.measure.liveness import LiveStorages, Origin

# Private to torch: without them backward operators still count, but in no module.
_current_node: Callable[[], Any] = getattr(torch._C, "_current_autograd_node", lambda: None)
_next_sequence: Callable[[], int] = getattr(torch._C._autograd, "_get_sequence_nr", lambda: 0)

_COPIES = frozenset({torch.ops.aten._to_copy, torch.ops.aten.clone})  # a cast weight is still a weight
_POOLINGS = ("max_pool2d_with_indices", "avg_pool2d")


class Product(StrEnum):
    """What an operator multiplied; a backward operator is what its forward operator was."""

    CONVOLUTION = "convolution"
    LAYER = "layer"  # an activation and a weight
    SCORES = "scores"  # two activations, attention in one kernel, or a selective scan
    DERIVED = "derived"  # an activation and something computed from weights alone
    CONSTANT = "constant"  # nothing that depends on the image


class Place(NamedTuple):
    """Where in a model a product was computed."""

    path: str
    product: Product


class FlopCounter(TorchDispatchMode):
    """Counts multiply-accumulates, output bytes and live bytes of everything that runs inside it.

    Use `with counter.watch(model), counter:`. Operators of the backward pass are attributed to the module whose
    forward operator they differentiate, through autograd's sequence numbers. A forward pass that is run again in
    the backward pass (gradient checkpointing) counts again, because it is computed again.

    Attributes:
        macs: Multiply-accumulates by place, in the order of the first operator there.
        activation_bytes: Sum of the counted forward operators' output bytes, each once.
        storages: Live tensors and their peak.
        uncounted: Operators that multiply, or may do so, and have no formula.
        positions: By module, positions of its last layer or pooling, for the whole batch; the last to run is last.
        values: By place and positions, numbers that layers with weights put out in the forward pass, for the whole
            batch.
    """

    # Operators that take functions (flex_attention) come here too, and are named as not counted.
    supports_higher_order_operators = True

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.macs: Counter[Place] = Counter()
        self.activation_bytes = 0
        self.storages = LiveStorages()
        self.uncounted: set[str] = set()
        self.positions: dict[str, int] = {}
        self.values: Counter[tuple[Place, int]] = Counter()
        self._stack = [""]
        self._place_of_sequence: dict[int, Place] = {}

    @contextmanager
    def watch(self, model: nn.Module) -> Iterator[None]:
        """Follow which module is running, and enter the model's parameters and buffers as live."""
        paths = {id(module): path for path, module in model.named_modules()}
        for tensor in (*model.parameters(), *model.buffers()):
            self.storages.add(tensor, Origin.WEIGHT)

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
        if not isinstance(func, torch._ops.OpOverload):
            self.uncounted.add(str(func))
            return func(*args, **kwargs)
        if func.namespace == "prim":  # asks for a device or a type
            return func(*args, **kwargs)
        if _is_composite(func):
            # Autograd takes these apart before they come here, but not in inference mode.
            with self:
                return func.decompose(*args, **kwargs)
        formula = FORMULAS.get(func.overloadpacket)
        if formula is None and may_multiply(func):
            self.uncounted.add(str(func.overloadpacket))
        # Asked before the operator runs: an in-place one changes what its input is made of.
        origin = self._origin_of_output(func, args, kwargs)
        product = self._product(formula, args) if formula is not None else None
        out = func(*args, **kwargs)
        outputs = [out] if isinstance(out, Tensor) else [leaf for leaf in tree_leaves(out) if isinstance(leaf, Tensor)]
        for tensor in outputs:
            self.storages.add(tensor, origin)
        if formula is not None and product is not None:
            self._count(product, formula.macs(args, out), outputs[0])
        elif func.overloadpacket.__name__ in _POOLINGS:
            self._note_positions(outputs[0].numel() // outputs[0].shape[-3])
        return out

    def _origin_of_output(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Origin:
        inputs = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        origin = max((self.storages.origin(tensor) for tensor in inputs), default=Origin.WEIGHT)
        is_weight = origin is Origin.WEIGHT and (not inputs or func.overloadpacket in _COPIES)
        return Origin.WEIGHT if is_weight else max(origin, Origin.DERIVED)

    def _product(self, formula: Formula, args: tuple[Any, ...]) -> Product:
        if formula.kind in (OperatorKind.ATTENTION, OperatorKind.SCAN):
            return Product.SCORES
        if formula.kind is OperatorKind.CONVOLUTION:
            return Product.CONVOLUTION
        low, high = sorted(self.storages.origin(args[position]) for position in formula.operands)
        if high is not Origin.ACTIVATION:
            return Product.CONSTANT
        by_origin = {Origin.WEIGHT: Product.LAYER, Origin.DERIVED: Product.DERIVED, Origin.ACTIVATION: Product.SCORES}
        return by_origin[low]

    def _count(self, product: Product, macs: int, output: Tensor) -> None:
        node = _current_node()
        place = Place(self._stack[-1], product)
        if node is not None and len(self._stack) == 1 and not torch.is_grad_enabled():
            place = self._place_of_sequence.get(node._sequence_nr(), place)
        else:
            # The first of a node's operators names its place: later ones without gradients share its number.
            self._place_of_sequence.setdefault(_next_sequence() - 1, place)
        if node is None:
            self.activation_bytes += output.numel() * output.element_size()
            if product in (Product.CONVOLUTION, Product.LAYER) and output.numel():
                channels = output.shape[1 if product is Product.CONVOLUTION else -1]  # (B, C, ...) or (..., C)
                positions = output.numel() // channels
                self._note_positions(positions)
                self.values[place, positions] += output.numel()
        self.macs[place] += macs

    def _note_positions(self, positions: int) -> None:
        self.positions.pop(self._stack[-1], None)
        self.positions[self._stack[-1]] = positions


@cache
def _is_composite(func: Any) -> bool:
    """Whether an operator is made of others."""
    key = torch._C.DispatchKey.CompositeImplicitAutograd
    return bool(func.has_kernel_for_dispatch_key(key)) or key in func.py_kernels
