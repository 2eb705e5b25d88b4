"""Which part of a backbone each product belongs to: stem, projections, attention, mlp, head or other.

Our own models say so themselves (`module.flops_part`). For others the name and the class of a module decide, and what
it multiplied: a module is an attention if it is called one and multiplies activations, or has queries, keys and
values. `docs/measurement.md` says what each part means.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

from torch import nn

from atlasbench.measure.flops import Place, Product

# Stem and head are told by name at the top of a model, or inside what only wraps one (`encoder.patch_embed`).
_WRAPPER = r"(model|module|net|backbone|trunk|body|encoder|visual|vision_model|image_encoder|features)"
_TOP = re.compile(rf"({_WRAPPER}(\.{_WRAPPER})*)?$")
_STEM = re.compile(r"(stem\w*|conv_stem|conv1|bn1|maxpool|patch_embed(ding)?1?|embeddings|embeds|pixel_embed)$")
_FIRST_OF_LIST = re.compile(r"(^|\.)(patch_embeds|downsample_layers)\.0$")  # the others merge patches
_HEAD = re.compile(
    r"(head\w*|\w+_head|fc|fc_norm|classif\w*|pre_classifier|pre_logits|last_linear|logits|attn_pool|global_pool"
    r"|conv_head)$"
)
_POSITION = re.compile(r"((\w+_)?(pos(_\w+)?|position\w*|cpb_mlp|meta_mlp)|rotary\w*|rope|c?rpe|cpe|lepe|peg)\d?$")
_MLP = re.compile(r"(mlp\d?|mlp_\w+|ffn\d?|ffn_\w+|feed_?forward|ff|channel_mixer|intermediate|linear[12])$")
_MLP_CLASS = re.compile(r"(^|[a-z])(Mlp|MLP|FFN|SwiGLU|FeedForward)(?!\w*(Block|Layer|Stage|Mixer)$)")
_POINTWISE = re.compile(r"pwconv\d?$")  # ConvNeXt's feed-forward pair, unless it is part of a mixer
_ATTENTION = re.compile(r"(\w*attn\w*|attention|self_attention|token_mixer|\w*mh[cs]?a|xca)\d?$")
_ATTENTION_CLASS = re.compile(r"(Attention|Attn|MHS?A)(?!\w*(Block|Layer|Stage|Pool)$)")
_QUERIES_KEYS_VALUES = re.compile(
    r"(to_|w_?|linear_|c_)?(q|k|v|qk|kv|qkvs?|query|key|value|queries|keys|values)(_(proj|linear|weight))?$"
    r"|in_proj_weight$|c_attn$"
)


class _Region(Enum):
    """What a module is part of: the part of an ordinary layer there, and a number that tells equal parts apart."""

    BODY = ("other", 0)
    STEM = ("stem", 1)
    HEAD = ("head", 2)
    APART = ("other", 3)  # position MLPs and what a model of ours calls other
    ATTENTION = ("projections", 4)
    POSITION_IN_ATTENTION = ("other", 5)
    MLP = ("mlp", 6)

    @property
    def part(self) -> str:
        """Part of a layer in this region."""
        return self.value[0]


_DECLARED = {
    "stem": _Region.STEM,
    "head": _Region.HEAD,
    "projections": _Region.ATTENTION,
    "mlp": _Region.MLP,
    "other": _Region.APART,
}
_KEEPS_ITS_CHILDREN = (_Region.STEM, _Region.HEAD, _Region.APART, _Region.POSITION_IN_ATTENTION, _Region.MLP)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The parts of one model.

    Attributes:
        of_module: Part of each module's own parameters and ordinary layers, by path.
        stems: Paths of what the model itself names as its stem; empty if it names none.
    """

    of_module: Mapping[str, str]
    stems: frozenset[str]
    _regions: Mapping[str, _Region]
    _attentions: frozenset[str]

    def of_place(self, place: Place) -> str:
        """Part of the products computed at one place. Stem and head keep all of theirs."""
        region, part = self._regions[place.path], self.of_module[place.path]
        if part in ("stem", "head"):
            return part
        if place.product is Product.SCORES:
            return "attention"
        if place.path in self._attentions:
            # What an attention multiplies itself: queries and a table of positions, or tables alone.
            return {Product.DERIVED: "attention", Product.CONSTANT: "other"}.get(place.product, part)
        if region is _Region.POSITION_IN_ATTENTION and place.product in (Product.LAYER, Product.DERIVED):
            return "attention"  # queries and offsets: a term of the scores
        return part


def find_parts(
    model: nn.Module, places: Iterable[Place], classifier_names: tuple[str, ...] = (), *, reads_image: bool = True
) -> Parts:
    """Sort a model's modules into parts.

    Args:
        model: Any backbone.
        places: Where it computed, in order.
        classifier_names: Top-level names of the classifier, where the model says them (timm's `pretrained_cfg`).
        reads_image: Whether there is a stem at all; a stack of blocks gets a map of tokens.
    """
    places = list(places)
    attending = {place.path for place in places if place.product is Product.SCORES}
    regions = {"": _Region.BODY}
    attentions = set()
    for path, module in model.named_modules():
        if path:
            is_attention = _is_attention(path, module, attending)
            regions[path] = _region_of(path, module, regions, classifier_names, is_attention=is_attention)
            if is_attention:
                attentions.add(path)
    of_module = {path: region.part for path, region in regions.items()}
    stems = frozenset(path for path, region in regions.items() if region is _Region.STEM)
    if reads_image and not stems and places:
        first = places[0].path  # the layer that reads the image, where nothing is called a stem
        if _is_layer(model, first) and of_module[first] == "other":
            of_module[first] = "stem"
    return Parts(of_module=of_module, stems=stems, _regions=regions, _attentions=frozenset(attentions))


def _region_of(
    path: str,
    module: nn.Module,
    regions: Mapping[str, _Region],
    classifier_names: tuple[str, ...],
    *,
    is_attention: bool,
) -> _Region:
    parent, _, name = path.rpartition(".")
    around = regions[parent]
    declared = getattr(module, "flops_part", None)
    if isinstance(declared, str):
        return _DECLARED[declared]
    if around in _KEEPS_ITS_CHILDREN:
        return around
    if around is _Region.BODY and _TOP.match(parent):
        if path in classifier_names or _HEAD.match(name):
            return _Region.HEAD
        if _STEM.match(name):
            return _Region.STEM
    if _FIRST_OF_LIST.search(path):
        return _Region.STEM
    if _POSITION.match(name):
        return _Region.POSITION_IN_ATTENTION if around is _Region.ATTENTION else _Region.APART
    if _MLP.match(name) or _MLP_CLASS.search(type(module).__name__):
        return _Region.MLP
    if _POINTWISE.match(name) and around is _Region.BODY and "mixer" not in parent.rpartition(".")[2]:
        return _Region.MLP
    return _Region.ATTENTION if is_attention else around


def _is_attention(path: str, module: nn.Module, attending: set[str]) -> bool:
    children = [name for name, _ in module.named_children()] + [
        name for name, _ in module.named_parameters(recurse=False)
    ]
    if any(_QUERIES_KEYS_VALUES.match(name) for name in children):
        return True
    is_called_one = _ATTENTION.match(path.rpartition(".")[2]) or _ATTENTION_CLASS.search(type(module).__name__)
    return bool(is_called_one) and any(f"{other}.".startswith(f"{path}.") for other in attending)


def _is_layer(model: nn.Module, path: str) -> bool:
    return bool(path) and not any(True for _ in model.get_submodule(path).children())
