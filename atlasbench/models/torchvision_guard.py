"""Lets timm be imported where torchvision's compiled operators do not fit the installed torch."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import torch

_libraries: list[torch.library.Library] = []


def declare_missing_torchvision_operators() -> None:
    """Declare the operators that torchvision describes at import, when its binary could not be loaded.

    timm uses torchvision's Python code only. Yet importing torchvision fails on a CPU-only torch when the wheel
    was built for CUDA, because its Python code describes operators (`nms`) that its binary would have defined.
    With those declared, and never implemented, the import passes and nothing else changes.
    """
    spec = importlib.util.find_spec("torchvision")
    if _libraries or spec is None or not spec.origin:
        return
    try:
        import torchvision  # noqa: F401
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
        source = Path(spec.origin).with_name("_meta_registrations.py").read_text(encoding="utf-8")
        library = torch.library.Library("torchvision", "DEF")
        for name in re.findall(r'register_fake\("torchvision::(\w+)"\)', source):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _libraries.append(library)  # an operator lives as long as the library that declared it
