"""Every backbone by name: where it is built, its paper, its options. Strings only; imports no torch.

To add a backbone: one entry here, one file under `models/`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from atlasbench.core.laws import Law
from atlasbench.core.workload import BLOCK_PREFIX

ATLAS_PAPER = "arXiv:2503.12355"

# What token mixing reaches, and which sizes a model takes, where several entries say the same.
_SCALES = "multi-scale windows"
_CONV = "convolutions"
_WINDOWS = "windows, shifted"
_CARRIERS = "windows, carriers"
_SEGMENTS = "dilated segments"
_IN_WINDOWS = "windows, scanned"
_PAD = "any; padded to whole windows"


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
        claim: How attention is said to grow with the number of tokens; None where nothing is said.
        claims_by_option: What it is said to be instead, for values of an option: (option, value, law).
        memory_claim: How peak memory grows with fused attention, which keeps no scores.
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
    claim: Law | None = None
    claims_by_option: tuple[tuple[str, Any, Law], ...] = ()
    memory_claim: Law = Law.LINEAR


# What scales do not tell each other, or are not there to tell, needs no logarithm: windows alone.
_ATLAS_EXCEPTIONS = (
    ("composition", "conv", Law.LINEAR),
    ("communication", "none", Law.LINEAR),
    ("communication", "bottom_up", Law.LINEAR),
)


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
        mixing=_SCALES,
        sizes="any, from one patch up",
        is_ours=is_ours,
        claim=Law.MULTI_SCALE,
        memory_claim=Law.MULTI_SCALE,  # every window gathers the keys and values of one window of each coarser scale
        claims_by_option=_ATLAS_EXCEPTIONS,
    )


def _timm(timm_name: str, family: str, paper: str, year: int, mixing: str, sizes: str, claim: Law) -> ModelEntry:
    return ModelEntry(
        builder="atlasbench.models.timm_backbones:build_timm_model",
        family=family,
        paper=paper,
        year=year,
        summary=timm_name,
        arguments=MappingProxyType({"timm_name": timm_name}),
        mixing=mixing,
        sizes=sizes,
        claim=claim,
    )


def _short_names(
    prefix: str,
    pattern: str,
    names: Mapping[str, str],
    paper: str,
    year: int,
    mixing: str,
    sizes: str = "any",
    claim: Law = Law.LINEAR,
) -> dict[str, ModelEntry]:
    return {
        f"{prefix}_{short}": _timm(pattern.format(long), prefix, paper, year, mixing, sizes, claim)
        for short, long in names.items()
    }


def _fastervit(summary: str, *, mixing: str = _CARRIERS, **arguments: Any) -> ModelEntry:
    has_carriers = mixing == _CARRIERS
    return ModelEntry(
        builder="atlasbench.models.fastervit:build_fastervit",
        family="fastervit",
        paper="arXiv:2306.06189",
        year=2023,
        summary=summary,
        arguments=MappingProxyType(arguments),
        mixing=mixing,
        sizes=_PAD,
        # Carriers attend to all carriers, a fixed share of the tokens, with a learned bias for each pair.
        claim=Law.QUADRATIC if has_carriers else Law.LINEAR,
        claims_by_option=(("hat", [False, False, False, False], Law.LINEAR),),
        memory_claim=Law.QUADRATIC if has_carriers else Law.LINEAR,
    )


def _fastervits() -> dict[str, ModelEntry]:
    """The published models: width, width of the stem, depths and heads of the four levels, highest drop path."""
    narrow, wide = (2, 4, 8, 16), (4, 8, 16, 32)
    deep = {"layer_scale": 1e-5, "do_propagation": True}  # from model 3 on
    variants: list[tuple[int, int, tuple[int, ...], tuple[int, ...], float, dict[str, Any]]] = [
        (64, 64, (2, 3, 6, 5), narrow, 0.2, {}),
        (80, 32, (1, 3, 8, 5), narrow, 0.2, {}),
        (96, 64, (3, 3, 8, 5), narrow, 0.2, {}),
        (128, 64, (3, 3, 12, 5), narrow, 0.3, deep),
        (196, 64, (3, 3, 12, 5), wide, 0.3, deep),
        (320, 64, (3, 3, 12, 5), wide, 0.3, deep),
        (320, 64, (3, 3, 16, 8), wide, 0.5, deep),
    ]
    entries = {
        f"fastervit_{index}": _fastervit(
            f"{dim} to {8 * dim} channels",
            dim=dim,
            in_dim=in_dim,
            depths=depths,
            num_heads=heads,
            drop_path_rate=rate,
            **others,
        )
        for index, (dim, in_dim, depths, heads, rate, others) in enumerate(variants)
    }
    for side, window in ((224, 14), (384, 24), (512, 32), (768, 48)):
        entries[f"fastervit_4_21k_{side}"] = _fastervit(
            f"windows {window} and {window // 2}",
            mixing="windows",
            dim=196,
            in_dim=64,
            depths=(3, 3, 12, 5),
            num_heads=wide,
            window_size=(7, 7, window, window // 2),
            drop_path_rate=0.42,
            hat=(False, False, False, False),
            **deep,
        )
    return entries


def _mambavision(summary: str, *, mixing: str, **arguments: Any) -> ModelEntry:
    return ModelEntry(
        builder="atlasbench.models.mambavision:build_mambavision",
        family="mambavision",
        paper="arXiv:2407.08083",
        year=2024,
        summary=summary,
        arguments=MappingProxyType(arguments),
        mixing=mixing,
        sizes=_PAD,
        claim=Law.LINEAR,
        claims_by_option=(("global_window", True, Law.QUADRATIC),),
    )


def _mambavisions() -> dict[str, ModelEntry]:
    """The published models, and each with windows as large as its feature maps."""
    narrow, wide = (2, 4, 8, 16), (4, 8, 16, 32)
    large: dict[str, Any] = {"dim": 196, "in_dim": 64, "num_heads": wide, "drop_path_rate": 0.3, "layer_scale": 1e-5}
    huge: dict[str, Any] = {**large, "dim": 256, "depths": (3, 3, 20, 10), "drop_path_rate": 0.5}
    variants: dict[str, dict[str, Any]] = {
        "t": {"dim": 80, "in_dim": 32, "depths": (1, 3, 8, 4)},
        "t2": {"dim": 80, "in_dim": 32, "depths": (1, 3, 11, 4)},
        "s": {"dim": 96, "in_dim": 64, "depths": (3, 3, 7, 5)},
        "b": {"dim": 128, "in_dim": 64, "depths": (3, 3, 10, 5), "drop_path_rate": 0.3, "layer_scale": 1e-5},
        "l": {**large, "depths": (3, 3, 10, 5)},
        "l2": {**large, "depths": (3, 3, 12, 5)},
        "l2_512": {**large, "depths": (3, 3, 12, 5), "window_size": (8, 8, 32, 16)},
        "l3_256": {**huge, "window_size": (8, 8, 16, 8)},
        "l3_512": {**huge, "window_size": (8, 8, 32, 16)},
    }
    entries = {}
    for short, variant in variants.items():
        arguments = {"num_heads": narrow, "drop_path_rate": 0.2, "window_size": (8, 8, 14, 7), **variant}
        windows = "windows {} and {}".format(*arguments["window_size"][2:])
        entries[f"mambavision_{short}"] = _mambavision(windows, mixing=_IN_WINDOWS, **arguments)
    for short, variant in variants.items():
        if "window_size" in variant:
            continue  # the same weights' shapes as another name: the windows were the difference
        arguments = dict(entries[f"mambavision_{short}"].arguments)
        entries[f"mambavision_{short}_global"] = replace(
            _mambavision("windows as large as the map", mixing="global, scanned", **arguments),
            arguments=MappingProxyType({**arguments, "global_window": True}),
            sizes="any",
            is_ours=True,
        )
    return entries


def _longvit(summary: str, *, is_ours: bool = False, num_classes: int = 100, **arguments: Any) -> ModelEntry:
    # No claim: N is published for fixed segments, but each large size is published with longer segments of its own.
    return ModelEntry(
        builder="atlasbench.models.longvit:build_longvit",
        family="longvit",
        paper="arXiv:2312.03558",
        year=2023,
        summary=summary,
        arguments=MappingProxyType(arguments),
        num_classes=num_classes,
        mixing=_SEGMENTS,
        sizes="any; cropped to whole patches",
        is_ours=is_ours,
    )


def _window_vit(summary: str, **arguments: Any) -> ModelEntry:
    return ModelEntry(
        builder="atlasbench.models.window_vit:build_window_vit",
        family="window_vit",
        paper=ATLAS_PAPER,
        year=2025,
        summary=summary,
        arguments=MappingProxyType(arguments),
        num_classes=100,
        mixing="windows",
        sizes=_PAD,
        is_ours=True,
        claim=Law.LINEAR,
    )


def _block(
    kind: str,
    summary: str,
    mixing: str,
    claim: Law = Law.LINEAR,
    memory_claim: Law = Law.LINEAR,
) -> ModelEntry:
    return ModelEntry(
        builder="atlasbench.models.blocks:build_blocks",
        family="blocks",
        paper=ATLAS_PAPER,
        year=2025,
        summary=summary,
        arguments=MappingProxyType({"kind": kind}),
        num_classes=0,
        mixing=mixing,
        sizes="multiples of the patch; a map of tokens, not an image, goes in",
        claim=claim,
        memory_claim=memory_claim,
    )


def _blocks() -> dict[str, ModelEntry]:
    """The token mixers of Table 3 of the Atlas paper, each as a stack of blocks on a map of tokens."""
    entries = (
        _block("msa", "Multi-Scale Attention", _SCALES, Law.MULTI_SCALE, Law.MULTI_SCALE),
        _block("vit", "attention (arXiv:2010.11929)", "global", Law.QUADRATIC),
        _block("window_vit", "attention in windows", "windows"),
        _block("shifted_window", "Swin's (arXiv:2103.14030)", _WINDOWS),
        _block("hierarchical_attention", "FasterViT's (arXiv:2306.06189)", _CARRIERS, Law.QUADRATIC, Law.QUADRATIC),
        _block("dilated_attention", "LongViT's (arXiv:2307.02486)", _SEGMENTS),
        _block("mambavision_mixer", "MambaVision's (arXiv:2407.08083)", "all that follow"),
    )
    return {f"{BLOCK_PREFIX}{entry.arguments['kind']}": entry for entry in entries}


_TSB = {"t": "tiny", "s": "small", "b": "base"}
_VIT_SIZES = {"ti": "tiny", "s": "small", "b": "base", "l": "large"}

MODELS: Mapping[str, ModelEntry] = MappingProxyType(
    {
        "atlas": _atlas("any configuration by --set"),
        "atlas_ti": _atlas("tiny: 192 channels, 3 heads", is_ours=True, embed_dim=192, num_heads=3),
        "atlas_s": _atlas("small: 384 channels, 6 heads", embed_dim=384, num_heads=6),
        "atlas_b": _atlas("base: 768 channels, 12 heads", embed_dim=768, num_heads=12),
        **_short_names(
            "vit", "vit_{}_patch16_224", _VIT_SIZES, "arXiv:2010.11929", 2020, "global", claim=Law.QUADRATIC
        ),
        **_short_names("swin", "swin_{}_patch4_window7_224", _TSB, "arXiv:2103.14030", 2021, _WINDOWS),
        **_short_names("swinv2", "swinv2_{}_window8_256", _TSB, "arXiv:2111.09883", 2021, _WINDOWS),
        **_short_names("convnext", "convnext_{}", _TSB, "arXiv:2201.03545", 2022, _CONV),
        **_short_names(
            "maxvit",
            "maxvit_{}_tf_512",
            _TSB,
            "arXiv:2204.01697",
            2022,
            "windows, grids",
            "multiples of 512",
        ),
        **_short_names("davit", "davit_{}", _TSB, "arXiv:2204.03645", 2022, "windows, channels"),
        **_short_names("gcvit", "gcvit_{}", _TSB, "arXiv:2206.09959", 2022, "windows, global"),
        "window_vit_s": _window_vit("small: 384 channels, 6 heads", embed_dim=384, num_heads=6),
        "window_vit_b": _window_vit("base: 768 channels, 12 heads", embed_dim=768, num_heads=12),
        "fastervit": _fastervit("any configuration by --set"),
        "fastervit_any_res": _fastervit("the same as fastervit"),
        **_fastervits(),
        "mambavision": _mambavision("any configuration by --set", mixing=_IN_WINDOWS),
        **_mambavisions(),
        "longvit": _longvit("any configuration by --set"),
        "longvit_s": _longvit(
            "small: patch 32, 384 channels, 16 heads", num_classes=2, patch_size=32, embed_dim=384, num_heads=16
        ),
        "longvit_b": _longvit(
            "base: patch 16, 768 channels, 12 heads", is_ours=True, patch_size=16, embed_dim=768, num_heads=12
        ),
        **_blocks(),
    }
)


def find_entry(name: str) -> ModelEntry | None:
    """The entry of a built-in name, or None (a timm name, a file, or a mistake)."""
    return MODELS.get(name)


def find_claim(name: str, options: Mapping[str, Any]) -> Law | None:
    """How attention of a model is said to grow with the number of tokens; None where nothing is said."""
    entry = find_entry(name)
    if entry is None:
        return None
    arguments = {**entry.arguments, **options}
    changed = (law for option, value, law in entry.claims_by_option if arguments.get(option) == value)
    return next(changed, entry.claim)


def has_scales(name: str) -> bool:
    """Whether `--drop` applies to this model."""
    entry = find_entry(name)
    return entry is not None and entry.has_scales
