"""From a workload to its counts: parameters, MACs, FLOPs by part and by module, activations, predicted memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional

from atlasbench.core.plan import ModuleCount, Plan
from atlasbench.core.record import PARTS, Counts
from atlasbench.core.workload import Mode, Workload
from atlasbench.measure.dataless import build_without_data, move_to_fake_cpu
from atlasbench.measure.flops import FlopCounter
from atlasbench.measure.parts import classify_modules
from atlasbench.models.built import BuiltModel
from atlasbench.models.factory import build_model


def plan_workload(workload: Workload) -> Plan:
    """Resolve a workload's options, check that the model stays itself at this size, and count it.

    Raises:
        AtlasBenchError: If the name or an option is wrong, or (`UnsupportedError`) the pair of model and size is
            not honest.
    """
    built = build_without_data(
        lambda: build_model(
            workload.model,
            resolution=workload.resolution,
            options=workload.options,
            scale_drop=workload.scale_drop,
        )
    )
    family = family_of(built.model)
    resolved = _with_options(workload, built)
    counts, modules, notes = count_built(built, resolved)
    return Plan(
        workload=resolved, family=family, notes=(*built.notes, *notes), counts=counts, modules=tuple(modules)
    )


def _with_options(workload: Workload, built: BuiltModel) -> Workload:
    return replace(workload, options=dict(built.options))


def family_of(model: nn.Module) -> str:
    """Name of the file that defines the architecture, e.g. `atlas` or `vision_transformer`."""
    return type(model).__module__.rpartition(".")[2]


def count_built(built: BuiltModel, workload: Workload) -> tuple[Counts, list[ModuleCount], tuple[str, ...]]:
    """Count one step of a model that was built on the meta device.

    Returns:
        The counts, the same by module, and notes on what the numbers leave out.
    """
    model = built.model
    if workload.dtype.value.startswith("pure-"):
        model.to(getattr(torch, workload.dtype.torch_name))
    parts = classify_modules(model, _classifier_names(model))
    params = _own_params(model)
    mode = FakeTensorMode()
    move_to_fake_cpu(model, mode)
    counter = FlopCounter(parts)
    with mode, counter.watch(model):
        _run_step(model, workload, counter)
    modules = _by_module(counter, params, parts, workload.batch_size)
    notes = tuple(f"{name} is not counted" for name in sorted(counter.uncounted))
    return _counts(counter, modules, params, parts, workload), modules, notes


def _run_step(model: nn.Module, workload: Workload, counter: FlopCounter) -> None:
    training = workload.mode is Mode.TRAIN
    model.train(training)
    # MAP-pool heads hand a parameter to a submodule, which trips autograd under a dispatch mode without gradients.
    model.requires_grad_(training)
    shape = (workload.batch_size, 3, workload.resolution.height, workload.resolution.width)
    dtype = torch.float32 if workload.dtype.is_autocast else getattr(torch, workload.dtype.torch_name)
    image = torch.empty(shape, dtype=dtype)
    counter.storages.add(image, is_constant=False)
    state = _optimizer_state(model) if training else []
    for tensor in state:
        counter.storages.add(tensor, is_constant=True)
    autocast_dtype = getattr(torch, workload.dtype.torch_name) if workload.dtype.is_autocast else None
    with counter, torch.set_grad_enabled(training):
        with torch.autocast("cpu", autocast_dtype, enabled=autocast_dtype is not None):
            logits = first_tensor(model(image))
            loss = None
            if training:
                labels = torch.empty(workload.batch_size, dtype=torch.long)
                loss = functional.cross_entropy(logits.flatten(1).float(), labels)
        if loss is not None:
            loss.backward()


def _optimizer_state(model: nn.Module) -> list[Tensor]:
    """AdamW's two moments for each parameter: they are there in every step but the first."""
    return [torch.empty_like(p) for p in model.parameters() if p.requires_grad for _ in range(2)]


def first_tensor(output: object) -> Tensor:
    """The logits, where a model returns a tuple, a list or a dict of outputs."""
    if isinstance(output, Tensor):
        return output
    items: Iterable[object] = output.values() if isinstance(output, dict) else output  # type: ignore[assignment]
    return first_tensor(next(iter(items)))


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


def _by_module(
    counter: FlopCounter, params: dict[str, int], parts: dict[str, str], batch_size: int
) -> list[ModuleCount]:
    macs = {place: round(total / batch_size) for place, total in counter.macs.items()}
    rows = [
        ModuleCount(path=path, part=part, params=params[path] if part == parts[path] else 0, macs=count)
        for (path, part), count in macs.items()
    ]
    counted = {(row.path, row.part) for row in rows}
    rows += [
        ModuleCount(path=path, part=parts[path], params=count, macs=0)
        for path, count in params.items()
        if count and (path, parts[path]) not in counted
    ]
    return rows


def _counts(
    counter: FlopCounter,
    modules: list[ModuleCount],
    params: dict[str, int],
    parts: dict[str, str],
    workload: Workload,
) -> Counts:
    macs_by_part: Counter[str] = Counter()
    params_by_part: Counter[str] = Counter()
    for row in modules:
        macs_by_part[row.part] += row.macs
        params_by_part[row.part] += row.params
    macs = sum(macs_by_part.values())
    return Counts(
        params=sum(params.values()),
        macs=macs,
        flops=2 * macs,
        flops_by_part={part: 2 * macs_by_part[part] for part in PARTS},
        params_by_part={part: params_by_part[part] for part in PARTS},
        activation_bytes=counter.activation_bytes,
        predicted_peak_bytes=counter.storages.peak_bytes,
        tokens=counter.stem_positions // workload.batch_size,
        uncounted=tuple(sorted(counter.uncounted)),
    )
