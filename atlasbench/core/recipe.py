"""What a sweep is asked for: a grid of workloads, and the recipe that names one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from atlasbench.core.errors import InvalidOptionError, InvalidWorkloadError
from atlasbench.core.protocol import QUICK, Protocol
from atlasbench.core.protocol_settings import change_protocol
from atlasbench.core.resolution import Resolution
from atlasbench.core.workload import AttentionBackend, Dtype, MemoryFormat, Mode


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelChoice:
    """A model of a sweep, with what it does not share with the others.

    Attributes:
        name: As typed, e.g. `atlas_s`.
        label: What tables call it; empty for its name.
        options: Arguments of this model alone; they win over those of all models.
        scale_drops: Scale drops of this model alone; empty for those of all models.
    """

    name: str
    label: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    scale_drops: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepRequest:
    """A grid of workloads: every combination of the lists is one.

    Attributes:
        models: Names as typed, or choices that have options of their own.
        resolutions: Input sizes.
        batch_sizes: Images per step.
        scale_drops: For models with scales; empty for their default. Each is used where it fits.
        modes: Inference, training, or both.
        dtypes: Arithmetic; `auto` is resolved by the device.
        device: `auto` until it is resolved, then `cpu`, `cuda:0` or `meta`.
        compiled: Whether to compile.
        memory_format: Layout of 4-dimensional tensors.
        attention_backend: Which scaled-dot-product kernel may run.
        options: Arguments of every model that differ from its defaults.
    """

    models: Sequence[ModelChoice | str]
    resolutions: Sequence[Resolution]
    batch_sizes: Sequence[int] = (1,)
    scale_drops: Sequence[str] = ()
    modes: Sequence[Mode] = (Mode.INFER,)
    dtypes: Sequence[Dtype] = (Dtype.AUTO,)
    device: str = "cpu"
    compiled: bool = False
    memory_format: MemoryFormat = MemoryFormat.CONTIGUOUS
    attention_backend: AttentionBackend = AttentionBackend.AUTO
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def choices(self) -> list[ModelChoice]:
        """Every model with all of its options and scale drops, those that it shares included."""
        choices = [ModelChoice(name=model) if isinstance(model, str) else model for model in self.models]
        return [
            ModelChoice(
                name=choice.name,
                label=choice.label,
                options={**self.options, **choice.options},
                scale_drops=choice.scale_drops or self.scale_drops,
            )
            for choice in choices
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """A sweep that has a name.

    Attributes:
        name: What it is called.
        title: One line above its table.
        request: What to measure.
        quick: Whether to take a fifth of the time, with wider intervals.
        timing: Constants of the protocol that are changed, by name.
    """

    name: str
    title: str = ""
    request: SweepRequest
    quick: bool = False
    timing: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for key in ("models", "resolutions", "batch_sizes", "modes", "dtypes"):
            if not getattr(self.request, key):
                raise InvalidWorkloadError(f"{key}: a recipe needs at least one.")
        try:
            change_protocol(QUICK if self.quick else Protocol(), self.timing)
        except InvalidOptionError as error:
            raise InvalidOptionError(f"timing: {error}") from None
