"""Which part of a backbone a module belongs to: stem, projections, mlp, head or other.

Our own models say so themselves (`module.flops_part`). For others the path and the class decide. Attention, the
sixth part, is told by the operator and not by the module: a product of two activations.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import nn

_STEM = re.compile(r"^(stem|patch_embed|conv_stem|conv1|stem_conv|stem_\d|embeddings|patch_embeds?|ppm)$")
_FIRST_CONVOLUTIONS = re.compile(r"^(conv1|bn1|conv_stem|bn1)$")
_HEAD = re.compile(
    r"^(head|head_\w+|fc|classifier|heads|attn_pool|last_linear|logits|global_pool|conv_head|fc_norm)$"
)
_MLP_NAME = re.compile(r"^(mlp\d?|ffn\d?|mlp_\w+|feed_forward|mlp_block)$")
_MLP_CLASS = re.compile(r"(^|[a-z])(Mlp|MLP|FFN|SwiGLU|FeedForward)")
_ATTENTION_NAME = re.compile(r"^(\w*attn\w*|attention|self_attention|token_mixer|mixer|xca|mha)$")
_ATTENTION_CLASS = re.compile(r"Attention|Attn|(^|_)MHA")
# Modules inside an attention that are neither its projections nor its scores.
_POSITION = re.compile(r"(cpb_mlp|rel_pos|pos_embed|position|peg|lepe|rpe)")


def classify_modules(model: nn.Module, classifier_names: tuple[str, ...] = ()) -> dict[str, str]:
    """The part of every module, by its path.

    Args:
        model: Any backbone.
        classifier_names: Paths of the classifier, where the model names them (timm's `pretrained_cfg`).

    Returns:
        Path to part; the root is `other`.
    """
    parts = {"": "other"}
    for path, module in model.named_modules():
        if path:
            parts[path] = _part_of(path, module, parts, classifier_names)
    return parts


def _part_of(
    path: str, module: nn.Module, parts: Mapping[str, str], classifier_names: tuple[str, ...]
) -> str:
    own = getattr(module, "flops_part", None)
    if isinstance(own, str):
        return own
    parent, _, name = path.rpartition(".")
    inherited = parts[parent]
    if not parent:
        if path in classifier_names or _HEAD.match(name):
            return "head"
        if _STEM.match(name):
            return "stem"
    if inherited in ("stem", "head"):
        return inherited
    if _POSITION.search(name):
        return "other"
    if _MLP_NAME.match(name) or _MLP_CLASS.search(type(module).__name__):
        return "mlp" if not _POSITION.search(path) else "other"
    if _ATTENTION_CLASS.search(type(module).__name__) or _ATTENTION_NAME.match(name):
        return "projections"
    return inherited
