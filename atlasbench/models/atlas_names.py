"""Parameter names of the public Atlas checkpoints, in ours."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

_OFFICIAL = "atlas_models."
# Parts that the public code creates in every stage and never runs.
_UNUSED = re.compile(r"atlas_models\.\d+\.(norm|head)\.")

_READ_OUT = {"readout_norm.": "norm.", "fc_norm.": "fc_norm.", "fc.": "head."}
_STEM = {
    "conv0.0": "conv1",
    "conv0.1": "norm1",
    "conv0.3": "conv2",
    "conv0.4": "norm2",
    "ds1": "down1",
    "ds2": "down2",
}
_STEM_RESIDUAL = re.compile(r"conv([12])\.(\d)\.conv_block([12])\.([01])\.")
_BLOCK = re.compile(r"atlas_models\.(\d+)\.levels\.0\.blocks\.(\d+)\.(blocks|posemb)\.(\d+)\.(.+)")
_SCALE = {
    "norm1_q": "norm_q",
    "norm1_kv": "norm_kv",
    "norm2": "norm_mlp",
    "attn.q": "q",
    "attn.kv": "kv",
    "attn.proj": "proj",
    "mlp.fc1": "mlp.fc1",
    "mlp.fc2": "mlp.fc2",
    "projector.0": "position.fc1",
    "projector.2": "position.fc2",
}


def translate_atlas_names(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """Rename what a public checkpoint holds; a state dict with our names comes back as it is.

    Returns:
        The renamed entries (unknown names are kept, for the caller to refuse) and the official names that were left
        out, because nothing uses them.
    """
    if not any(name.startswith(_OFFICIAL) for name in state):
        return dict(state), []
    ignored = [name for name in state if _UNUSED.match(name)]
    ours = {_translate(name): tensor for name, tensor in state.items() if not _UNUSED.match(name)}
    return ours, ignored


def _translate(name: str) -> str:
    if block := _BLOCK.fullmatch(name):
        stage, index, _, scale, rest = block.groups()
        part, _, tensor = rest.rpartition(".")
        return f"stages.{stage}.blocks.{index}.scales.{scale}.{_SCALE.get(part, part)}.{tensor}"
    stem = name.removeprefix("atlas_models.0.patch_embed.")
    if stem != name:
        return f"stem.{_translate_stem(stem)}"
    for official, ours in _READ_OUT.items():
        if name.startswith(official):
            return ours + name.removeprefix(official)
    return name


def _translate_stem(name: str) -> str:
    if residual := _STEM_RESIDUAL.match(name):
        stage, index, half, kind = residual.groups()
        layer = ("conv", "norm")[int(kind)] + half
        return f"residual{stage}.{index}.{layer}.{name[residual.end() :]}"
    for official, ours in _STEM.items():
        if name.startswith(f"{official}."):
            return ours + name.removeprefix(official)
    return name
