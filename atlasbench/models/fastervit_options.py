"""What shapes a FasterViT, checked once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from atlasbench.core.errors import InvalidOptionError
from atlasbench.models.hybrid_options import NUM_LEVELS, WINDOW_LEVELS, HybridOptions
from atlasbench.models.layers.hierarchical_attention import CarrierOrder
from atlasbench.models.option_values import check_truth_values, check_whole_numbers


@dataclass(frozen=True, kw_only=True)
class FasterViTOptions(HybridOptions):
    """Everything that shapes a FasterViT, apart from the image's size and channels and the classifier.

    Attributes:
        ct_size: Carriers of a window, per side.
        layer_norm_last: Whether the last norm is a LayerNorm over channels and not a BatchNorm.
        do_propagation: Whether the last block of a level with carriers adds them to their tokens.
        hat: Whether the windows of each of the four levels exchange anything, by carriers.
        carrier_order: Which window a carrier returns to.
    """

    ct_size: int = 2
    layer_norm_last: bool = False
    do_propagation: bool = False
    hat: tuple[bool, ...] = (False, False, True, False)
    carrier_order: CarrierOrder = CarrierOrder.OFFICIAL

    def __post_init__(self) -> None:
        super().__post_init__()
        check_whole_numbers(at_least=1, ct_size=self.ct_size)
        check_truth_values(layer_norm_last=self.layer_norm_last, do_propagation=self.do_propagation)
        for level in WINDOW_LEVELS:
            if self.hat[level] and self.ct_size > self.window_size[level]:
                raise InvalidOptionError(
                    f"ct_size must be at most the window of a level with carriers, got {self.ct_size} and windows of "
                    f"{self.window_size[level]} in level {level}."
                )


def read_hat(values: object) -> tuple[bool, ...]:
    """Whether each of the four levels has carriers.

    Raises:
        InvalidOptionError: If these are not four truth values.
    """
    answers = tuple(values) if isinstance(values, Sequence) and not isinstance(values, str) else ()
    if len(answers) != NUM_LEVELS or not all(isinstance(answer, bool) for answer in answers):
        raise InvalidOptionError(f"hat must be a list of {NUM_LEVELS} times true or false, got {values!r}.")
    return answers
