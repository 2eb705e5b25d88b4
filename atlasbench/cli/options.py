"""What commands share: list options that take several values, and reading values from text."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from difflib import get_close_matches
from enum import Enum
from typing import Any, TypeVar

from typer.core import TyperCommand

from atlasbench.core.errors import AtlasBenchError, InvalidOptionError, InvalidWorkloadError
from atlasbench.core.protocol import QUICK, Protocol
from atlasbench.core.resolution import Resolution, parse_resolution

Word = TypeVar("Word", bound=Enum)


class ListCommand(TyperCommand):
    """A command whose list options take several values after one flag: `--res 1024 2048`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Write every further value of a list option with its own flag, as the parser wants it."""
        lists = {name for parameter in self.params if getattr(parameter, "multiple", False) for name in parameter.opts}
        return super().parse_args(ctx, list(spread_values(args, lists)))


def spread_values(arguments: Sequence[str], list_options: set[str]) -> Iterator[str]:
    """`--res 1024 2048` -> `--res 1024 --res 2048`; everything after `--` stays as it is."""
    current, has_value = "", False
    for index, argument in enumerate(arguments):
        if argument == "--":
            yield from arguments[index:]
            return
        if argument.startswith("-") and argument != "-":
            name, _, value = argument.partition("=")
            current, has_value = (name if name in list_options else ""), bool(value)
            yield argument
            continue
        if current and has_value:
            yield current
        yield argument
        has_value = True


def read_resolutions(values: Sequence[str]) -> list[Resolution]:
    """Resolutions in the order given.

    Raises:
        InvalidWorkloadError: With a hint, if one is none.
    """
    return [_read("--res", value, parse_resolution) for value in values]


def read_integers(option: str, values: Sequence[str]) -> list[int]:
    """Whole numbers of at least 1.

    Raises:
        InvalidWorkloadError: If one is not.
    """

    def parse(value: str) -> int:
        if not value.isascii() or not value.isdigit() or int(value) < 1:
            raise InvalidWorkloadError(f"{value!r} is not a whole number of at least 1.")
        return int(value)

    return [_read(option, value, parse) for value in values]


def read_words(option: str, values: Sequence[str], kind: type[Word]) -> list[Word]:
    """Members of a closed set of words.

    Raises:
        InvalidWorkloadError: If one is not a member; names them all.
    """

    def parse(value: str) -> Word:
        try:
            return kind(value)
        except ValueError:
            words = ", ".join(item.value for item in kind)
            raise InvalidWorkloadError(f"{value!r} is not one of {words}.") from None

    return [_read(option, value, parse) for value in values]


def _read(option: str, value: str, parse: Any) -> Any:
    try:
        return parse(value)
    except AtlasBenchError as error:
        from atlasbench.registry import find_entry

        is_model = find_entry(value) is not None or "_" in value
        hint = f" Models come first: atlasbench profile {value} {option} ..." if is_model else ""
        raise InvalidWorkloadError(f"{option}: {error}{hint}") from None


def read_settings(values: Sequence[str]) -> dict[str, Any]:
    """`KEY=VALUE` pairs; a value is JSON where it parses as such (`8`, `true`, `[2,10]`), a word otherwise.

    Raises:
        InvalidOptionError: If one has no `=`.
    """
    settings: dict[str, Any] = {}
    for pair in values:
        key, equals, text = pair.partition("=")
        if not equals or not key.isidentifier():
            raise InvalidOptionError(f"--set: {pair!r} is not KEY=VALUE, e.g. window_size=8 or depths=[2,10].")
        try:
            settings[key] = json.loads(text)
        except ValueError:
            parts = text.split(",")
            is_list = len(parts) > 1 and all(part.strip().isdigit() for part in parts)
            settings[key] = [int(part) for part in parts] if is_list else text
    return settings


def read_protocol(values: Sequence[str], *, quick: bool, cold: bool, timeout_s: float | None) -> Protocol:
    """The measuring protocol: the preset, and what was set by hand.

    Raises:
        InvalidOptionError: If there is no such constant, or it is not a number.
        InvalidWorkloadError: If its value makes no sense.
    """
    settings = read_settings(values)
    known = {item.name for item in fields(Protocol)}
    for name, value in settings.items():
        if name not in known:
            close = get_close_matches(name, known, n=1)
            hint = f" Did you mean {close[0]!r}?" if close else f" There are: {', '.join(sorted(known))}."
            raise InvalidOptionError(f"--timing: there is no constant {name!r}.{hint}")
        if not isinstance(value, int | float):
            raise InvalidOptionError(f"--timing: {name} must be a number, got {value!r}.")
    preset = QUICK if quick else Protocol()
    if timeout_s is not None:
        settings["timeout_s"] = timeout_s
    return replace(preset, **settings, **({"cold": True} if cold else {}))
