"""What Python 3.10 lacks of the standard library."""

from __future__ import annotations

import sys
from enum import Enum

if sys.version_info >= (3, 11):
    from enum import StrEnum
else:

    class StrEnum(str, Enum):
        """A closed set of words that are strings."""

        __str__ = str.__str__


__all__ = ["StrEnum"]
