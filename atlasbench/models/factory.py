"""From a name to a backbone: built-in, timm's, or a function in the user's own file."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from atlasbench.core.errors import InvalidOptionError, UnknownModelError
from atlasbench.core.resolution import Resolution, parse_resolution
from atlasbench.core.workload import SOURCE_OPTION, is_file
from atlasbench.models.built import BuiltModel
from atlasbench.registry import MODELS, ModelEntry, find_entry

DEFAULT_RESOLUTION = Resolution(1024, 1024)
NO_OPTIONS = ("resolution", "kind")  # arguments of a builder that the workload and the model's name decide
TIMM_BUILDER = "atlasbench.models.timm_backbones:build_timm_model"


def create_model(
    name: str,
    *,
    resolution: int | str | Sequence[int] | Resolution | None = None,
    num_classes: int | None = None,
    scale_drop: str | Sequence[int] | None = None,
    **options: Any,
) -> nn.Module:
    """Build a backbone for one resolution.

    Args:
        name: A name of `atlasbench models`, any timm name, or `path/to/file.py:function`.
        resolution: Pixels: a number, `(height, width)` or `"768x1536"`; 1024 by default.
        num_classes: Outputs; the model's own default when None.
        scale_drop: Blocks per stage, e.g. `"2-10"` or `(2, 10)`, or `"none"`; for models with scales.
        **options: Further arguments of the architecture.

    Returns:
        A module from images (B, 3, H, W) to logits (B, num_classes), in training mode as torch modules start; `block:*`
        take maps of tokens (B, embed_dim, H, W) instead, and give their mean (B, embed_dim).

    Raises:
        UnknownModelError: If no backbone has this name.
        InvalidOptionError: If the architecture does not take an option.
        UnsupportedError: If the model would not be the same model at this resolution.
    """
    image_size = options.pop("img_size", None) if has_image_size_alias(name) else None
    if image_size is not None and resolution is not None:
        raise InvalidOptionError("`img_size` means the same as `resolution`: give one of them.")
    asked = image_size if resolution is None else resolution
    size = DEFAULT_RESOLUTION if asked is None else parse_resolution(asked)
    if num_classes is not None:
        options["num_classes"] = num_classes
    if scale_drop is not None and not isinstance(scale_drop, str):
        scale_drop = "-".join(map(str, scale_drop))
    return build_model(name, resolution=size, options=options, scale_drop=scale_drop or "").model


def has_image_size_alias(name: str) -> bool:
    """Whether `img_size` is only another word for `resolution` (timm models take it as an argument of its own)."""
    entry = find_entry(name)
    return entry is not None and entry.builder != TIMM_BUILDER


def build_model(
    name: str, *, resolution: Resolution, options: Mapping[str, Any], scale_drop: str = "", probe: bool = True
) -> BuiltModel:
    """Build a backbone on the current default device, with what the record has to say about it.

    Args:
        name: As for `create_model`.
        resolution: Input size.
        options: Arguments that differ from the model's defaults.
        scale_drop: As in a workload; empty for the model's default.
        probe: Whether a timm model is first checked to stay the same model at this resolution.

    Returns:
        The model, with the options as they belong in a record: building with them again gives the same model.
    """
    entry = find_entry(name)
    if scale_drop and (entry is None or not entry.has_scales):
        raise InvalidOptionError(f"{name} has no scales: leave the scale drop out.")
    if is_file(name):
        return _build_from_file(name, resolution, options)
    if entry is None:
        return _build_timm(name, resolution, options, probe)
    if entry.builder == TIMM_BUILDER:
        return _build_timm(entry.arguments["timm_name"], resolution, options, probe)
    return _build_entry(name, entry, resolution, options, scale_drop)


def _build_entry(
    name: str, entry: ModelEntry, resolution: Resolution, options: Mapping[str, Any], scale_drop: str
) -> BuiltModel:
    builder = resolve_function(entry.builder)
    accepted = inspect.signature(builder).parameters
    for option in options:
        if option not in accepted or option in NO_OPTIONS:
            names = ", ".join(sorted(set(accepted) - {*NO_OPTIONS, "scale_drop"}))
            raise InvalidOptionError(f"{name} does not take the option {option!r}. It takes: {names}.")
    arguments: dict[str, Any] = {"num_classes": entry.num_classes, **entry.arguments, **options}
    arguments = {key: tuple(value) if isinstance(value, list) else value for key, value in arguments.items()}
    if scale_drop:
        arguments["scale_drop"] = scale_drop
    built: BuiltModel = builder(resolution=resolution, **arguments)
    defaults = {
        **{key: parameter.default for key, parameter in accepted.items()},
        "num_classes": entry.num_classes,
        **entry.arguments,
    }
    kept = {key: value for key, value in options.items() if arguments[key] != defaults[key] and key not in built.unused}
    return replace(built, options=kept)


def _build_timm(timm_name: str, resolution: Resolution, options: Mapping[str, Any], probe: bool) -> BuiltModel:
    builder = resolve_function(TIMM_BUILDER)
    options = dict(options)
    # A record's options carry the resolved name, so that they can be given again.
    timm_name = options.pop("timm_name", timm_name)
    try:
        built: BuiltModel = builder(timm_name, resolution=resolution, probe=probe, **options)
    except UnknownModelError as error:
        raise UnknownModelError(timm_name, [*MODELS, *_timm_names()]) from error
    return built


def _timm_names() -> list[str]:
    import timm

    return list(timm.list_models())


def _build_from_file(name: str, resolution: Resolution, options: Mapping[str, Any]) -> BuiltModel:
    function = load_user_function(name)
    accepted = inspect.signature(function).parameters
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in accepted.values())
    arguments = {option: value for option, value in options.items() if option != SOURCE_OPTION}
    for option in arguments:
        if option not in accepted and not takes_any:
            raise InvalidOptionError(f"{name} does not take the option {option!r}.")
    if "resolution" in accepted:
        arguments.setdefault("resolution", (resolution.height, resolution.width))
    if "img_size" in accepted:
        arguments.setdefault("img_size", (resolution.height, resolution.width))
    model = function(**arguments)
    if not isinstance(model, nn.Module):
        raise InvalidOptionError(f"{name} must return a torch.nn.Module, not {type(model).__name__}.")
    return BuiltModel(model=model, options={**options, SOURCE_OPTION: _digest(name)})


def _digest(name: str) -> str:
    """What tells one version of a user's file from the next: an edited model is another workload."""
    return hashlib.sha256(Path(name.rpartition(":")[0]).read_bytes()).hexdigest()[:12]


def load_user_function(name: str) -> Callable[..., Any]:
    """The function named by `path/to/file.py:function`.

    The file may import its neighbours, like a script.

    Raises:
        InvalidOptionError: If there is no such file, it cannot be imported, or has no such function.
    """
    file_name, _, function_name = name.rpartition(":")
    path = Path(file_name)
    if not path.is_file():
        raise InvalidOptionError(f"{name!r}: there is no file {file_name!r}.")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise InvalidOptionError(f"{name!r}: {file_name!r} is not a Python file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(path.stem, module)  # dataclasses and pickling look a class's module up
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise InvalidOptionError(f"{name!r} cannot be imported: {type(error).__name__}: {error}") from error
    function = getattr(module, function_name, None)
    if not callable(function):
        raise InvalidOptionError(f"{name!r}: {file_name!r} has no function {function_name!r}.")
    return function  # type: ignore[no-any-return]


def resolve_function(target: str) -> Callable[..., Any]:
    """The function named by `package.module:function`."""
    module_name, _, function_name = target.partition(":")
    return getattr(importlib.import_module(module_name), function_name)  # type: ignore[no-any-return]
