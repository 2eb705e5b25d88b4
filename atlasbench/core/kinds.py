"""How a number came to be: every number in a record, a table or a picture is of one of these kinds."""

from __future__ import annotations

from atlasbench.core.compat import StrEnum


class Kind(StrEnum):
    """Where a number comes from; the value is how a person reads it."""

    MEASURED = "measured"  # observed on a device
    COUNTED = "counted"  # follows from the shapes alone
    PREDICTED = "predicted"  # derived from the shapes by a stated rule
    PAPER = "from the paper"  # published
    FILE = "from a file"  # given by the user
