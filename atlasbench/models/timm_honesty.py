"""Is a timm model at a new resolution still the same model? Found out by a probe, on the meta device."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import nn

from atlasbench.core.errors import UnsupportedError
from atlasbench.core.resolution import Resolution
from atlasbench.models.timm_construction import MODEL_FAILURES, first_line
from atlasbench.models.timm_families import WINDOW_TOLERANCE, Native
from atlasbench.models.timm_trace import Reader, Trace, trace_forward

WINDOW_ATTRIBUTES = ("window_size", "partition_size", "block_size", "mask_unit_size", "ws")
LEAST_GROWTH = 0.25  # of the growth in pixels that must be seen in the activations


def check_honesty(
    native: Native, model: nn.Module, resolution: Resolution, *, largest_window: int = 0
) -> tuple[str, ...]:
    """Run a model at a resolution, without computing, and compare it with itself at its native resolution.

    Args:
        native: The model as timm builds it, with the user's options but without a size.
        model: The model to check, on the meta device.
        resolution: Size of the images it is meant for.
        largest_window: Side of the largest window that the user asked for by name, in positions.

    Returns:
        What a reader of its numbers must know: padding, grown position tables, dropped borders.

    Raises:
        UnsupportedError: If it resizes the image, lets windows grow with it, ignores pixels, costs the same
            at every size, or does not run.
    """
    windows = _check_windows(native, model, largest_window)
    try:
        trace = trace_forward(model, resolution)
    except MODEL_FAILURES as error:
        reason = f"{native.name} (made for {native.resolution} px) does not run at {resolution} px"
        raise UnsupportedError(f"{reason}: {first_line(error)}") from error
    _check_resizing(native, trace)
    _check_ignored_pixels(native, trace)
    _check_growth(native, trace)
    notes = (
        *windows,
        *_describe_padding(trace),
        *_describe_drops(native.trace, trace),
        *_describe_size(native, model),
    )
    return tuple(notes)


def _check_windows(native: Native, model: nn.Module, largest_window: int) -> list[str]:
    notes: dict[str, None] = {}
    before = dict(_window_sizes(native.model))
    for place, window in _window_sizes(model):
        known = before.get(place, window)
        allowed = [max(side + side // WINDOW_TOLERANCE, largest_window) for side in known]
        if any(side > limit for side, limit in zip(window, allowed, strict=False)):
            raise UnsupportedError(
                f"{native.name} would not stay the same model: its {place[1]} grows from {_by(known)}"
                f" at {native.resolution} px to {_by(window)}, as it follows `img_size`."
            )
        if window != known:
            notes[f"windows of {_by(window)} positions, natively {_by(known)}"] = None
    return list(notes)


def _window_sizes(model: nn.Module) -> Iterator[tuple[tuple[str, str], tuple[int, ...]]]:
    """(module path, attribute) and sides of every window; attention over the whole patch grid has none."""
    grid = _as_sides(getattr(getattr(model, "patch_embed", None), "grid_size", None))
    for path, module in model.named_modules():
        if type(module).__name__.startswith("RelPos"):
            continue  # the size of a bias table: as large as the window, or as the map of a global attention
        for attribute in WINDOW_ATTRIBUTES:
            sides = _as_sides(getattr(module, attribute, None))
            if sides and sides != grid:
                yield (path, attribute), sides


def _as_sides(value: Any) -> tuple[int, ...]:
    if isinstance(value, int):
        return (value, value)
    is_sides = isinstance(value, (tuple, list)) and all(isinstance(side, int) for side in value)
    return tuple(value) if is_sides else ()


def _check_resizing(native: Native, after: Trace) -> None:
    if _distinct(native.trace.resizes) != _distinct(after.resizes):
        raise UnsupportedError(
            f"{native.name} would resample the {after.resolution} px image before it looks at it"
            f" (native size: {native.resolution} px)."
        )


def _distinct(factors: list[tuple[float, float]]) -> set[tuple[float, float]]:
    """Rounded factors, without those that change nothing; within 2 % as sizes are whole pixels."""
    return {(round(down, 2), round(right, 2)) for down, right in factors} - {(1.0, 1.0)}


def _check_ignored_pixels(native: Native, trace: Trace) -> None:
    for reader in trace.image_readers:
        if any(reader.dropped) and reader.is_patch_embedding:
            raise UnsupportedError(
                f"{native.name} ignores the last {_rows_and_columns(reader.dropped)} of a {trace.resolution}"
                f" px image: {_by(reader.kernel)} patches do not fill it; try {_fitting_sizes(reader)} px."
            )
    if trace.crops:
        raise UnsupportedError(
            f"{native.name} would cut {max(trace.crops)} rows or columns off a {trace.resolution} px image."
        )


def _fitting_sizes(reader: Reader) -> str:
    """The next smaller and the next larger image that patches fill."""
    below = [side - drop for side, drop in zip(reader.side, reader.dropped, strict=True)]
    above = [
        side + (step if drop else 0) for side, drop, step in zip(below, reader.dropped, reader.stride, strict=True)
    ]
    return " or ".join(str(Resolution(*sides)) for sides in (below, above))


def _check_growth(native: Native, after: Trace) -> None:
    pixels = after.resolution.pixels / native.resolution.pixels
    work = after.work / max(native.trace.work, 1)
    if pixels > 1 and work - 1 < LEAST_GROWTH * (pixels - 1):
        raise UnsupportedError(
            f"{native.name} does {work:.2f} times the work for {pixels:.1f} times the pixels of its native "
            f"{native.resolution} px: it does not look at all of a {after.resolution} px image."
        )


def _describe_padding(trace: Trace) -> list[str]:
    """Padding up to whole patches; the border that "same" convolutions add to their input is no news."""
    if not all(reader.is_patch_embedding for reader in trace.image_readers):
        return []
    return [f"padded to {height}x{width}" for height, width in dict.fromkeys(trace.padded)]


def _describe_drops(before: Trace, after: Trace) -> list[str]:
    """Borders that maps lose at this size; what they lose at the native size too is the model's way."""
    if any(map(_loses_its_border, before.image_readers + before.map_readers)):
        return []
    losing = [reader for reader in after.image_readers + after.map_readers if _loses_its_border(reader)]
    if not losing:
        return []
    first = losing[0]
    more = f", and {len(losing) - 1} more" if len(losing) > 1 else ""
    return [f"drops the last {_rows_and_columns(first.dropped)} of a {_by(first.side)} map{more}"]


def _loses_its_border(reader: Reader) -> bool:
    # A window smaller than its stride (a 1x1 shortcut) leaves positions out everywhere, at any size.
    return any(d and k >= s for d, k, s in zip(reader.dropped, reader.kernel, reader.stride, strict=True))


def _describe_size(native: Native, model: nn.Module) -> list[str]:
    before, after = (sum(p.numel() for p in m.parameters()) / 1e6 for m in (native.model, model))
    if before == after:
        return []
    sizes = f"{after:.2f} M parameters, {before:.2f} M at {native.resolution} px"
    return [f"learns weights for each position: {sizes}"]


def _rows_and_columns(dropped: tuple[int, int]) -> str:
    counts = [(count, word) for count, word in zip(dropped, ("row", "column"), strict=True) if count]
    return " and ".join(word if count == 1 else f"{count} {word}s" for count, word in counts)


def _by(sides: tuple[int, ...]) -> str:
    return "x".join(map(str, sides))
