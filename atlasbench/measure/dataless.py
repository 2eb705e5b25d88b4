"""Models and steps on tensors that have shapes and types and no data, so that no size is too large to count."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

from atlasbench.models.built import BuiltModel


def build_without_data(build: Callable[[], BuiltModel]) -> BuiltModel:
    """Build a model on the meta device, or on the CPU first where its constructor needs values."""
    try:
        with torch.device("meta"):
            return build()
    except (NotImplementedError, RuntimeError) as error:
        if "meta" not in str(error).lower():
            raise
    built = build()
    built.model.to("meta")
    return built


def move_to_fake_cpu(model: nn.Module, mode: FakeTensorMode) -> None:
    """Make a model on the meta device look as if it lay on the CPU, in place; tied parameters stay tied.

    Autocast and the choice of fused attention kernels follow the device, and torch has neither for meta tensors.
    """
    seen: dict[int, Tensor] = {}

    def fake(tensor: Tensor) -> Tensor:
        if id(tensor) not in seen:
            lifted: Tensor = FakeTensor(mode, tensor.detach(), torch.device("cpu"))
            if isinstance(tensor, nn.Parameter):
                lifted = nn.Parameter(lifted, requires_grad=tensor.requires_grad)
            seen[id(tensor)] = lifted
        return seen[id(tensor)]

    for module in model.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                module._parameters[name] = fake(parameter)  # type: ignore[assignment]
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = fake(buffer)
