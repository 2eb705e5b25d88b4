"""Any timm backbone at any resolution, so that it stays the same model, or the reason why it cannot."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import timm
import torch
from torch import nn
from torch.utils._pytree import tree_leaves

from atlasbench.core.errors import InvalidOptionError, UnknownModelError, UnsupportedError
from atlasbench.core.resolution import Resolution
from atlasbench.models.built import BuiltModel
from atlasbench.models.timm_construction import (
    DEFAULT_NUM_CLASSES,
    MODEL_FAILURES,
    check_effect,
    check_options,
    construct,
    first_line,
)
from atlasbench.models.timm_families import Arguments, Native, honest_calls
from atlasbench.models.timm_honesty import check_honesty
from atlasbench.models.timm_trace import trace_forward

SIZE_WORDS = ("img_size", "img_pad")
WINDOW_WORDS = ("window", "partition", "grid_size")


def build_timm_model(
    name: str, *, resolution: Resolution, num_classes: int | None = None, probe: bool = True, **options: Any
) -> BuiltModel:
    """Build a timm model for one resolution, on the current default device, with random weights.

    Args:
        name: As timm spells it; a pretrained tag (`.augreg_in1k`) is accepted and has no effect.
        resolution: Size of the images, in pixels.
        num_classes: Outputs; 1000 when None, also for a model whose weights have another head or none.
        probe: Whether to check that the model stays the same model; if not, the family's first call is taken.
        **options: Arguments of timm's constructor; they take the place of those that would be chosen here.

    Returns:
        The model; every argument it was built with, and its name, as JSON values; and what to know about it.

    Raises:
        UnknownModelError: If timm has no such model.
        InvalidOptionError: If the model does not take an option, or not with this value.
        UnsupportedError: If it cannot be the same model at this resolution.
    """
    timm_name = _known_name(name)
    if num_classes not in (None, DEFAULT_NUM_CLASSES):
        options["num_classes"] = num_classes
    check_options(timm_name, options)
    call = _choose_call(timm_name, resolution, _as_json(options), probe)
    model = call.model
    if model is None or torch.get_default_device().type != "meta":
        model = construct(timm_name, call.arguments)
    return BuiltModel(model=model, options={"timm_name": timm_name, **call.arguments}, notes=call.notes)


def native_resolution(name: str) -> Resolution:
    """Size of the images that timm made a model for.

    Raises:
        UnknownModelError: If timm has no such model.
    """
    pretrained = timm.get_pretrained_cfg(_known_name(name))
    _, height, width = pretrained.input_size if pretrained else (3, 224, 224)
    return Resolution(height, width)


def _known_name(name: str) -> str:
    timm_name = name.split(".", 1)[0]
    if not timm.is_model(timm_name):
        raise UnknownModelError(name, timm.list_models())
    return timm_name


@dataclass(frozen=True, slots=True, kw_only=True)
class _Call:
    """A call of timm's constructor; when it was probed, what is to say about it, and the model on meta."""

    arguments: dict[str, Any]
    notes: tuple[str, ...] = ()
    model: nn.Module | None = None


def _choose_call(name: str, resolution: Resolution, options: Mapping[str, Any], probe: bool) -> _Call:
    """The first call that is honest; without a probe, the first."""
    native = partial(_native, name, json.dumps(_without_sizes(options), sort_keys=True))
    if probe:
        check_effect(name, native().model, options)
    refusal = UnsupportedError(f"{name} cannot be built for {resolution} px.")
    for call in _calls(name, native, resolution, options):
        arguments = {**call, **options}
        if not probe:
            return _Call(arguments=arguments)
        try:
            return _probe(native(), resolution, arguments, options)
        except UnsupportedError as error:
            refusal = error
    raise refusal


def _calls(
    name: str, native: Callable[[], Native], resolution: Resolution, options: Mapping[str, Any]
) -> Iterator[Arguments]:
    module = timm.models.model_entrypoint(name).__module__.rpartition(".")[2]
    try:
        yield from honest_calls(module, native, resolution)
    except UnsupportedError:
        if _without_sizes(options) == options:
            raise
        yield {}  # the user names sizes that the family's rule did not think of: the probe decides


def _probe(native: Native, resolution: Resolution, arguments: dict[str, Any], options: Mapping[str, Any]) -> _Call:
    try:
        with torch.device("meta"):
            model = construct(native.name, arguments)
    except MODEL_FAILURES as error:
        kind = UnsupportedError if _without_sizes(options) == options else InvalidOptionError
        text = f"{native.name} cannot be built for {resolution} px with {json.dumps(arguments)}"
        raise kind(f"{text}: {first_line(error)}") from error
    notes = check_honesty(native, model, resolution, largest_window=_largest_window(options))
    return _Call(arguments=arguments, notes=notes, model=model)


@lru_cache(maxsize=16)
def _native(name: str, options: str) -> Native:
    """The model as timm builds it, with the user's options but for sizes; kept for the next resolution.

    Args:
        name: timm's name.
        options: As JSON.

    Raises:
        InvalidOptionError: If the model does not take one of them, or not with this value.
        UnsupportedError: If the model does not even run at its own size.
    """
    resolution = native_resolution(name)
    try:
        with torch.device("meta"):
            model = construct(name, json.loads(options))
    except MODEL_FAILURES as error:
        raise InvalidOptionError(f"{name} cannot be built with {options}: {first_line(error)}") from error
    try:
        trace = trace_forward(model, resolution)
    except MODEL_FAILURES as error:
        text = f"{name} does not run at its own {resolution} px without data: {first_line(error)}"
        raise UnsupportedError(text) from error
    return Native(name=name, resolution=resolution, model=model, trace=trace)


def _as_json(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options as a record holds them: tuples become lists."""
    try:
        return dict(json.loads(json.dumps(options)))
    except TypeError as error:
        raise InvalidOptionError(f"Options are numbers, text, lists and truth values: {error}.") from error


def _without_sizes(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options that say what the model is, without those that fit it to an image."""
    sizes = SIZE_WORDS + WINDOW_WORDS
    return {option: value for option, value in options.items() if not any(word in option for word in sizes)}


def _largest_window(options: Mapping[str, Any]) -> int:
    """Side of the largest window that the user named, 0 if none."""
    sizes = [option for option in options if "size" in option and any(word in option for word in WINDOW_WORDS)]
    named = [options[option] for option in sizes]
    return max((side for side in tree_leaves(named) if isinstance(side, int)), default=0)
