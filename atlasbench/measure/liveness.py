"""Which tensors are alive, in bytes, while a model runs without data: the predicted peak."""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from torch import Tensor


class Origin(IntEnum):
    """What a tensor is made of; a larger one wins where two meet."""

    WEIGHT = 0  # a parameter, a buffer, a literal, or a copy of one of them
    DERIVED = 1  # computed from such alone
    ACTIVATION = 2  # computed from the image


@dataclass(slots=True)
class _LiveStorage:
    reference: weakref.ref[Any]
    bytes: int
    origin: Origin


class LiveStorages:
    """Storages that some tensor still refers to, and the largest sum of their bytes so far.

    Views share a storage and count once. A storage goes when the last tensor on it goes, whether Python or autograd
    held it.
    """

    def __init__(self) -> None:
        self._live: dict[int, _LiveStorage] = {}
        self.current_bytes = 0
        self.peak_bytes = 0

    def add(self, tensor: Tensor, origin: Origin) -> None:
        """Note a tensor; a storage that is already known can only become an activation, by being written to."""
        storage = tensor.untyped_storage()
        key = storage._cdata
        known = self._live.get(key)
        if known is not None:
            if origin is Origin.ACTIVATION:
                known.origin = origin
            return
        size = storage.nbytes()
        reference = weakref.ref(storage, lambda _: self._remove(key))
        self._live[key] = _LiveStorage(reference, size, origin)
        self.current_bytes += size
        self.peak_bytes = max(self.peak_bytes, self.current_bytes)

    def origin(self, tensor: Tensor) -> Origin:
        """What a tensor is made of; one that was never seen being made came from outside, as an image does."""
        known = self._live.get(tensor.untyped_storage()._cdata)
        return Origin.ACTIVATION if known is None else known.origin

    def _remove(self, key: int) -> None:
        gone = self._live.pop(key, None)
        if gone is not None:
            self.current_bytes -= gone.bytes
