"""Parameter names of LongViT's public checkpoints, in ours."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

_BACKBONE = re.compile(r"(?:module\.)?backbone\.(.+)")  # a DINO teacher
_DINO_HEAD = re.compile(r"(?:module\.)?head\.")
_LAYER = re.compile(r"(?:encoder\.)?layers\.(\d+)\.(.+)\.(weight|bias)")  # loading may have taken `encoder.` off
_PARTS = {
    "self_attn_layer_norm": "norm1",
    "self_attn.q_proj": "attn.q",
    "self_attn.k_proj": "attn.k",
    "self_attn.v_proj": "attn.v",
    "self_attn.inner_attn_ln": "attn.norm",
    "self_attn.out_proj": "attn.proj",
    "final_layer_norm": "norm2",
    "ffn.fc1": "mlp.fc1",
    "ffn.ffn_layernorm": "mlp.norm",
    "ffn.fc2": "mlp.fc2",
}


def translate_longvit_names(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """Rename what a public checkpoint holds; a state dict with our names comes back as it is.

    A DINO teacher has no classifier: its own head and its last norm, which fine-tuning drops, are left out.

    Returns:
        The renamed entries (unknown names are kept, for the caller to refuse) and the names that were left out.
    """
    is_teacher = any(_BACKBONE.fullmatch(name) for name in state)
    ignored = [name for name in state if is_teacher and _is_dropped(name)]
    dropped = set(ignored)
    return {_translate(name): tensor for name, tensor in state.items() if name not in dropped}, ignored


def _is_dropped(name: str) -> bool:
    return bool(_DINO_HEAD.match(name)) or _inner(name) in ("norm.weight", "norm.bias")


def _translate(name: str) -> str:
    inner = _inner(name)
    if layer := _LAYER.fullmatch(inner):
        index, part, tensor = layer.groups()
        return f"blocks.{index}.{_PARTS.get(part, part)}.{tensor}"
    return inner


def _inner(name: str) -> str:
    backbone = _BACKBONE.fullmatch(name)
    return backbone[1] if backbone else name.removeprefix("model.")
