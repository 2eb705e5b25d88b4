"""What a sweep is asked for: a grid of workloads, and the recipe that holds one."""

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
    """A sweep, and how to run and show it.

    Attributes:
        title: One line above its table; empty for none.
        request: What to measure.
        quick: Whether to take a fifth of the time, with wider intervals.
        timing: Constants of the protocol that are changed, by name.
        baseline: Label or name of the model that all others take turns with (`turns = true`); empty for none.
    """

    title: str = ""
    request: SweepRequest
    quick: bool = False
    timing: Mapping[str, float] = field(default_factory=dict)
    baseline: str = ""

    def __post_init__(self) -> None:
        for key in ("models", "resolutions", "batch_sizes", "modes", "dtypes"):
            if not getattr(self.request, key):
                raise InvalidWorkloadError(f"{key}: a recipe needs at least one.")
        try:
            change_protocol(QUICK if self.quick else Protocol(), self.timing)
        except InvalidOptionError as error:
            raise InvalidOptionError(f"timing: {error}") from None
        if self.baseline:
            find_choice(self.request, self.baseline)


def find_choice(request: SweepRequest, baseline: str) -> ModelChoice:
    """The model of a request that the others are compared with, without what it shares with them.

    Args:
        request: What to measure.
        baseline: Its label, or its name.

    Raises:
        InvalidWorkloadError: If there is no such model, or several.
    """
    choices = [ModelChoice(name=model) if isinstance(model, str) else model for model in request.models]
    found = [choice for choice in choices if choice.label == baseline]
    found = found or [choice for choice in choices if choice.name == baseline]
    if len(found) == 1:
        return found[0]
    if found:
        raise InvalidWorkloadError(f"baseline: {len(found)} models are called {baseline!r}: give the one a label.")
    known = ", ".join(choice.label or choice.name for choice in choices)
    raise InvalidWorkloadError(f"baseline: {baseline!r} is none of the models. There are: {known}.")
