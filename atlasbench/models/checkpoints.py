"""Weights from a file into a model: official names become ours, and nothing else is forgiven.

An architecture whose public checkpoints have other names offers `translate_official_names(state)`: the entries under
our names, and the official names that nothing uses. A state dict with our names comes back as it is.
"""

from __future__ import annotations

import argparse
import pickle
import re
import struct
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import safetensors
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from atlasbench.core.errors import CheckpointError

_WRAPPERS = ("state_dict_ema", "model_ema", "state_dict", "model", "module", "teacher")
_PREFIXES = ("module.", "model.", "_orig_mod.", "encoder.")
_COUNTER = "num_batches_tracked"
_SHOWN_NAMES = 3
_NEEDS_CODE = re.compile(r"GLOBAL ([\w.]+)")  # how torch names what it refuses to import
# What unpickling cut or foreign bytes is known to raise, with code refused.
_UNREADABLE = (
    pickle.UnpicklingError,
    safetensors.SafetensorError,
    struct.error,
    OSError,
    EOFError,
    RuntimeError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ImportError,
    AssertionError,
    OverflowError,
)


@runtime_checkable
class HasOfficialNames(Protocol):
    """A model whose public checkpoints have other names."""

    def translate_official_names(self, state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
        """Entries under our names, and official names that nothing uses."""
        ...


def load_checkpoint(model: nn.Module, source: str | Path | Mapping[str, Any]) -> list[str]:
    """Load weights, strictly: every name and shape must fit.

    Args:
        model: Any of our models, or timm's (with timm's own names).
        source: A safetensors or torch file, a state dict, or what a training run saved around one. Averaged (EMA)
            weights are taken where there are both.

    Returns:
        Names that were ignored: unused parts of official models, buffers that are recomputed, and BatchNorm counters
        that the model does not keep.

    Raises:
        CheckpointError: If the file cannot be read without running code, or a name or shape does not fit. The model is
            then unchanged.
    """
    where = "The checkpoint" if isinstance(source, Mapping) else str(source)
    content = source if isinstance(source, Mapping) else read_checkpoint(Path(source))
    state = _strip_prefixes(_unwrap(content, where))
    ignored: list[str] = []
    if isinstance(model, HasOfficialNames):
        found = len(state)
        state, ignored = model.translate_official_names(state)
        if len(state) + len(ignored) != found:
            raise CheckpointError(f"{where} names a parameter twice, with official names and ours.")
    expected = model.state_dict(keep_vars=True)
    recomputed = {name for name, _ in model.named_buffers()} - expected.keys()
    dropped = [name for name in state if name not in expected and _may_be_left_out(name, recomputed)]
    state = {name: tensor for name, tensor in state.items() if name not in dropped}
    _check_fit(state, expected, f"{where} does not fit this {type(model).__name__}")
    model.load_state_dict(state, strict=False)
    return [*ignored, *dropped]


def read_checkpoint(path: Path) -> Mapping[str, Any]:
    """Read a file of tensors; none of its content is run.

    Raises:
        CheckpointError: If there is no such file, it is damaged, or it needs code to be read.
    """
    if path.is_dir():
        raise CheckpointError(f"{path} is a folder: name a checkpoint file in it.")
    if not path.is_file():
        raise CheckpointError(f"There is no checkpoint file {path}.")
    if path.stat().st_size == 0:
        raise CheckpointError(f"{path} is empty.")
    try:
        content = load_file(path) if path.suffix == ".safetensors" else _load_torch_file(path)
    except _UNREADABLE as error:
        if code := _NEEDS_CODE.search(str(error)):
            raise CheckpointError(
                f"{path} is refused: reading it would run code ({code[1]}). Save its state dict alone."
            ) from error
        raise CheckpointError(f"{path} is not a checkpoint, or it is damaged.") from error
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{path} holds a {type(content).__name__}, not a state dict.")
    return content


def _load_torch_file(path: Path) -> Any:
    # timm's training runs save their arguments as a Namespace, which holds values and runs nothing.
    with torch.serialization.safe_globals([argparse.Namespace]), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about foreign pickles: our error says what matters
        return torch.load(path, map_location="cpu", weights_only=True)


def _unwrap(content: Mapping[str, Any], where: str) -> dict[str, Tensor]:
    for wrapper in _WRAPPERS:
        inner = content.get(wrapper)
        if isinstance(inner, Mapping) and inner:
            return _unwrap(inner, where)
    foreign = [str(name) for name, value in content.items() if not isinstance(value, Tensor)]
    if not content or foreign:
        found = f"{_name_some(foreign)} is no tensor" if foreign else "it is empty"
        raise CheckpointError(f"{where} holds no state dict: {found}.")
    return {str(name): value for name, value in content.items()}


def _strip_prefixes(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Take off what wrappers (DataParallel, compile, EMA) put before every name."""
    for prefix in _PREFIXES:
        if all(name.startswith(prefix) for name in state):
            return _strip_prefixes({name.removeprefix(prefix): value for name, value in state.items()})
    return state


def _may_be_left_out(name: str, recomputed: set[str]) -> bool:
    return name in recomputed or name.rpartition(".")[2] == _COUNTER


def _check_fit(state: Mapping[str, Tensor], expected: Mapping[str, Tensor], what: str) -> None:
    missing = [name for name in expected if name not in state and name.rpartition(".")[2] != _COUNTER]
    unexpected = [name for name in state if name not in expected]
    misshapen = [
        f"{name} {_describe(state[name])} for {_describe(tensor)}"
        for name, tensor in expected.items()
        if name in state and _describe(state[name]) != _describe(tensor)
    ]
    kinds = (("missing", missing), ("unexpected", unexpected), ("of another shape", misshapen))
    problems = [f"{len(names)} {kind} ({_name_some(names)})" for kind, names in kinds if names]
    if problems:
        raise CheckpointError(f"{what}: {'; '.join(problems)}.")
    if any(tensor.is_meta for tensor in expected.values()):
        raise CheckpointError("The model is on the meta device, which holds no weights: build it on another device.")


def _describe(tensor: Tensor) -> str:
    """Shape, and the dtype of what is no floating point: floating points are converted, nothing else is."""
    shape = "x".join(map(str, tensor.shape)) or "scalar"
    return shape if tensor.is_floating_point() else f"{shape} {str(tensor.dtype).removeprefix('torch.')}"


def _name_some(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(names[:_SHOWN_NAMES]) + (", ..." if len(names) > _SHOWN_NAMES else "")
