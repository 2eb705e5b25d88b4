"""A workload made runnable: one inference or training step, as a call without arguments."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn
from torch.nn import functional

from atlasbench.core.workload import Dtype, MemoryFormat, Mode, Workload
from atlasbench.measure.device import Device
from atlasbench.measure.inputs import (
    InputShape,
    arithmetic,
    batch_shape,
    logits_of,
    memory_format,
    name_output,
    tensors_of,
    weight_dtype,
)

SEED = 0
_Forward = Callable[[Tensor], object]
_LEARNING_RATE = 1e-5  # the time is the same at any rate; a small one keeps random weights finite


class Step:
    """One step of a workload; calling it runs the step and drops what it gives.

    Attributes:
        output: What the last call gave, if `keep_output` was set before it.
        keep_output: Whether the next call keeps its output; off while anything is measured.
    """

    def __init__(
        self, model: nn.Module, workload: Workload, device: Device, input_shape: InputShape | None = None
    ) -> None:
        self.workload = workload
        self.output: object = None
        self.keep_output = False
        self._output_bytes = 0
        self._model = _move(model, workload, device)
        self._model.train(workload.mode is Mode.TRAIN)
        self._images = _random_images(workload, device, input_shape)
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
            self._output_bytes = _bytes_of(tensors_of(output))

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
        with torch.no_grad(), _arithmetic_of(self._workload, self._device):
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
        with _arithmetic_of(self._workload, self._device):
            output = model(images)
            logits = logits_of(output)
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


def prepare_step(
    model: nn.Module, workload: Workload, device: Device, *, input_shape: InputShape | None = None
) -> Step:
    """Move a model to the device and make a step of it.

    Args:
        model: Fresh from its builder, on any device.
        workload: Says everything else; its dtype is resolved.
        device: Where it runs.
        input_shape: Channels, height and width of one sample; None for an image of the workload's resolution.

    Returns:
        A step that has not run yet.
    """
    return Step(model, workload, device, input_shape)


def describe_output(output: object, workload: Workload) -> tuple[str, ...]:
    """Notes on an output that is not finite logits (B, classes); none if it is."""
    if not isinstance(output, Tensor) or output.dim() != 2 or output.shape[0] != workload.batch_size:
        return (f"the model gives {name_output(output)}, not logits ({workload.batch_size}, classes)",)
    if not bool(torch.isfinite(output).all()):
        return ("logits are not finite: times of such arithmetic may differ from those of a trained model",)
    return ()


def _arithmetic_of(workload: Workload, device: Device) -> AbstractContextManager[None]:
    return arithmetic(workload.dtype, device.type, workload.attention_backend)


def _move(model: nn.Module, workload: Workload, device: Device) -> nn.Module:
    model = model.to(device=device.torch_device, dtype=weight_dtype(workload.dtype))
    if workload.memory_format is MemoryFormat.CHANNELS_LAST:
        model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # stubs lack this form
    return model


def _random_images(workload: Workload, device: Device, input_shape: InputShape | None) -> Tensor:
    """Normal noise in the shape of the input, the same on every run on one kind of device."""
    generator = torch.Generator(device.torch_device).manual_seed(SEED)
    shape, dtype = batch_shape(workload, input_shape), weight_dtype(workload.dtype)
    images = torch.randn(shape, generator=generator, device=device.torch_device, dtype=dtype)
    return images.contiguous(memory_format=memory_format(workload))


def _bytes_of(tensors: Iterable[Tensor]) -> int:
    """Bytes of the tensors' storages, each counted once however many tensors share it."""
    storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in tensors}
    return sum(storages.values())
