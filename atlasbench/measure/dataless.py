"""Models on tensors that have shapes and types and no data, so that no size is too large to count."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch._subclasses import fake_tensor
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._pytree import tree_leaves, tree_map_only

from atlasbench.models.built import BuiltModel

_NEED_DATA = tuple(
    getattr(fake_tensor, name)
    for name in ("DataDependentOutputException", "DynamicOutputShapeException", "UnsupportedOperatorException")
    if hasattr(fake_tensor, name)
)
_KEPT_BY_MODULE = ("_parameters", "_buffers", "_modules")
_SAYS_IT_NEEDS_DATA = "not supported for tensor subclasses"  # .numpy(), .tolist()


class NeedsDataError(Exception):
    """A model asks for values (`.item()`, `.numpy()`, a mask as an index) or for an operator without shapes."""


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


@contextmanager
def without_data(model: nn.Module) -> Iterator[None]:
    """Let a model on the meta device run as if it lay on the CPU, in place; every new tensor has no data either.

    Autocast and the choice of fused attention kernels follow the device, and torch has neither for meta tensors.

    Raises:
        NeedsDataError: If what runs inside asks for values.
    """
    mode = FakeTensorMode(allow_non_fake_inputs=True, allow_fallback_kernels=False)
    _move_to_fake_cpu(model, mode)
    fast_path = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # one kernel for a whole layer, which has neither shapes nor formula
    try:
        # What a model compiles for itself runs as it is written: compilers do not know these tensors.
        with torch.compiler.set_stance("force_eager"), mode:
            yield
    except _NEED_DATA as error:
        raise NeedsDataError(f"it needs the values of a tensor, for {_operator_of(error)}") from error
    except RuntimeError as error:
        if _SAYS_IT_NEEDS_DATA not in str(error):
            raise
        raise NeedsDataError(f"it needs the values of a tensor: {error}") from error
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)


def _operator_of(error: Exception) -> str:
    return str(getattr(error, "func", error))


def _move_to_fake_cpu(model: nn.Module, mode: FakeTensorMode) -> None:
    """Parameters, buffers and tensors in plain attributes; what is tied stays tied."""
    seen: dict[int, Tensor] = {}

    def fake(tensor: Tensor) -> Tensor:
        if id(tensor) not in seen:
            lifted: Tensor = FakeTensor(mode, tensor.detach().to("meta"), torch.device("cpu"))
            if isinstance(tensor, nn.Parameter):
                lifted = nn.Parameter(lifted, requires_grad=tensor.requires_grad)
            seen[id(tensor)] = lifted
        return seen[id(tensor)]

    for module in model.modules():
        for tensors in (module._parameters, module._buffers):
            for name, tensor in tensors.items():
                if tensor is not None:
                    tensors[name] = fake(tensor)  # type: ignore[assignment]
        for name, value in vars(module).items():
            if name not in _KEPT_BY_MODULE and any(isinstance(leaf, Tensor) for leaf in tree_leaves(value)):
                vars(module)[name] = tree_map_only(Tensor, fake, value)
