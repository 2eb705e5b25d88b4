"""The workload: one thing to measure, and nothing about what was found."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from atlasbench.core.compat import StrEnum
from atlasbench.core.errors import InvalidWorkloadError
from atlasbench.core.resolution import Resolution

SOURCE_OPTION = "source_sha256"  # in the options of a user's own model: which version of the file it was
_IMPLIED = frozenset({SOURCE_OPTION, "timm_name", "img_size", "dynamic_img_size", "dynamic_img_pad", "strict_img_size"})
BLOCK_PREFIX = "block:"  # a stack of blocks on a map of tokens, in place of a whole backbone


class Mode(StrEnum):
    """What one step is."""

    INFER = "infer"  # forward pass, no gradients
    TRAIN = "train"  # forward, loss, backward, optimizer step


class Dtype(StrEnum):
    """Arithmetic of a step. `bfloat16` and `float16` are autocast over float32 weights; `pure-*` casts the weights."""

    AUTO = "auto"  # bfloat16 on a GPU, float32 elsewhere; never in a record
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"
    PURE_BFLOAT16 = "pure-bfloat16"
    PURE_FLOAT16 = "pure-float16"

    @property
    def is_autocast(self) -> bool:
        """Whether weights stay in float32 and operators are cast one by one."""
        return self in (Dtype.BFLOAT16, Dtype.FLOAT16)

    @property
    def torch_name(self) -> str:
        """Name of the torch dtype that the arithmetic runs in."""
        return self.value.removeprefix("pure-")


class MemoryFormat(StrEnum):
    """Layout of 4-dimensional tensors."""

    CONTIGUOUS = "contiguous"
    CHANNELS_LAST = "channels_last"


class AttentionBackend(StrEnum):
    """Which scaled-dot-product kernel may run; `auto` leaves the choice to torch."""

    AUTO = "auto"
    MATH = "math"
    FLASH = "flash"
    EFFICIENT = "efficient"
    CUDNN = "cudnn"


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """One thing to measure: everything needed to measure it again, and nothing else.

    Attributes:
        model: Name as typed, e.g. `atlas_s`, a timm name, or `path/to/file.py:build_model`.
        resolution: Input height and width, in pixels.
        options: Arguments of `create_model` that differ from the model's defaults; JSON values.
        scale_drop: Blocks per stage, e.g. `2-10`, or `none`; empty for models without scales.
        batch_size: Images per step.
        mode: Inference or a training step.
        dtype: Arithmetic; never `auto` once resolved.
        device: `cpu`, `cuda:0`, or `meta` (counting alone).
        compiled: Whether the model runs under `torch.compile`.
        memory_format: Layout of 4-dimensional tensors.
        attention_backend: Which scaled-dot-product kernel may run.
    """

    model: str
    resolution: Resolution
    options: Mapping[str, Any] = field(default_factory=dict)
    scale_drop: str = ""
    batch_size: int = 1
    mode: Mode = Mode.INFER
    dtype: Dtype = Dtype.FLOAT32
    device: str = "cpu"
    compiled: bool = False
    memory_format: MemoryFormat = MemoryFormat.CONTIGUOUS
    attention_backend: AttentionBackend = AttentionBackend.AUTO

    def __post_init__(self) -> None:
        if not self.model:
            raise InvalidWorkloadError("A workload needs a model name. See `atlasbench models`.")
        if isinstance(self.batch_size, bool) or not isinstance(self.batch_size, int) or self.batch_size < 1:
            raise InvalidWorkloadError(f"A batch size is a whole number of at least 1, got {self.batch_size!r}.")

    @property
    def device_type(self) -> str:
        """`cpu`, `cuda` or `meta`."""
        return self.device.partition(":")[0]

    @property
    def options_json(self) -> str:
        """Options as canonical JSON: sorted keys, no spaces."""
        return canonical_json(self.options)

    @property
    def settings(self) -> tuple[str, ...]:
        """Options as `KEY=VALUE`, without those that follow from the model's name or file and the resolution."""
        return tuple(f"{key}={canonical_json(value)}" for key, value in self.options.items() if key not in _IMPLIED)

    @property
    def label(self) -> str:
        """What tells this workload from its neighbours, in words for a progress line."""
        parts = [self.model, f"{self.resolution} px", f"batch {self.batch_size}"]
        if self.scale_drop:
            parts.insert(1, f"D {self.scale_drop}")
        return ", ".join([*parts, self.mode.value, self.dtype.value])


def is_file(model: str) -> bool:
    """Whether a model is a function in the user's own file: `path/to/file.py:build_model`."""
    return ":" in model and not model.startswith(BLOCK_PREFIX)


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces, so that equal values are equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
