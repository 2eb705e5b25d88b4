"""Growth laws: how the arithmetic for one more token grows with the number of tokens N.

Legend: K tokens of a window, S stride product between scales, L scales; L is a whole number, so N K log_S N has steps.
"""

from __future__ import annotations

import math

from atlasbench.core.compat import StrEnum

WINDOW_TOKENS = 256  # K and S of the Atlas paper: windows of 16 x 16, strides of 4 x 4
_STRIDE_PRODUCT = 16


class Law(StrEnum):
    """What grows like this in the number of tokens, in order of growth."""

    LINEAR = "N"
    LINEAR_LOG = "N log N"
    MULTI_SCALE = "N K log_S N"
    POWER_1_5 = "N^1.5"
    QUADRATIC = "N^2"

    @property
    def growth(self) -> int:
        """Rank: laws of equal rank differ by a bounded factor, higher ones outgrow lower ones."""
        return _GROWTH[self]

    def per_token(self, tokens: int) -> float:
        """Cost of one token among so many, up to a constant: 1 for N, `tokens` for N^2."""
        if self is Law.LINEAR:
            return 1.0
        if self is Law.LINEAR_LOG:
            return math.log(max(tokens, 2))  # a single token costs something, too
        if self is Law.MULTI_SCALE:
            return float(WINDOW_TOKENS * count_scales(tokens))
        return math.sqrt(tokens) if self is Law.POWER_1_5 else float(tokens)


_GROWTH = {Law.LINEAR: 0, Law.LINEAR_LOG: 1, Law.MULTI_SCALE: 1, Law.POWER_1_5: 2, Law.QUADRATIC: 3}


def count_scales(tokens: int) -> int:
    """L(N) of the paper's windows and strides: ceil(log_S(N / K)) + 1, and 1 for a grid within one window."""
    scales = 1
    while tokens > WINDOW_TOKENS:
        tokens = -(-tokens // _STRIDE_PRODUCT)
        scales += 1
    return scales
