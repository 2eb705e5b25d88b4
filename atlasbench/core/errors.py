"""Every mistake a user can make, each with the exit code it ends with; anything else is a bug."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from itertools import takewhile

_LOOKED_AT = 12  # similar names, of which three are suggested


class AtlasBenchError(Exception):
    """A user's mistake: shown as one line, never as a traceback."""

    exit_code = 2


class UnknownModelError(AtlasBenchError):
    """No backbone is known under this name."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        close = _names_like(name, known)
        hint = f"Did you mean {' or '.join(map(repr, close))}?" if close else "See `atlasbench models`."
        if name.endswith(".py"):
            hint = f"To load a file, name the function that builds the model: {name}:build_model."
        super().__init__(f"Unknown model {name!r}. {hint}")


class InvalidOptionError(AtlasBenchError):
    """A model does not take this option, or not with this value."""


class InvalidWorkloadError(AtlasBenchError):
    """A field of a workload has a value that can never be measured."""


class ScaleDropError(AtlasBenchError):
    """A scale drop does not have as many entries as there are scales."""


class UnsupportedError(AtlasBenchError):
    """This model cannot honestly be run at this size or on this device: a result, `unsupported`, in a sweep."""


class CheckpointError(AtlasBenchError):
    """A checkpoint cannot be read, or its names or shapes do not fit the model."""


class DeviceError(AtlasBenchError):
    """The device is not there, or cannot do what was asked."""


class InstallationError(AtlasBenchError):
    """The process that holds torch and the models cannot start or go on."""


class OutputError(AtlasBenchError):
    """Records cannot be written where they were asked to go."""


class RecordsError(AtlasBenchError):
    """No record can be read from a file or folder, or it was written by a newer version."""


class RevisionError(AtlasBenchError):
    """A git revision is not there, cannot be checked out, or cannot be compared with."""


class NothingMeasuredError(AtlasBenchError):
    """Every workload ended oom, unsupported, in error or timed out."""

    exit_code = 3


def _names_like(name: str, known: Iterable[str]) -> list[str]:
    """Up to three known names, the closest first; how words are joined and written does not count."""
    by_letters: dict[str, str] = {}
    for other in known:
        by_letters.setdefault(_letters(other), other)
    letters = _letters(name)
    close = difflib.get_close_matches(letters, by_letters, n=_LOOKED_AT)
    # What begins alike is meant more often; then what is written alike.
    close.sort(key=lambda other: (-_shared_start(letters, other), -_likeness(name, by_letters[other])))
    return [by_letters[other] for other in close[:3]]


def _shared_start(first: str, second: str) -> int:
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(first, second, strict=False)))


def _likeness(first: str, second: str) -> float:
    return difflib.SequenceMatcher(None, first, second).ratio()


def _letters(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())
