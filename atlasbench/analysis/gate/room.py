"""Whether the workers of a pass fit in memory side by side."""

from __future__ import annotations

from collections.abc import Iterable

from atlasbench.analysis.gate.constants import CONTEXT_BYTES, HEADROOM, LAUNCHES


def fit_together(peaks_bytes: Iterable[int], device_type: str, free_bytes: int) -> bool:
    """Whether the workers of a pass have room side by side.

    Args:
        peaks_bytes: Predicted peak memory of a worker, for each side.
        device_type: Of the device that they are to share.
        free_bytes: Of its memory.
    """
    own_bytes = CONTEXT_BYTES if device_type == "cuda" else 0
    return sum(LAUNCHES * (HEADROOM * peak + own_bytes) for peak in peaks_bytes) <= free_bytes
