"""Constants of the measuring protocol by their names, as a command line or a recipe gives them."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import fields, replace
from difflib import get_close_matches
from typing import Any

from atlasbench.core.errors import InvalidOptionError, InvalidWorkloadError
from atlasbench.core.protocol import Protocol

_KNOWN = tuple(item.name for item in fields(Protocol) if item.name != "cold")  # which has an option of its own


def change_protocol(preset: Protocol, settings: Mapping[str, Any]) -> Protocol:
    """The preset with some of its constants changed.

    Raises:
        InvalidOptionError: If there is no such constant, it is not a number of the right kind, or makes no sense.
    """
    for name, value in settings.items():
        if name not in _KNOWN:
            close = get_close_matches(name, _KNOWN, n=1)
            hint = f"Did you mean {close[0]!r}?" if close else f"There are: {', '.join(_KNOWN)}."
            raise InvalidOptionError(f"there is no constant {name!r}. {hint}")
        is_whole = isinstance(getattr(preset, name), int)
        is_right = isinstance(value, int if is_whole else int | float) and not isinstance(value, bool)
        if not is_right or not abs(value) <= sys.float_info.max:
            raise InvalidOptionError(f"{name} must be a {'whole number' if is_whole else 'number'}, got {value!r}.")
    try:
        return replace(preset, **settings)
    except InvalidWorkloadError as error:
        raise InvalidOptionError(str(error)) from None
