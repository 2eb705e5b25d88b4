"""From a workload to its counts: parameters, MACs, FLOPs by part and by module, activations, predicted memory."""

from __future__ import annotations

from collections import Counter
from contextlib import AbstractContextManager
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from atlasbench.core.errors import UnsupportedError
from atlasbench.core.plan import ModuleCount, Plan
from atlasbench.core.record import PARTS, Counts, LayerGroup
from atlasbench.core.workload import AttentionBackend, MemoryFormat, Mode, Workload
from atlasbench.measure.dataless import NeedsDataError, build_without_data, without_data
from atlasbench.measure.flops import FlopCounter
from atlasbench.measure.inputs import InputShape, arithmetic, batch_shape, logits_of, memory_format, weight_dtype
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
        _run_step(model, workload, counter, built.input_shape)
    reads_image = built.input_shape is None
    parts = find_parts(model, counter.macs, _classifier_names(model), reads_image=reads_image)
    modules = _by_module(counter, params, parts, workload.batch_size)
    notes = tuple(f"{name} is not counted" for name in sorted(counter.uncounted))
    tokens = _tokens(built, counter, parts, workload.batch_size)
    counts = _counts(counter, modules, tokens)
    return replace(counts, layers=_layers(counter, parts, workload.batch_size)), modules, notes


def _prepare(model: nn.Module, workload: Workload) -> nn.Module:
    model.train(workload.mode is Mode.TRAIN)
    if not workload.dtype.is_autocast:
        model.to(weight_dtype(workload.dtype))
    if workload.memory_format is MemoryFormat.CHANNELS_LAST:
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # stubs lack this form
    return model


def _run_step(model: nn.Module, workload: Workload, counter: FlopCounter, input_shape: InputShape | None) -> None:
    """What a measured step does, the optimizer's arithmetic left out: its moments are live from the start."""
    training = workload.mode is Mode.TRAIN
    shape, dtype = batch_shape(workload, input_shape), weight_dtype(workload.dtype)
    image = torch.empty(shape, dtype=dtype, memory_format=memory_format(workload))
    counter.storages.add(image, Origin.ACTIVATION)
    state = _optimizer_state(model) if training else []
    for tensor in state:
        counter.storages.add(tensor, Origin.WEIGHT)
    with counter, torch.set_grad_enabled(training):
        with _arithmetic_of(workload):
            output = model(image)
            loss = None
            if training:
                loss = functional.cross_entropy(logits_of(output), torch.empty(workload.batch_size, dtype=torch.long))
        if loss is not None:
            loss.backward()


def _arithmetic_of(workload: Workload) -> AbstractContextManager[None]:
    """Of kernels only the one that keeps its scores is told apart: more memory, the same FLOPs."""
    keeps_scores = workload.attention_backend is AttentionBackend.MATH
    return arithmetic(workload.dtype, "cpu", AttentionBackend.MATH if keeps_scores else AttentionBackend.AUTO)


def _optimizer_state(model: nn.Module) -> list[Tensor]:
    """AdamW's two moments for each parameter: they are there in every step but the first."""
    return [torch.empty_like(p) for p in model.parameters() if p.requires_grad for _ in range(2)]


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


def _counts(counter: FlopCounter, modules: list[ModuleCount], tokens: int) -> Counts:
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
        tokens=tokens,
        uncounted=tuple(sorted(counter.uncounted)),
    )


def _tokens(built: BuiltModel, counter: FlopCounter, parts: Parts, batch_size: int) -> int:
    """Tokens of one sample: those it is given, or positions of the map that the stem hands on; 0 without a stem."""
    if built.input_shape is not None:
        return built.input_shape[1] * built.input_shape[2]
    in_batch = (count for path, count in reversed(counter.positions.items()) if path in parts.stems)
    return next(in_batch, 0) // batch_size


def _layers(counter: FlopCounter, parts: Parts, batch_size: int) -> tuple[LayerGroup, ...]:
    """Layers with weights by part and tokens of one image, in the order of `PARTS`, most tokens first."""
    values: Counter[tuple[str, int]] = Counter()
    for (place, positions), count in counter.values.items():
        values[parts.of_place(place), positions] += count
    ordered = sorted(values.items(), key=lambda item: (PARTS.index(item[0][0]), -item[0][1]))
    return tuple(
        LayerGroup(part=part, tokens=-(-positions // batch_size), values=-(-count // batch_size))
        for (part, positions), count in ordered
    )
