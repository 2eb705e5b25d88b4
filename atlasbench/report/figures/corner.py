"""Where the numbers of a picture were taken: the lines in its corner."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from atlasbench.core.record import Environment
from atlasbench.report.remarks import describe_environment

_MOST = 4  # environments that are named in full


def describe_corner(environments: Iterable[Environment], *remarks: str) -> list[str]:
    """Sentences for the corner: what the picture leaves unsaid, then every environment once."""
    lines = list(dict.fromkeys(describe_environment(environment) for environment in environments))
    return [*filter(None, remarks), *_first(lines)]


def _first(lines: Sequence[str]) -> list[str]:
    if len(lines) <= _MOST:
        return list(lines)
    return [*lines[: _MOST - 1], f"And {len(lines) - _MOST + 1} environments more."]
