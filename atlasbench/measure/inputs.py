"""What counting and measuring give a model, the arithmetic it runs in, and what they take from its output."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._pytree import tree_leaves

from atlasbench.core.errors import UnsupportedError
from atlasbench.core.workload import AttentionBackend, Dtype, MemoryFormat, Workload

InputShape = tuple[int, int, int]

_BACKENDS = {
    AttentionBackend.MATH: SDPBackend.MATH,
    AttentionBackend.FLASH: SDPBackend.FLASH_ATTENTION,
    AttentionBackend.EFFICIENT: SDPBackend.EFFICIENT_ATTENTION,
    AttentionBackend.CUDNN: SDPBackend.CUDNN_ATTENTION,
}


def batch_shape(workload: Workload, input_shape: InputShape | None) -> tuple[int, int, int, int]:
    """Shape of what a step is given.

    Args:
        workload: Says the size of the batch, and of an image.
        input_shape: Channels, height and width of one sample, where the model says them; None for an RGB image.
    """
    resolution = workload.resolution
    return (workload.batch_size, *(input_shape or (3, resolution.height, resolution.width)))


def torch_dtype(dtype: Dtype) -> torch.dtype:
    """The dtype that the arithmetic runs in."""
    found = getattr(torch, dtype.torch_name)
    assert isinstance(found, torch.dtype)
    return found


def weight_dtype(dtype: Dtype) -> torch.dtype:
    """The dtype of weights and input."""
    return torch.float32 if dtype.is_autocast else torch_dtype(dtype)


def memory_format(workload: Workload) -> torch.memory_format:
    """Layout of 4-dimensional tensors."""
    channels_last = workload.memory_format is MemoryFormat.CHANNELS_LAST
    return torch.channels_last if channels_last else torch.contiguous_format


@contextmanager
def arithmetic(dtype: Dtype, device_type: str, backend: AttentionBackend = AttentionBackend.AUTO) -> Iterator[None]:
    """Autocast and the choice of attention kernels, entered anew by every step as a user's loop would."""
    with ExitStack() as contexts:
        if dtype.is_autocast:
            contexts.enter_context(torch.autocast(device_type, dtype=torch_dtype(dtype)))
        if backend is not AttentionBackend.AUTO:
            contexts.enter_context(sdpa_kernel(_BACKENDS[backend]))
        yield


def logits_of(output: object) -> Tensor:
    """(B, classes) in float32, from the first tensor of whatever a model gives; features count as classes.

    Raises:
        UnsupportedError: If there is no tensor in it.
    """
    tensors = tensors_of(output)
    if not tensors:
        raise UnsupportedError(f"A training step needs logits (B, classes); the model gives {name_output(output)}.")
    return tensors[0].flatten(1).float()


def tensors_of(output: object) -> list[Tensor]:
    """Every tensor in what a model gives, also in tuples, lists, dicts and what is made of them."""
    if isinstance(output, dict):
        output = list(output.values())
    if isinstance(output, (list, tuple)):
        return [tensor for item in output for tensor in tensors_of(item)]
    return [leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor)]


def name_output(output: object) -> str:
    """What a model gives, in words."""
    if isinstance(output, Tensor):
        return f"a tensor of shape {tuple(output.shape)}"
    return f"a {type(output).__name__}"
