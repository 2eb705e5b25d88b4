"""What shapes a MambaVision, checked once."""

from __future__ import annotations

from dataclasses import dataclass

from atlasbench.models.hybrid_options import HybridOptions
from atlasbench.models.option_values import check_truth_values


@dataclass(frozen=True, kw_only=True)
class MambaVisionOptions(HybridOptions):
    """Everything that shapes a MambaVision, apart from the classifier and the image's channels.

    Attributes:
        global_window: Whether a window is the whole feature map, whatever `window_size` is.
    """

    global_window: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_truth_values(global_window=self.global_window)

    def num_attentions(self, level: int) -> int:
        """How many blocks of a level of windows attend: the last half, rounded down; those before scan."""
        return self.depths[level] // 2
