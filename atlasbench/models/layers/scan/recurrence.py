"""The recurrence of a selective scan along the first dimension of a block, in place, in two exact forms.

Both only ever multiply decays, which lie between 0 and 1: a product that underflows is a state that is forgotten, and
nothing overflows. Step by step is the least arithmetic, one operator a step; by halves (odd-even reduction) takes twice
the arithmetic and about three operators for each doubling of the length, for devices where launching is what costs.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor


def advance_by_steps(decays: Sequence[Tensor], states: Sequence[Tensor]) -> None:
    """`states[t] += decays[t] * states[t - 1]` for t = 1, 2, ...; one tensor a step, `decays[0]` is not read."""
    before = states[0]
    for decay, state in zip(decays[1:], states[1:], strict=True):
        state.addcmul_(decay, before)
        before = state


def retreat_by_steps(decays: Sequence[Tensor], gradients: Sequence[Tensor]) -> None:
    """`gradients[t] += decays[t + 1] * gradients[t + 1]`, from the end; one tensor a step, `decays[0]` is not read."""
    after = gradients[-1]
    for decay, gradient in zip(decays[:0:-1], gradients[-2::-1], strict=True):
        gradient.addcmul_(decay, after)
        after = gradient


def advance_by_halves(decays: Tensor, states: Tensor) -> None:
    """What `advance_by_steps` does, on tensors (T, ...)."""
    steps = states.shape[0]
    if steps < 2:
        return
    # Each odd step takes in the even one before it; then they are a sequence of half the length.
    even, odd = states[0::2], states[1::2]
    odd.addcmul_(decays[1::2], even[: steps // 2])
    if steps > 2:
        advance_by_halves(decays[1::2] * decays[0::2][: steps // 2], odd)
        even[1:].addcmul_(decays[2::2], odd[: (steps - 1) // 2])


def retreat_by_halves(decays: Tensor, gradients: Tensor) -> None:
    """What `retreat_by_steps` does, on tensors (T, ...)."""
    _retreat(decays[1:], gradients)


def _retreat(links: Tensor, gradients: Tensor) -> None:
    """`gradients[t] += links[t] * gradients[t + 1]`, from the end; pairs are counted from the end as well."""
    steps = gradients.shape[0]
    if steps < 2:
        return
    start = steps % 2
    first, second = gradients[start::2], gradients[start + 1 :: 2]
    first.addcmul_(links[start::2], second)
    if steps > 2:
        _retreat(links[start : steps - 2 : 2] * links[start + 1 :: 2], first)
        # The steps between two pairs, and the one before all pairs where the number of steps is odd.
        between = gradients[1 - start : steps - 1 : 2]
        between.addcmul_(links[1 - start :: 2], gradients[2 - start :: 2])
