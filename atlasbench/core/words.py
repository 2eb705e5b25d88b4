"""Closed sets of words, read from what a user wrote."""

from __future__ import annotations

from typing import TypeVar

from atlasbench.core.compat import StrEnum
from atlasbench.core.errors import InvalidWorkloadError

Word = TypeVar("Word", bound=StrEnum)


def read_word(kind: type[Word], word: str) -> Word:
    """The member of a closed set that a word stands for.

    Raises:
        InvalidWorkloadError: If it is none of them; names them all.
    """
    try:
        return kind(word)
    except ValueError:
        raise InvalidWorkloadError(f"{word!r} is not one of {', '.join(kind)}.") from None
