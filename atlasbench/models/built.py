"""What building a backbone gives: the module, and what the record has to say about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltModel:
    """A backbone that is ready to be run at one resolution.

    Attributes:
        model: The module; images (B, 3, H, W) to logits (B, num_classes).
        options: Arguments that differ from the model's defaults, with the resolved name for timm models; JSON values.
        notes: What a reader of the record must know, e.g. that the image is padded.
        input_shape: Channels, height and width of one sample where it is a map of tokens; None for an image.
        unused: Names of options that this model does not use: they are left out of the record.
    """

    model: nn.Module
    options: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    input_shape: tuple[int, int, int] | None = None
    unused: frozenset[str] = frozenset()
