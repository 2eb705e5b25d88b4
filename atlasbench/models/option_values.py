"""Values that users give as options of a model: read, or refused with what would be right."""

from __future__ import annotations

import math
from collections.abc import Sequence

from atlasbench.core.errors import InvalidOptionError
from atlasbench.core.words import Word


def read_word(kind: type[Word], option: str, word: str) -> Word:
    """One of a closed set of words.

    Raises:
        InvalidOptionError: If it is none of them; names them all.
    """
    try:
        return kind(word)
    except ValueError:
        raise InvalidOptionError(f"{option} must be one of {', '.join(kind)}, got {word!r}.") from None


def check_whole_numbers(*, at_least: int = 0, **values: object) -> None:
    """Refuse options that are no whole number, by name.

    Raises:
        InvalidOptionError: For the first of them.
    """
    for option, value in values.items():
        if not _is_whole(value, at_least):
            limit = f" of at least {at_least}" if at_least or isinstance(value, int) else ""
            raise InvalidOptionError(f"{option} must be a whole number{limit}, got {value!r}.")


def check_numbers(
    *, at_least: float | None = None, above: float | None = None, below: float | None = None, **values: object
) -> None:
    """Refuse options that are no finite number, or out of range, by name.

    Raises:
        InvalidOptionError: For the first of them.
    """
    limits = [
        f"{word} {limit:g}"
        for word, limit in (("at least", at_least), ("above", above), ("below", below))
        if limit is not None
    ]
    for option, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise InvalidOptionError(f"{option} must be a number, got {value!r}.")
        in_range = (
            (at_least is None or value >= at_least)
            and (above is None or value > above)
            and (below is None or value < below)
        )
        if not in_range:
            raise InvalidOptionError(f"{option} must be {' and '.join(limits)}, got {value}.")


def check_truth_values(**values: object) -> None:
    """Refuse options that are neither true nor false, by name.

    Raises:
        InvalidOptionError: For the first of them.
    """
    for option, value in values.items():
        if not isinstance(value, bool):
            raise InvalidOptionError(f"{option} must be true or false, got {value!r}.")


def read_whole_numbers(option: str, values: object, *, count: int | None = None, at_least: int = 0) -> tuple[int, ...]:
    """A list of whole numbers.

    Raises:
        InvalidOptionError: If it is none, or of another length than `count`.
    """
    numbers = tuple(values) if isinstance(values, Sequence) and not isinstance(values, str) else None
    if numbers is None or not numbers or not all(_is_whole(number, at_least) for number in numbers):
        limit = f" of at least {at_least}" if at_least else ""
        raise InvalidOptionError(f"{option} must be a list of whole numbers{limit}, got {values!r}.")
    if count is not None and len(numbers) != count:
        raise InvalidOptionError(f"{option} must be {count} numbers, got {len(numbers)}.")
    return numbers


def check_heads(embed_dim: int, num_heads: int) -> None:
    """Refuse heads that do not divide the channels.

    Raises:
        InvalidOptionError: If they do not.
    """
    check_whole_numbers(embed_dim=embed_dim, num_heads=num_heads)
    if num_heads < 1 or embed_dim < 1 or embed_dim % num_heads:
        raise InvalidOptionError(f"num_heads must divide embed_dim, got {num_heads} heads and {embed_dim} channels.")


def check_mlp_ratio(embed_dim: int, mlp_ratio: float) -> None:
    """Refuse MLPs without hidden channels.

    Raises:
        InvalidOptionError: If the ratio leaves none.
    """
    check_numbers(above=0, mlp_ratio=mlp_ratio)
    if int(embed_dim * mlp_ratio) < 1:
        raise InvalidOptionError(f"mlp_ratio {mlp_ratio:g} leaves no hidden channels of {embed_dim}.")


def _is_whole(value: object, at_least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= at_least
