"""Profile and compare vision backbones for very large images."""

from __future__ import annotations

import importlib
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from atlasbench.api import load_results, profile
    from atlasbench.models.checkpoints import load_checkpoint
    from atlasbench.models.factory import create_model

try:
    __version__ = version("atlasbench")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0.0.0"

__all__ = ["__version__", "create_model", "load_checkpoint", "load_results", "profile"]

# Resolved on first use, so that `import atlasbench` imports no torch.
_HOME = {
    "create_model": "atlasbench.models.factory",
    "load_checkpoint": "atlasbench.models.checkpoints",
    "load_results": "atlasbench.api",
    "profile": "atlasbench.api",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'atlasbench' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
