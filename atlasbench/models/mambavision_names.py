"""Parameter names of the public MambaVision checkpoints, in ours."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from atlasbench.models.hybrid_names import translate_hybrid_name

_LAYER_SCALE = re.compile(r"\.gamma_([12])$")


def translate_mambavision_names(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """Rename what a public checkpoint holds; a state dict with our names comes back as it is.

    Returns:
        The renamed entries (unknown names are kept, for the caller to refuse), and no name: all of them are used.
    """
    return {_LAYER_SCALE.sub(r".gamma\1", translate_hybrid_name(name)): tensor for name, tensor in state.items()}, []
