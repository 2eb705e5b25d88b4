"""Which of several choices are worth taking: nothing else gives more for less."""

from __future__ import annotations

from collections.abc import Sequence


def pareto_front(costs: Sequence[float], gains: Sequence[float]) -> list[int]:
    """Indices of the choices that no other beats, cheapest first.

    One beats another if it costs no more and gains no less, and differs in one of the two. Of equal choices the first
    is kept.

    Args:
        costs: What is to be small, e.g. FLOPs per image.
        gains: What is to be large, e.g. top-1 in percent.
    """
    order = sorted(range(len(costs)), key=lambda index: (costs[index], -gains[index]))
    front: list[int] = []
    for index in order:
        if not front or gains[index] > gains[front[-1]]:
            front.append(index)
    return front
