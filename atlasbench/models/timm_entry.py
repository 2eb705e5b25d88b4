"""Enters our names in timm, so that `timm.create_model("atlas_s", img_size=1024)` gives the same model as ours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from timm.models import register_model
from torch import nn

from atlasbench.core.errors import InvalidOptionError
from atlasbench.core.workload import BLOCK_PREFIX
from atlasbench.models.factory import TIMM_BUILDER, create_model
from atlasbench.registry import MODELS

# What timm passes to every model function, and which means nothing without published weights.
_TIMM_ARGUMENTS = ("pretrained_cfg", "pretrained_cfg_overlay", "cache_dir")


def enter_in_timm() -> None:
    """Register every backbone that is built here; those that timm builds itself are there already.

    Blocks stay out: they are no backbones, and timm takes what stands before a colon for a place to download from.
    """
    for name, entry in MODELS.items():
        if entry.builder != TIMM_BUILDER and not name.startswith(BLOCK_PREFIX):
            register_model(_model_function(name))


def _model_function(name: str) -> Callable[..., nn.Module]:
    def function(pretrained: bool = False, **arguments: Any) -> nn.Module:
        if pretrained:
            raise InvalidOptionError(
                f"There are no pretrained weights for {name}: build it, then atlasbench.load_checkpoint(model, path)."
            )
        for argument in _TIMM_ARGUMENTS:
            arguments.pop(argument, None)
        return create_model(name, **arguments)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"{name}: {MODELS[name].summary}."
    return function
