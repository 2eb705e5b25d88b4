"""The honest call of each timm family: what to pass so that a new resolution leaves the model the same.

timm often takes a resolution and builds another model for it: with `img_size` the windows of Swin and MaxViT
grow with the image, position tables gain parameters, patches that do not fill the image drop its border.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from torch import nn

from atlasbench.core.errors import UnsupportedError
from atlasbench.core.resolution import Resolution
from atlasbench.models.timm_construction import accepted_arguments
from atlasbench.models.timm_trace import Trace

Arguments = Mapping[str, Any]
WINDOW_TOLERANCE = 7  # a window may differ by a seventh of its side: 7 -> 8 is what rounding to a grid costs


@dataclass(frozen=True, slots=True, kw_only=True)
class Native:
    """A model as timm builds it by default.

    Attributes:
        name: timm's name, for messages.
        resolution: Size that it was made for.
        model: On the meta device.
        trace: What it does at that size.
    """

    name: str
    resolution: Resolution
    model: nn.Module
    trace: Trace


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """How the models of some of timm's files are asked for a resolution.

    Attributes:
        modules: timm's files, without the package.
        arguments: What is passed; or a function that works it out from the native model.
    """

    modules: tuple[str, ...]
    arguments: Arguments | Callable[[Native, Resolution], Arguments]


def _at_the_size(native: Native, resolution: Resolution) -> Arguments:
    """Built for the size: what it learns per position grows, which the record's notes say."""
    return {"img_size": [resolution.height, resolution.width]}


def _at_a_multiple_of_the_native_size(native: Native, resolution: Resolution) -> Arguments:
    """CrossViT resamples the image for a second branch: at multiples alone do both get whole patches."""
    unit = native.resolution.height
    if resolution.height % unit or resolution.width % unit:
        raise _needs_multiples(native, resolution, unit)
    return _at_the_size(native, resolution)


def _maxxvit(native: Native, resolution: Resolution) -> Arguments:
    """MaxViT's windows are `img_size / 32`: name the `img_size` that keeps them, whatever image follows."""
    windows = _window_sides(native.model, "partition_size")
    if not windows:  # CoAtNet: attention over the whole map, with a bias for each offset
        return _at_the_size(native, resolution)
    window, stride = windows[0], native.resolution.height // windows[0]
    fitting = [_fitting_windows(window, side, stride) for side in (resolution.height, resolution.width)]
    if not all(fitting):
        raise _needs_multiples(native, resolution, window * stride)
    sides = [choices[0] for choices in fitting]
    return {} if sides == [window, window] else {"img_size": [side * stride for side in sides]}


def _gcvit(native: Native, resolution: Resolution) -> Arguments:
    """GC ViT's windows are a fraction of `img_size`: name them, as near the native ones as its maps allow.

    A map is halved until it is as large as a window, for the queries that all windows share: so the windows
    along a side are a power of two, the same for both sides.
    """
    windows: list[int | list[int]] = []
    for index, stage in enumerate(native.model.get_submodule("stages").children()):
        window, stride = _window_sides(stage, "window_size")[0], 4 << index
        fitting = [
            {side // stride // size: size for size in _fitting_windows(window, side, stride)}
            for side in (resolution.height, resolution.width)
        ]
        halvings = [count for count in fitting[0] if count in fitting[1] and count.bit_count() == 1]
        if not halvings:
            raise UnsupportedError(
                f"{native.name} does not fit {resolution} px: both sides must be {native.resolution.height} px, or"
                f" a seventh more or less, times the same power of two; try 768, 1024, 1536 or 2048 px."
            )
        height, width = (sizes[halvings[0]] for sizes in fitting)
        windows.append(height if height == width else [height, width])
    return {**_at_the_size(native, resolution), "window_size": windows}


FAMILIES: tuple[Family, ...] = (
    # Position tables are resampled in the forward pass and the last patches are filled with zeros.
    Family(
        modules=("vision_transformer", "deit", "vision_transformer_hybrid", "eva", "vitamin"),
        arguments=MappingProxyType({"dynamic_img_size": True, "dynamic_img_pad": True}),
    ),
    Family(modules=("naflexvit", "deepseek_vit"), arguments=MappingProxyType({"dynamic_img_pad": True})),
    # Windows stay as they are, the map is padded to whole windows.
    Family(
        modules=("swin_transformer", "swin_transformer_v2", "swin_transformer_v2_cr"),
        arguments=MappingProxyType({"strict_img_size": False}),
    ),
    Family(modules=("maxxvit",), arguments=_maxxvit),
    Family(modules=("gcvit",), arguments=_gcvit),
    # Only built for a size: tables, or blocks whose number is fixed, follow it.
    Family(modules=("volo", "hiera", "beit", "vision_transformer_relpos"), arguments=_at_the_size),
    Family(modules=("nest",), arguments=_at_the_size),
    Family(modules=("crossvit",), arguments=_at_a_multiple_of_the_native_size),
)


def honest_calls(module: str, native: Callable[[], Native], resolution: Resolution) -> Iterator[Arguments]:
    """The arguments to try, the first that proves honest is the one to use.

    Args:
        module: timm's file of the model, e.g. `swin_transformer`.
        native: Gives the model as timm builds it.
        resolution: Size of the images.

    Raises:
        UnsupportedError: If the family's rule already says that the size does not fit.
    """
    for family in FAMILIES:
        if module in family.modules:
            arguments = family.arguments
            yield arguments(native(), resolution) if callable(arguments) else arguments
            return
    yield {}
    accepted = accepted_arguments(native().model)
    for arguments in (
        {"dynamic_img_size": True, "dynamic_img_pad": True},
        {"dynamic_img_size": True},
        {"strict_img_size": False},
        {"img_size": [resolution.height, resolution.width]},
    ):
        if set(arguments) <= accepted:
            yield arguments


def _window_sides(model: nn.Module, attribute: str) -> list[int]:
    """The height of each window, of the modules that have one."""
    windows: list[Any] = [getattr(module, attribute, None) for module in model.modules()]
    return [window[0] for window in windows if window is not None]


def _fitting_windows(window: int, side: int, stride: int) -> list[int]:
    """Windows that divide a map of `side / stride` positions and are near enough to `window`, nearest first."""
    positions, rest = divmod(side, stride)
    slack = window // WINDOW_TOLERANCE
    near = sorted(range(window - slack, window + slack + 1), key=lambda size: (abs(size - window), -size))
    return [size for size in near if not rest and positions % size == 0]


def _needs_multiples(native: Native, resolution: Resolution, unit: int) -> UnsupportedError:
    below = [max(side // unit, 1) * unit for side in (resolution.height, resolution.width)]
    sizes = " or ".join(str(Resolution(*(side + more for side in below))) for more in (0, unit))
    reason = f"{native.name} does not fit {resolution} px, only multiples of {unit} px"
    return UnsupportedError(f"{reason}; try {sizes} px.")
