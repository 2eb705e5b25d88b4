"""Every backbone by name: where it is built, its paper, its options. Strings only; imports no torch.

To add a backbone: one entry here, one file under `models/`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

ATLAS_PAPER = "arXiv:2503.12355"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelEntry:
    """How a backbone is built, and what a reader wants to know before choosing it.

    Attributes:
        builder: `package.module:function`, called with `resolution=` and the arguments; gives a `BuiltModel`.
        family: Architecture the entry belongs to.
        paper: Where it was published.
        year: Of that publication.
        summary: One line for `atlasbench models`.
        arguments: What the builder is called with; a user's options override them.
        num_classes: Default number of classes.
        has_scales: Whether `--drop` applies.
        mixing: What its token mixing reaches.
        sizes: Which resolutions it takes.
        is_ours: Whether the configuration is ours and not the paper's.
    """

    builder: str
    family: str
    paper: str
    year: int
    summary: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    num_classes: int = 1000
    has_scales: bool = False
    mixing: str = "global"
    sizes: str = "any"
    is_ours: bool = False


def _atlas(summary: str, *, is_ours: bool = False, **arguments: Any) -> ModelEntry:
    return ModelEntry(
        builder="atlasbench.models.atlas:build_atlas",
        family="atlas",
        paper=ATLAS_PAPER,
        year=2025,
        summary=summary,
        arguments=MappingProxyType(arguments),
        num_classes=100,
        has_scales=True,
        mixing="windows at every scale",
        sizes="any from one patch up",
        is_ours=is_ours,
    )


def _timm(timm_name: str, family: str, paper: str, year: int, mixing: str, sizes: str = "any") -> ModelEntry:
    return ModelEntry(
        builder="atlasbench.models.timm_backbones:build_timm_model",
        family=family,
        paper=paper,
        year=year,
        summary=f"timm's {timm_name}",
        arguments=MappingProxyType({"timm_name": timm_name}),
        mixing=mixing,
        sizes=sizes,
    )


def _short_names(
    prefix: str,
    pattern: str,
    names: Mapping[str, str],
    paper: str,
    year: int,
    mixing: str,
    sizes: str = "any",
) -> dict[str, ModelEntry]:
    return {
        f"{prefix}_{short}": _timm(pattern.format(long), prefix, paper, year, mixing, sizes)
        for short, long in names.items()
    }


_TSB = {"t": "tiny", "s": "small", "b": "base"}
_VIT_SIZES = {"ti": "tiny", "s": "small", "b": "base", "l": "large"}
_CONV = "convolutions"
_WINDOWS = "windows, shifted"

MODELS: Mapping[str, ModelEntry] = MappingProxyType(
    {
        "atlas": _atlas("Multi-Scale Attention; any configuration by --set"),
        "atlas_ti": _atlas("tiny: 192 channels, 3 heads", is_ours=True, embed_dim=192, num_heads=3),
        "atlas_s": _atlas("small: 384 channels, 6 heads", embed_dim=384, num_heads=6),
        "atlas_b": _atlas("base: 768 channels, 12 heads", embed_dim=768, num_heads=12),
        **_short_names("vit", "vit_{}_patch16_224", _VIT_SIZES, "arXiv:2010.11929", 2020, "global"),
        **_short_names("swin", "swin_{}_patch4_window7_224", _TSB, "arXiv:2103.14030", 2021, _WINDOWS),
        **_short_names("swinv2", "swinv2_{}_window8_256", _TSB, "arXiv:2111.09883", 2021, _WINDOWS),
        **_short_names("convnext", "convnext_{}", _TSB, "arXiv:2201.03545", 2022, _CONV),
        **_short_names(
            "maxvit",
            "maxvit_{}_tf_512",
            _TSB,
            "arXiv:2204.01697",
            2022,
            "windows and grids",
            "multiples of 512",
        ),
        **_short_names("davit", "davit_{}", _TSB, "arXiv:2204.03645", 2022, "windows and channels"),
        **_short_names("gcvit", "gcvit_{}", _TSB, "arXiv:2206.09959", 2022, "windows, global queries"),
    }
)


def find_entry(name: str) -> ModelEntry | None:
    """The entry of a built-in name, or None (a timm name, a file, or a mistake)."""
    return MODELS.get(name)


def has_scales(name: str) -> bool:
    """Whether `--drop` applies to this model."""
    entry = find_entry(name)
    return entry is not None and entry.has_scales
