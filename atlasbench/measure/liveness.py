"""Which tensors are alive, in bytes, while a model runs without data: the predicted peak."""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import Any

from torch import Tensor


@dataclass(slots=True)
class _LiveStorage:
    reference: weakref.ref[Any]
    bytes: int
    is_constant: bool


class LiveStorages:
    """Storages that some tensor still refers to, and the largest sum of their bytes so far.

    Views share a storage and count once. A storage also knows whether it is constant: made of parameters,
    buffers and literals alone, never of the image.
    """

    def __init__(self) -> None:
        self._live: dict[int, _LiveStorage] = {}
        self.current_bytes = 0
        self.peak_bytes = 0

    def add(self, tensor: Tensor, *, is_constant: bool) -> None:
        """Note a tensor; a storage that is already known may lose its constancy, never regain it."""
        storage = tensor.untyped_storage()
        key = storage._cdata
        known = self._live.get(key)
        if known is not None:
            known.is_constant = known.is_constant and is_constant
            return
        size = storage.nbytes()
        self._live[key] = _LiveStorage(
            weakref.ref(storage, lambda _: self._remove(key)), size, is_constant=is_constant
        )
        self.current_bytes += size
        self.peak_bytes = max(self.peak_bytes, self.current_bytes)

    def is_constant(self, tensor: Tensor) -> bool:
        """Whether a tensor derives from parameters, buffers and literals alone."""
        known = self._live.get(tensor.untyped_storage()._cdata)
        return known is not None and known.is_constant

    def _remove(self, key: int) -> None:
        gone = self._live.pop(key, None)
        if gone is not None:
            self.current_bytes -= gone.bytes
