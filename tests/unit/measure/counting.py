"""Runs small modules and functions under the counter, on tensors without data."""

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from atlasbench.core.plan import ModuleCount
from atlasbench.core.record import Counts
from atlasbench.core.resolution import Resolution
from atlasbench.core.workload import Workload
from atlasbench.measure.count import count_built
from atlasbench.measure.dataless import build_without_data, without_data
from atlasbench.measure.flops import FlopCounter, Place, Product
from atlasbench.measure.liveness import Origin
from atlasbench.models.built import BuiltModel
from atlasbench.models.factory import build_model

SIDE = 32


class Function(nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: Tensor) -> Any:
        return self.function(*inputs)


def watch(run: nn.Module | Callable[..., Any], *shapes: tuple[int, ...], backward: bool = False) -> FlopCounter:
    """Count one call on inputs of these shapes; with `backward`, the gradient of the sum to weights and inputs too."""
    model = copy.deepcopy(run) if isinstance(run, nn.Module) else Function(run)  # counting leaves no weights behind
    counter = FlopCounter()
    with without_data(model.to("meta")), counter.watch(model):
        inputs = [torch.empty(shape, requires_grad=backward) for shape in shapes]
        for tensor in inputs:
            counter.storages.add(tensor, Origin.ACTIVATION)
        with counter, torch.set_grad_enabled(backward):
            out = model(*inputs)
            if backward:
                out.sum().backward()
    return counter


def total_macs(run: nn.Module | Callable[..., Any], *shapes: tuple[int, ...], backward: bool = False) -> int:
    """Multiply-accumulates of one call."""
    return watch(run, *shapes, backward=backward).macs.total()


def macs_of(counter: FlopCounter, path: str, product: Product) -> int:
    """Multiply-accumulates at one place."""
    return counter.macs[Place(path, product)]


def count_module(
    build: Callable[[], nn.Module], side: int = SIDE, **fields: Any
) -> tuple[Counts, list[ModuleCount], tuple[str, ...]]:
    """Count a module as a workload on square images."""
    workload = Workload(model="hand-made", resolution=Resolution(side, side), **fields)
    return count_built(build_without_data(lambda: BuiltModel(model=build())), workload)


def count_named(name: str, height: int, width: int | None = None, scale_drop: str = "", **fields: Any) -> Counts:
    """Count a model by its name, taking for granted that it is honest at this size."""
    resolution = Resolution(height, width or height)
    options = fields.pop("options", {})
    workload = Workload(model=name, resolution=resolution, **fields)
    built = build_without_data(
        lambda: build_model(name, resolution=resolution, options=options, scale_drop=scale_drop, probe=False)
    )
    return count_built(built, workload)[0]
