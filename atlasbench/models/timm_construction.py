"""Constructs timm models: which arguments one takes, and what it means when timm refuses them."""

from __future__ import annotations

import ast
import inspect
import re
import sys
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Any

import timm
import torch
from torch import nn

from atlasbench.core.errors import InvalidOptionError

# What timm's models raise for a size or value they do not take: asserted, or a shape that does not fit later.
MODEL_FAILURES = (
    AssertionError,
    ArithmeticError,
    AttributeError,
    LookupError,
    NotImplementedError,
    RuntimeError,
    TypeError,
    ValueError,
)
# Arguments of timm.create_model that would load weights, change what is measured, or bypass what is checked.
REFUSED_OPTIONS = (
    "pretrained",
    "pretrained_cfg",
    "pretrained_cfg_overlay",
    "pretrained_model_args",
    "checkpoint_path",
    "cache_dir",
    "features_only",
    "model_name",
)
DEFAULT_NUM_CLASSES = 1000  # also where timm's weights have another head, or none
FACTORY_OPTIONS = {"in_chans", "scriptable", "exportable", "no_jit", "pruned"}


def construct(name: str, arguments: Mapping[str, Any]) -> nn.Module:
    """Call timm's constructor on the current default device, with random weights.

    Args:
        name: timm's name, without a tag.
        arguments: Of the constructor, as JSON values; lists become tuples.

    Raises:
        InvalidOptionError: If the model does not take one of them.
        Exception: Whatever timm raises for a value that it does not take.
    """
    tuples = {"num_classes": DEFAULT_NUM_CLASSES}
    tuples |= {key: _as_tuple(value) for key, value in arguments.items()}
    try:
        return _on_current_device(name, tuples)
    except TypeError as error:
        unknown = re.search(r"unexpected keyword argument(?:\(s\))?\W+(\w+)", str(error))
        if unknown:
            raise _not_taken(name, unknown[1]) from error
        doubled = re.search(r"multiple values for (?:keyword )?argument '(\w+)'", str(error))
        if doubled:
            raise InvalidOptionError(f"{name} sets {doubled[1]!r} itself: leave it out.") from error
        raise


def check_options(name: str, options: Mapping[str, Any]) -> None:
    """Refuse what would change what is measured.

    Raises:
        InvalidOptionError: If an option loads weights, takes the model apart or changes the images.
    """
    for option, value in options.items():
        if option in REFUSED_OPTIONS:
            raise InvalidOptionError(f"{option!r} cannot be set: {name} is measured whole, with random weights.")
        if option == "in_chans" and value != 3:
            raise InvalidOptionError(f"{name} is given images of 3 channels, so in_chans cannot be {value!r}.")


def check_effect(name: str, model: nn.Module, options: Mapping[str, Any]) -> None:
    """Refuse what timm would swallow without effect.

    Args:
        name: timm's name, for the message.
        model: The model as timm builds it.
        options: What the user wants to pass.

    Raises:
        InvalidOptionError: If the model does not take an option.
    """
    for option in options:
        if _takes_any_argument(type(model)) and option not in accepted_arguments(model):
            raise _not_taken(name, option)


def accepted_arguments(model: nn.Module) -> frozenset[str]:
    """Names of the arguments that a timm model takes.

    A class that takes any keyword hands them on inside its file, or looks there for the ones it knows: then
    every parameter, field and quoted key of that file counts.
    """
    constructor = type(model)
    names = FACTORY_OPTIONS | set(inspect.signature(constructor).parameters)
    if _takes_any_argument(constructor):
        for cls in constructor.__mro__[: constructor.__mro__.index(nn.Module)]:
            names |= _names_in_file(cls.__module__)
    return frozenset(names)


def _takes_any_argument(constructor: type[nn.Module]) -> bool:
    parameters = inspect.signature(constructor).parameters.values()
    return any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)


@lru_cache(maxsize=32)
def _names_in_file(module: str) -> frozenset[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(inspect.getsource(sys.modules[module]))):
        if isinstance(node, ast.arg):
            names.add(node.arg)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.add(node.target.id)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.isidentifier():
            names.add(node.value)
    return frozenset(names)


def first_line(error: BaseException) -> str:
    """The part of an exception's message that fits into a table."""
    lines = str(error).strip().splitlines()
    if lines:
        return lines[0]
    return "an assertion of timm's fails" if isinstance(error, AssertionError) else type(error).__name__


def _on_current_device(name: str, arguments: Mapping[str, Any]) -> nn.Module:
    create: Callable[..., nn.Module] = partial(timm.create_model, name, pretrained=False, **arguments)
    if torch.get_default_device().type != "meta":
        return create()
    try:
        return create()
    except (NotImplementedError, RuntimeError):
        # Some constructors read values (`.item()`), which a meta tensor does not have.
        with torch.device("cpu"):
            return create().to("meta")


def _as_tuple(value: Any) -> Any:
    return tuple(map(_as_tuple, value)) if isinstance(value, list) else value


def _not_taken(name: str, option: str) -> InvalidOptionError:
    return InvalidOptionError(f"{name} does not take the option {option!r}.")
