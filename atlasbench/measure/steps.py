"""A workload made runnable: one inference or training step, as a call without arguments."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from atlasbench.core.errors import UnsupportedError
from atlasbench.core.workload import AttentionBackend, Dtype, MemoryFormat, Mode, Workload
from atlasbench.measure.device import Device

SEED = 0
_Forward = Callable[[Tensor], object]
_LEARNING_RATE = 1e-5  # the time is the same at any rate; a small one keeps random weights finite

_BACKENDS = {
    AttentionBackend.MATH: SDPBackend.MATH,
    AttentionBackend.FLASH: SDPBackend.FLASH_ATTENTION,
    AttentionBackend.EFFICIENT: SDPBackend.EFFICIENT_ATTENTION,
    AttentionBackend.CUDNN: SDPBackend.CUDNN_ATTENTION,
}


class Step:
    """One step of a workload; calling it runs the step and drops what it gives.

    Attributes:
        output: What the last call gave, if `keep_output` was set before it.
        keep_output: Whether the next call keeps its output; off while anything is measured.
    """

    def __init__(self, model: nn.Module, workload: Workload, device: Device) -> None:
        self.workload = workload
        self.output: object = None
        self.keep_output = False
        self._output_bytes = 0
        self._model = _move(model, workload, device)
        self._model.train(workload.mode is Mode.TRAIN)
        self._images = _random_images(workload, device)
        self._run: Callable[[_Forward, Tensor], object]
        self._training: _Training | None = None
        if workload.mode is Mode.TRAIN:
            self._training = _Training(self._model, workload, device)
            self._run = self._training.run
        else:
            self._run = _Inference(workload, device).run
        self._callable: _Forward = torch.compile(self._model) if workload.compiled else self._model

    def __call__(self) -> None:
        """Run the step. On an asynchronous device it returns before the work is done."""
        output = self._run(self._callable, self._images)
        if self.keep_output:
            self.output = output
            self._output_bytes = _bytes_of(_tensors_of(output))

    @property
    def resident_bytes(self) -> int:
        """Bytes that are there before a step begins: parameters, buffers, input, labels and optimizer state."""
        tensors = [*self._model.parameters(), *self._model.buffers(), self._images]
        if self._training is not None:
            tensors += self._training.state_tensors()
        return _bytes_of(tensors)

    @property
    def least_growth_bytes(self) -> int:
        """Bytes that a step is known to add: its output and, in training, a gradient for each trained parameter.

        The output is known once a call has kept it.
        """
        if self._training is None:
            return self._output_bytes
        return self._output_bytes + _bytes_of(p for p in self._model.parameters() if p.requires_grad)


class _Inference:
    """A forward pass without gradients."""

    def __init__(self, workload: Workload, device: Device) -> None:
        self._workload = workload
        self._device = device

    def run(self, model: _Forward, images: Tensor) -> object:
        """Logits."""
        with torch.no_grad(), _arithmetic(self._workload, self._device):
            return model(images)


class _Training:
    """Forward pass, cross-entropy to random labels, backward pass, AdamW as torch configures it by default."""

    def __init__(self, model: nn.Module, workload: Workload, device: Device) -> None:
        self._workload = workload
        self._device = device
        self._optimizer = torch.optim.AdamW(
            [parameter for parameter in model.parameters() if parameter.requires_grad], lr=_LEARNING_RATE
        )
        # Only float16 autocast needs it: bfloat16 has float32's range, and pure float16 gradients cannot be unscaled.
        self._scaler = torch.amp.GradScaler(device.type, enabled=workload.dtype is Dtype.FLOAT16)
        self._labels: Tensor | None = None  # made by the first step, which tells the number of classes

    def run(self, model: _Forward, images: Tensor) -> object:
        """What the forward pass gives."""
        with _arithmetic(self._workload, self._device):
            output = model(images)
            logits = _logits_of(output)
            loss = functional.cross_entropy(logits, self._labels_for(logits))
        self._scaler.scale(loss).backward()
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self._optimizer.zero_grad(set_to_none=True)
        return output

    def state_tensors(self) -> list[Tensor]:
        """Labels and the optimizer's state."""
        state = [value for values in self._optimizer.state.values() for value in values.values()]
        tensors = [value for value in state if isinstance(value, Tensor)]
        return tensors if self._labels is None else [*tensors, self._labels]

    def _labels_for(self, logits: Tensor) -> Tensor:
        if self._labels is None:
            generator = torch.Generator(logits.device).manual_seed(SEED)
            count, classes = logits.shape
            self._labels = torch.randint(classes, (count,), generator=generator, device=logits.device)
        return self._labels


def prepare_step(model: nn.Module, workload: Workload, device: Device) -> Step:
    """Move a model to the device and make a step of it.

    Args:
        model: Fresh from its builder, on any device.
        workload: Says everything else; its dtype is resolved.
        device: Where it runs.

    Returns:
        A step that has not run yet.
    """
    return Step(model, workload, device)


def describe_output(output: object, workload: Workload) -> tuple[str, ...]:
    """Notes on an output that is not finite logits (B, classes); none if it is."""
    if not isinstance(output, Tensor) or output.dim() != 2 or output.shape[0] != workload.batch_size:
        return (f"the model gives {_shape(output)}, not logits ({workload.batch_size}, classes)",)
    if not bool(torch.isfinite(output).all()):
        return ("logits are not finite: times of such arithmetic may differ from those of a trained model",)
    return ()


@contextmanager
def _arithmetic(workload: Workload, device: Device) -> Iterator[None]:
    """Autocast and the choice of attention kernels, entered anew by every step as a user's loop would."""
    with ExitStack() as contexts:
        if workload.dtype.is_autocast:
            contexts.enter_context(torch.autocast(device.type, dtype=_torch_dtype(workload.dtype)))
        if workload.attention_backend is not AttentionBackend.AUTO:
            contexts.enter_context(sdpa_kernel(_BACKENDS[workload.attention_backend]))
        yield


def _torch_dtype(dtype: Dtype) -> torch.dtype:
    found = getattr(torch, dtype.torch_name)
    assert isinstance(found, torch.dtype)
    return found


def _weight_dtype(dtype: Dtype) -> torch.dtype:
    return torch.float32 if dtype.is_autocast else _torch_dtype(dtype)


def _memory_format(workload: Workload) -> torch.memory_format:
    channels_last = workload.memory_format is MemoryFormat.CHANNELS_LAST
    return torch.channels_last if channels_last else torch.contiguous_format


def _move(model: nn.Module, workload: Workload, device: Device) -> nn.Module:
    model = model.to(device=device.torch_device, dtype=_weight_dtype(workload.dtype))
    if workload.memory_format is MemoryFormat.CHANNELS_LAST:
        model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # stubs lack this form
    return model


def _random_images(workload: Workload, device: Device) -> Tensor:
    """(B, 3, H, W) normal noise, the same on every run on one kind of device."""
    generator = torch.Generator(device.torch_device).manual_seed(SEED)
    shape = (workload.batch_size, 3, workload.resolution.height, workload.resolution.width)
    dtype = _weight_dtype(workload.dtype)
    images = torch.randn(shape, generator=generator, device=device.torch_device, dtype=dtype)
    return images.contiguous(memory_format=_memory_format(workload))


def _logits_of(output: object) -> Tensor:
    """(B, classes) in float32, from the first tensor of whatever a model gives; features count as classes."""
    tensors = _tensors_of(output)
    if not tensors:
        raise UnsupportedError(f"A training step needs logits (B, classes); the model gives {_shape(output)}.")
    return tensors[0].flatten(1).float()


def _tensors_of(output: object) -> list[Tensor]:
    if isinstance(output, Tensor):
        return [output]
    if isinstance(output, dict):
        output = list(output.values())
    if isinstance(output, (list, tuple)):
        return [tensor for item in output for tensor in _tensors_of(item)]
    return []


def _bytes_of(tensors: Iterable[Tensor]) -> int:
    """Bytes of the tensors' storages, each counted once however many tensors share it."""
    storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in tensors}
    return sum(storages.values())


def _shape(output: object) -> str:
    if isinstance(output, Tensor):
        return f"a tensor of shape {tuple(output.shape)}"
    return f"a {type(output).__name__}"
