"""From a workload to its counts: parameters, MACs, FLOPs by part and by module, activations, predicted memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._pytree import tree_leaves

from atlasbench.core.errors import UnsupportedError
from atlasbench.core.plan import ModuleCount, Plan
from atlasbench.core.record import PARTS, Counts
from atlasbench.core.workload import AttentionBackend, MemoryFormat, Mode, Workload
from atlasbench.measure.dataless import NeedsDataError, build_without_data, without_data
from atlasbench.measure.flops import FlopCounter
from atlasbench.measure.liveness import Origin
from atlasbench.measure.parts import Parts, find_parts
from atlasbench.models.built import BuiltModel
from atlasbench.models.factory import build_model


def plan_workload(workload: Workload) -> Plan:
    """Resolve a workload's options, check that the model stays itself at this size, and count it.

    A model whose forward pass asks for the values of a tensor can be measured but not counted: its plan has no
    counts and a note that says so.

    Raises:
        AtlasBenchError: If the name or an option is wrong, or (`UnsupportedError`) the pair of model and size is
            not honest, or counting is all that was asked for and it cannot be done.
    """
    built = build_without_data(
        lambda: build_model(
            workload.model,
            resolution=workload.resolution,
            options=workload.options,
            scale_drop=workload.scale_drop,
        )
    )
    resolved = replace(workload, options=dict(built.options))
    family = family_of(built.model)
    try:
        counts, modules, notes = count_built(built, resolved)
    except NeedsDataError as error:
        reason = f"cannot be counted without data: {error}"
        if workload.device_type == "meta":
            raise UnsupportedError(f"{workload.model} {reason}") from error
        return Plan(workload=resolved, family=family, notes=(*built.notes, reason), counts=None)
    return Plan(workload=resolved, family=family, notes=(*built.notes, *notes), counts=counts, modules=tuple(modules))


def family_of(model: nn.Module) -> str:
    """Name of the file that defines the architecture, e.g. `atlas` or `vision_transformer`."""
    return type(model).__module__.rpartition(".")[2]


def count_built(built: BuiltModel, workload: Workload) -> tuple[Counts, list[ModuleCount], tuple[str, ...]]:
    """Count one step of a model that was built on the meta device; the model is of no use afterwards.

    Returns:
        The counts, the same by module, and notes on what the numbers leave out.

    Raises:
        NeedsDataError: If the model asks for the values of a tensor.
    """
    model = built.model
    params = _own_params(model)
    counter = FlopCounter()
    with without_data(_prepare(model, workload)), counter.watch(model):
        _run_step(model, workload, counter)
    parts = find_parts(model, counter.macs, _classifier_names(model))
    modules = _by_module(counter, params, parts, workload.batch_size)
    notes = tuple(f"{name} is not counted" for name in sorted(counter.uncounted))
    return _counts(counter, modules, parts, workload), modules, notes


def _prepare(model: nn.Module, workload: Workload) -> nn.Module:
    model.train(workload.mode is Mode.TRAIN)
    if not workload.dtype.is_autocast:
        model.to(getattr(torch, workload.dtype.torch_name))
    if workload.memory_format is MemoryFormat.CHANNELS_LAST:
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # stubs lack this form
    return model


def _run_step(model: nn.Module, workload: Workload, counter: FlopCounter) -> None:
    """What a measured step does, the optimizer's arithmetic left out: its moments are live from the start."""
    training = workload.mode is Mode.TRAIN
    image = _image(workload)
    counter.storages.add(image, Origin.ACTIVATION)
    state = _optimizer_state(model) if training else []
    for tensor in state:
        counter.storages.add(tensor, Origin.WEIGHT)
    with counter, torch.set_grad_enabled(training):
        with _arithmetic(workload):
            output = model(image)
            loss = None
            if training:
                logits = first_tensor(output).flatten(1).float()
                loss = functional.cross_entropy(logits, torch.empty(workload.batch_size, dtype=torch.long))
        if loss is not None:
            loss.backward()


def _image(workload: Workload) -> Tensor:
    shape = (workload.batch_size, 3, workload.resolution.height, workload.resolution.width)
    dtype = torch.float32 if workload.dtype.is_autocast else getattr(torch, workload.dtype.torch_name)
    channels_last = workload.memory_format is MemoryFormat.CHANNELS_LAST
    return torch.empty(
        shape, dtype=dtype, memory_format=torch.channels_last if channels_last else torch.contiguous_format
    )


@contextmanager
def _arithmetic(workload: Workload) -> Iterator[None]:
    """Autocast, and attention that keeps its scores where that was asked for: more memory, the same FLOPs."""
    with ExitStack() as contexts:
        if workload.dtype.is_autocast:
            contexts.enter_context(torch.autocast("cpu", getattr(torch, workload.dtype.torch_name)))
        if workload.attention_backend is AttentionBackend.MATH:
            contexts.enter_context(sdpa_kernel(SDPBackend.MATH))
        yield


def _optimizer_state(model: nn.Module) -> list[Tensor]:
    """AdamW's two moments for each parameter: they are there in every step but the first."""
    return [torch.empty_like(p) for p in model.parameters() if p.requires_grad for _ in range(2)]


def first_tensor(output: object) -> Tensor:
    """The logits, also where a model returns a tuple, a list or a dict of outputs.

    Raises:
        UnsupportedError: If there is no tensor in it.
    """
    tensor = next((leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor)), None)
    if tensor is None:
        raise UnsupportedError(f"A training step needs logits (B, classes); the model gives {type(output).__name__}.")
    return tensor


def _classifier_names(model: nn.Module) -> tuple[str, ...]:
    config = getattr(model, "pretrained_cfg", None) or {}
    names = config.get("classifier", ()) if isinstance(config, dict) else ()
    names = (names,) if isinstance(names, str) else tuple(names or ())
    return tuple(name.partition(".")[0] for name in names)


def _own_params(model: nn.Module) -> dict[str, int]:
    """Parameters of every module less its children's; a tied parameter belongs to the first that holds it."""
    seen: set[int] = set()
    counts: dict[str, int] = {}
    for path, module in model.named_modules():
        own = [p for p in module.parameters(recurse=False) if id(p) not in seen]
        seen.update(map(id, own))
        counts[path] = sum(p.numel() for p in own)
    return counts


def _by_module(counter: FlopCounter, params: dict[str, int], parts: Parts, batch_size: int) -> list[ModuleCount]:
    """One row for each module and part with something in it; a module's parameters are in the row of its own part."""
    macs: Counter[tuple[str, str]] = Counter()
    for place, count in counter.macs.items():
        macs[place.path, parts.of_place(place)] += count
    own = {(path, parts.of_module[path]): count for path, count in params.items() if count}
    return [
        ModuleCount(path=path, part=part, params=own.get((path, part), 0), macs=round(macs[path, part] / batch_size))
        for path, part in dict.fromkeys((*macs, *own))
    ]


def _counts(counter: FlopCounter, modules: list[ModuleCount], parts: Parts, workload: Workload) -> Counts:
    macs_by_part: Counter[str] = Counter()
    params_by_part: Counter[str] = Counter()
    for row in modules:
        macs_by_part[row.part] += row.macs
        params_by_part[row.part] += row.params
    macs = sum(macs_by_part.values())
    return Counts(
        params=sum(params_by_part.values()),
        macs=macs,
        flops=2 * macs,
        flops_by_part={part: 2 * macs_by_part[part] for part in PARTS},
        params_by_part={part: params_by_part[part] for part in PARTS},
        activation_bytes=counter.activation_bytes,
        predicted_peak_bytes=counter.storages.peak_bytes,
        tokens=_tokens(counter, parts) // workload.batch_size,
        uncounted=tuple(sorted(counter.uncounted)),
    )


def _tokens(counter: FlopCounter, parts: Parts) -> int:
    """Positions of the map that the stem hands on, for the whole batch; 0 where the model names no stem."""
    return next((count for path, count in reversed(counter.positions.items()) if path in parts.stems), 0)
