"""Parameter names of the public FasterViT checkpoints, in ours."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from torch import Tensor

from atlasbench.models.hybrid_names import translate_hybrid_name

# Position terms that the public code stores and computes again in every forward pass.
_RECOMPUTED = re.compile(
    r"levels\.\d\.blocks\.\d+\.((hat_)?pos_embed\.relative_bias"
    r"|(hat_)?attn\.pos_emb_funct\.(relative_coords_table|relative_position_index|relative_bias))"
)
_POOL = re.compile(r"(levels\.\d)\.global_tokenizer\.pos_embed\.")
_POOL_AGAIN = re.compile(r"(levels\.\d\.global_tokenizer)\.to_global_feature\.pos\.(weight|bias)")
_BLOCK = re.compile(r"(levels\.[23]\.blocks\.\d+)\.(.+)")
_PARTS: Mapping[str, str] = {
    "pos_embed.cpb_mlp.": "position.",
    "hat_pos_embed.cpb_mlp.": "carrier_position.",
    "attn.pos_emb_funct.cpb_mlp.": "window_bias.mlp.",
    "hat_attn.pos_emb_funct.cpb_mlp.": "carrier_bias.mlp.",
    "attn.": "windows.mixer.",
    "hat_attn.": "carriers.mixer.",
    "norm1.": "windows.norm1.",
    "norm2.": "windows.norm2.",
    "mlp.": "windows.mlp.",
    "hat_norm1.": "carriers.norm1.",
    "hat_norm2.": "carriers.norm2.",
    "hat_mlp.": "carriers.mlp.",
    "gamma1": "carriers.gamma1",
    "gamma2": "carriers.gamma2",
    "gamma3": "windows.gamma1",
    "gamma4": "windows.gamma2",
}
_POSITION_LAYERS: Mapping[str, str] = {"0.weight": "fc1.weight", "0.bias": "fc1.bias", "2.weight": "fc2.weight"}
_CARRIER_POSITION = re.compile(r"(levels\.\d)\.blocks\.\d+\.carrier_position\.")
_CARRIER_POOL = re.compile(r"(levels\.\d)\.carrier_pool\.")


def translate_fastervit_names(
    state: Mapping[str, Tensor], *, without_positions: Collection[str], without_carriers: Collection[str]
) -> tuple[dict[str, Tensor], list[str]]:
    """Rename what a public checkpoint holds; what this model has under our names comes back as it is.

    Args:
        state: Names and tensors.
        without_positions: Levels (`"levels.2"`) whose carriers have no position: they leave that of a checkpoint from
            another size unused, as the public code does.
        without_carriers: Levels that have carriers at other sizes but not at this model's: the public code makes the
            pool of carriers there too, and uses nothing of it.

    Returns:
        The renamed entries (unknown names are kept, for the caller to refuse) and the names that were left out:
        buffers that are recomputed, what is stored a second time, and what this model does not use.
    """
    ours, ignored = {}, []
    for name, tensor in state.items():
        translated = _translate(name)
        is_unused = _is_in(_CARRIER_POSITION, translated, without_positions) or _is_in(
            _CARRIER_POOL, translated, without_carriers
        )
        if is_unused or _RECOMPUTED.fullmatch(name) or _is_second_copy(name, state):
            ignored.append(name)
        else:
            ours[translated] = tensor
    return ours, ignored


def _is_in(parts: re.Pattern[str], name: str, levels: Collection[str]) -> bool:
    match = parts.match(name)
    return match is not None and match[1] in levels


def _is_second_copy(name: str, state: Mapping[str, Tensor]) -> bool:
    match = _POOL_AGAIN.fullmatch(name)
    return match is not None and f"{match[1]}.pos_embed.{match[2]}" in state


def _translate(name: str) -> str:
    name = _POOL.sub(r"\1.carrier_pool.conv.", translate_hybrid_name(name))
    block = _BLOCK.fullmatch(name)
    if block is None:
        return name
    where, part = block.groups()
    for official, ours in _PARTS.items():
        if part.startswith(official):
            rest = part.removeprefix(official)
            return f"{where}.{ours}{_POSITION_LAYERS.get(rest, rest)}"
    return name
