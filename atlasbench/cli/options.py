"""What commands share: list options that take several values, and reading values from text."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from functools import partial
from itertools import pairwise
from typing import Any, TypeVar

from typer.core import TyperCommand

from atlasbench.core.errors import AtlasBenchError, InvalidOptionError, InvalidWorkloadError
from atlasbench.core.protocol import QUICK, Protocol
from atlasbench.core.protocol_settings import change_protocol
from atlasbench.core.resolution import Resolution, parse_resolution
from atlasbench.core.scales import format_scale_drop, parse_scale_drop
from atlasbench.core.words import Word, read_word

Value = TypeVar("Value")


class ListCommand(TyperCommand):
    """A command whose list options take several values after one flag: `--res 1024 2048`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Write every further value of a list option with its own flag, as the parser wants it."""
        lists = {name for item in self.params if getattr(item, "multiple", False) for name in item.opts}
        spread = list(spread_values(args, lists))
        try:
            return super().parse_args(ctx, list(spread))
        except Exception as error:
            if type(error).__name__ == "MissingParameter":  # a class that Typer does not export
                error.message = _name_swallowed_word(spread, lists)  # type: ignore[attr-defined]
            raise


def spread_values(arguments: Sequence[str], list_options: set[str]) -> Iterator[str]:
    """`--res 1024 2048` -> `--res 1024 --res 2048`; everything after `--` stays as it is."""
    current, has_value = "", False
    for index, argument in enumerate(arguments):
        if argument == "--":
            yield from arguments[index:]
            return
        if argument.startswith("-") and argument != "-":
            name, equals, _ = argument.partition("=")
            current, has_value = (name if name in list_options else ""), bool(equals)
            yield argument
            continue
        if current and has_value:
            yield current
        yield argument
        has_value = True


def _name_swallowed_word(arguments: Sequence[str], list_options: set[str]) -> str:
    """A hint at the model or recipe that a list option took for a value of its own, as in `--res 1024 vit_b`."""
    for option, value in pairwise(arguments):
        if option in list_options and _comes_first(value):
            return _put_first(value, option)
    return ""


def read_resolutions(values: Sequence[str]) -> list[Resolution]:
    """Resolutions in the order given.

    Raises:
        InvalidWorkloadError: With a hint, if one is none.
    """
    return _read_each("--res", values, parse_resolution)


def read_integers(option: str, values: Sequence[str]) -> list[int]:
    """Whole numbers of at least 1.

    Raises:
        InvalidWorkloadError: With a hint, if one is not.
    """

    def parse(value: str) -> int:
        if not value.isascii() or not value.isdigit() or not 1 <= int(value) < 2**31:
            raise InvalidWorkloadError(f"{value!r} is not a whole number of at least 1.")
        return int(value)

    return _read_each(option, values, parse)


def read_scale_drops(values: Sequence[str]) -> list[str]:
    """Scale drops as a record spells them.

    Raises:
        InvalidWorkloadError: With a hint, if one is none.
    """
    return _read_each("--drop", values, lambda value: format_scale_drop(parse_scale_drop(value)))


def read_words(option: str, values: Sequence[str], kind: type[Word]) -> list[Word]:
    """Members of a closed set of words.

    Raises:
        InvalidWorkloadError: If one is not a member; names them all.
    """
    return _read_each(option, values, partial(read_word, kind), words=[word.value for word in kind])


def _read_each(
    option: str, values: Sequence[str], parse: Callable[[str], Value], *, words: Sequence[str] = ()
) -> list[Value]:
    return [_read(option, value, parse, words) for value in values]


def _read(option: str, value: str, parse: Callable[[str], Value], words: Sequence[str]) -> Value:
    try:
        return parse(value)
    except AtlasBenchError as error:
        raise InvalidWorkloadError(f"{option}: {error}{_hint(option, value, words)}") from None


def _hint(option: str, value: str, words: Sequence[str] = ()) -> str:
    """What was likely meant: one of the words, or a model or recipe, as in `--res 1024 vit_b`."""
    if close := get_close_matches(value, words, n=1, cutoff=0.8):
        return f" Did you mean {close[0]!r}?"
    return f" {_put_first(value, option)}" if _comes_first(value) else ""


def _comes_first(value: str) -> bool:
    from atlasbench.registry import MODELS

    is_name = "_" in value and value[0].isalpha() and value.islower()
    return "=" not in value and (value in MODELS or ":" in value or is_name or _is_recipe(value))


def _is_recipe(value: str) -> bool:
    return value.endswith(".toml")


def _put_first(word: str, option: str) -> str:
    if _is_recipe(word):
        return f"The recipe comes first: atlasbench sweep {word} {option} ..."
    return f"Models come first: atlasbench profile {word} {option} ..."


def read_settings(option: str, values: Sequence[str]) -> dict[str, Any]:
    """`KEY=VALUE` pairs; a value is JSON where it parses as such (`8`, `true`, `[2,10]`), a word otherwise.

    Raises:
        InvalidOptionError: With a hint, if one has no `=` or its key is no name.
    """
    settings: dict[str, Any] = {}
    for pair in values:
        key, equals, text = pair.partition("=")
        if not equals or not key.isidentifier():
            example = "window_size=8" if option == "--set" else "min_samples=100"
            raise InvalidOptionError(f"{option}: {pair!r} is not KEY=VALUE, e.g. {example}.{_hint(option, pair)}")
        settings[key] = _read_setting(text)
    return settings


def with_patch(settings: Mapping[str, Any], patch: int | None) -> dict[str, Any]:
    """Settings with the patch among them, if one was given.

    Raises:
        InvalidOptionError: If the settings have one, too.
    """
    if patch is None:
        return dict(settings)
    if "patch_size" in settings:
        raise InvalidOptionError("--patch and --set patch_size mean the same: give one of them.")
    return {**settings, "patch_size": patch}


def _read_setting(text: str) -> Any:
    parts = text.split(",")
    if len(parts) > 1 and all(part.strip().isdigit() for part in parts):
        return [int(part) for part in parts]
    try:
        value = json.loads(text, parse_constant=str)  # NaN and Infinity are words here
    except ValueError:
        return text
    return text if isinstance(value, float) and not math.isfinite(value) else value


def read_protocol(
    values: Sequence[str],
    *,
    quick: bool,
    cold: bool = False,
    timeout_s: float | None,
    timing: Mapping[str, float] | None = None,
) -> Protocol:
    """The measuring protocol: the preset, and what was set by hand.

    Args:
        values: `KEY=VALUE` pairs.
        quick: Whether the preset is the quick one.
        cold: Whether caches are flushed before every iteration.
        timeout_s: For one workload; the protocol's when None.
        timing: Constants that a recipe sets; the pairs win over them.

    Raises:
        InvalidOptionError: If there is no such constant, it is not a number of the right kind, or makes no sense.
    """
    settings = {**(timing or {}), **read_settings("--timing", values)}
    if timeout_s is not None:
        if not 0 < timeout_s < math.inf:
            raise InvalidOptionError(f"--timeout must be more than 0 seconds, got {timeout_s:g}.")
        settings["timeout_s"] = timeout_s
    try:
        return replace(change_protocol(QUICK if quick else Protocol(), settings), cold=cold)
    except InvalidOptionError as error:
        raise InvalidOptionError(f"--timing: {error}") from None
