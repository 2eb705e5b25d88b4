"""Official names of what FasterViT and MambaVision share: the stem and the steps between levels, in ours."""

from __future__ import annotations

import re
from collections.abc import Mapping

_PARTS: Mapping[str, str] = {
    "patch_embed.conv_down.0.": "patch_embed.conv1.",
    "patch_embed.conv_down.1.": "patch_embed.norm1.",
    "patch_embed.conv_down.3.": "patch_embed.conv2.",
    "patch_embed.conv_down.4.": "patch_embed.norm2.",
}
_REDUCTION = re.compile(r"(levels\.\d\.downsample)\.reduction\.0\.")


def translate_hybrid_name(name: str) -> str:
    """One official name in ours; ours, and names of other parts, come back as they are."""
    for official, ours in _PARTS.items():
        if name.startswith(official):
            return ours + name.removeprefix(official)
    return _REDUCTION.sub(r"\1.conv.", name)
