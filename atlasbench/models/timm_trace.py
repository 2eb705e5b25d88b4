"""Runs a model on the meta device, where nothing is computed, and writes down what happens to the image."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from atlasbench.core.resolution import Resolution

_RESIZES = ("upsample", "_upsample", "grid_sampler", "_adaptive_avg_pool", "adaptive_max_pool")
_READERS = ("convolution", "im2col", "max_pool2d_with_indices", "avg_pool2d")
_STEPPED_SLICE = 5  # arguments of a slice with a step: it takes every n-th pixel, the others go elsewhere
_IMAGE, _LEARNED, _FEATURE = "image", "learned", "feature"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """One convolution, pooling or unfolding of a map: what it reads of it and what it leaves out.

    Attributes:
        side: Height and width of the map before any padding, in positions.
        dropped: Rows and columns at the bottom and right that no output depends on.
        kernel: Height and width of the window.
        stride: Steps down and to the right.
    """

    side: tuple[int, int]
    dropped: tuple[int, int]
    kernel: tuple[int, int]
    stride: tuple[int, int]

    @property
    def is_patch_embedding(self) -> bool:
        """If it cuts the image into tokens; a stem that slides in small steps may lose a last pixel."""
        return self.stride == self.kernel or max(self.stride) > 2


@dataclass(slots=True, kw_only=True)
class Trace:
    """What one forward pass did.

    Attributes:
        resolution: Size of the image that went in.
        resizes: Factors (down, right) by which the image was resampled, before anything learned read it.
        crops: Rows and columns that were cut off the image, likewise.
        padded: Sizes that the image was filled up to with zeros, likewise.
        image_readers: What reads the image.
        map_readers: What reads the maps made from it.
        work: Elements of all activations: how much there is to do, whatever it costs.
    """

    resolution: Resolution
    resizes: list[tuple[float, float]] = field(default_factory=list)
    crops: list[int] = field(default_factory=list)
    padded: list[tuple[int, int]] = field(default_factory=list)
    image_readers: list[Reader] = field(default_factory=list)
    map_readers: list[Reader] = field(default_factory=list)
    work: int = 0


def trace_forward(model: nn.Module, resolution: Resolution) -> Trace:
    """Run a model in evaluation mode on one RGB image that has a size and no contents; it is left as it was.

    Args:
        model: On the meta device.
        resolution: Size of the image.

    Raises:
        Exception: Whatever the model raises when it does not take this size.
    """
    image = torch.empty(1, 3, resolution.height, resolution.width, device="meta")
    tracer = _Tracer(image, model, Trace(resolution=resolution))
    modes = [(module, module.training) for module in model.modules()]
    # The default device is for tables that a model makes as it runs: ConViT's would fill the memory.
    with torch.device("meta"), torch.no_grad(), _recurrent_layers_by_shape(model), tracer:
        try:
            model.eval()(image)
        finally:
            for module, training in modes:
                module.training = training
    return tracer.trace


class _Tracer(TorchDispatchMode):
    """Follows the image through the operators, by the identity of the tensors."""

    def __init__(self, image: Tensor, model: nn.Module, trace: Trace) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.trace = trace
        self._kinds: dict[int, str] = {id(image): _IMAGE}
        self._unpadded: dict[int, tuple[tuple[int, int], tuple[int, int]]] = {}
        # An identity is only good while its tensor lives; on meta a tensor that lives costs nothing.
        self._alive: list[Tensor] = [image]
        for parameter in model.parameters():
            self._kinds[id(parameter)] = _LEARNED

    def __torch_dispatch__(
        self,
        func: torch._ops.OpOverload,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        inputs = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        kinds = {self._kinds.get(id(tensor)) for tensor in inputs}
        kind = _kind_of_result(kinds)
        name = func.overloadpacket.__name__
        for output in tree_leaves(result):
            if isinstance(output, Tensor) and kind is not None:
                self._kinds[id(output)] = kind
                self._alive.append(output)
                if kind == _FEATURE:
                    self.trace.work += output.numel()
        self._follow_padding(name, args, result)
        if kind == _IMAGE:
            self._follow_image(name, args, result)
        elif kind == _FEATURE and name in _READERS:
            self._note_reader(name, args, result)
        return result

    def _follow_padding(self, name: str, args: tuple[Any, ...], result: Any) -> None:
        if name == "constant_pad_nd":
            right_first = [*args[1], 0, 0]
            self._unpadded[id(result)] = (_side(args[0]), (right_first[2], right_first[0]))

    def _follow_image(self, name: str, args: tuple[Any, ...], result: Any) -> None:
        source = args[0]
        is_map = isinstance(source, Tensor) and isinstance(result, Tensor) and source.dim() == result.dim() == 4
        if not is_map:
            return
        before, after = _side(source), _side(result)
        if name.startswith(_RESIZES):
            self.trace.resizes.append((after[0] / before[0], after[1] / before[1]))
        elif name == "slice" and len(args) < _STEPPED_SLICE and before != after:
            self.trace.crops.append(max(before[0] - after[0], before[1] - after[1]))
        elif name == "constant_pad_nd" and before != after:
            self.trace.padded.append(after)

    def _note_reader(self, name: str, args: tuple[Any, ...], result: Any) -> None:
        source = args[0]
        if source.dim() != 4 or (name == "convolution" and args[6]):
            return  # a transposed convolution reads everything
        side, before = self._unpadded.get(id(source), (_side(source), (0, 0)))
        kernel, stride, padding, dilation = _window(name, args)
        dropped = [0, 0]
        for axis, length in enumerate(_side(source)):
            reach = dilation[axis] * (kernel[axis] - 1)
            steps = (length + 2 * padding[axis] - reach - 1) // stride[axis]
            last = steps * stride[axis] + reach - padding[axis] - before[axis]
            dropped[axis] = max(0, side[axis] - 1 - last)
        reader = Reader(side=side, dropped=_pair(dropped), kernel=kernel, stride=stride)
        is_image = self._kinds.get(id(source)) == _IMAGE
        (self.trace.image_readers if is_image else self.trace.map_readers).append(reader)


def _kind_of_result(kinds: set[str | None]) -> str | None:
    """What an operator's result is: an image until something learned meets it, then a feature."""
    if _FEATURE in kinds or {_IMAGE, _LEARNED} <= kinds:
        return _FEATURE
    return _IMAGE if _IMAGE in kinds else _LEARNED if _LEARNED in kinds else None


def _window(name: str, args: tuple[Any, ...]) -> tuple[tuple[int, int], ...]:
    """Kernel, stride, padding and dilation, each (vertical, horizontal), from the operator's arguments."""
    if name == "convolution":
        return _side(args[1]), _pair(args[3]), _pair(args[4]), _pair(args[5])
    if name == "im2col":
        return _pair(args[1]), _pair(args[4]), _pair(args[3]), _pair(args[2])
    kernel = _pair(args[1])
    stride = _pair(args[2]) if len(args) > 2 and args[2] else kernel
    padding = _pair(args[3]) if len(args) > 3 else (0, 0)
    has_dilation = name.startswith("max") and len(args) > 4
    return kernel, stride, padding, _pair(args[4]) if has_dilation else (1, 1)


def _side(tensor: Tensor) -> tuple[int, int]:
    return tensor.shape[-2], tensor.shape[-1]


def _pair(values: Sequence[int]) -> tuple[int, int]:
    return values[0], values[-1]


@contextmanager
def _recurrent_layers_by_shape(model: nn.Module) -> Iterator[None]:
    """Let LSTMs give their output's shape at once: on meta, torch would run every step, for minutes."""
    layers = [module for module in model.modules() if isinstance(module, nn.LSTM)]
    for layer in layers:
        layer.forward = _lstm_by_shape(layer)  # type: ignore[method-assign]
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward


def _lstm_by_shape(layer: nn.LSTM) -> Any:
    features = (layer.proj_size or layer.hidden_size) * (2 if layer.bidirectional else 1)

    def forward(x: Tensor, state: Any = None) -> tuple[Tensor, None]:
        return x[..., :1].expand(*x.shape[:-1], features).clone(), None

    return forward
