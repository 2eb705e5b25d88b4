"""From a TOML file to a `Recipe`: whatever is wrong with it is said in one line, with its file and key."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from atlasbench.core.errors import AtlasBenchError, InvalidOptionError, InvalidWorkloadError
from atlasbench.core.recipe import ModelChoice, Recipe, SweepRequest
from atlasbench.core.resolution import parse_resolution
from atlasbench.core.scales import format_scale_drop, parse_scale_drop
from atlasbench.core.words import read_word
from atlasbench.core.workload import AttentionBackend, Dtype, MemoryFormat, Mode

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Value = TypeVar("Value")
Reader = Callable[[Any], Any]


def load_recipe(path: Path) -> Recipe:
    """Read a recipe.

    Raises:
        InvalidWorkloadError: If there is no such file, it is no TOML, or a key or value is wrong; says which and what
            would be right.
    """
    try:
        values = _read_table(_without_gate(load_toml(path)), _RECIPE_KEYS)
        for key in ("models", "resolutions"):
            if key not in values:
                raise InvalidWorkloadError(f"there is no key {key!r}: a recipe needs it.")
        num_classes = values.pop("num_classes", None)
        if num_classes is not None:
            values["options"] = _with_num_classes(values.get("options", {}), num_classes)
        values.setdefault("title", values.pop("name", ""))
        values["baseline"] = _choose_baseline(values.pop("turns", None), values.get("baseline", ""))
        others = {key: values.pop(key) for key in ("title", "quick", "timing", "baseline") if key in values}
        return Recipe(**others, request=SweepRequest(**{"device": "auto", **values}))
    except AtlasBenchError as error:
        raise InvalidWorkloadError(f"{path}: {error}") from None


def load_toml(path: Path) -> dict[str, Any]:
    """The tables of a recipe, or of another TOML file; the caller says of which one a mistake is.

    Raises:
        InvalidWorkloadError: If it cannot be read, or is no TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InvalidWorkloadError(f"there is no such recipe. {_name_others(path)}") from None
    except OSError as error:
        raise InvalidWorkloadError(f"cannot be read: {error.strerror or error}.") from None
    except (ValueError, RecursionError) as error:
        raise InvalidWorkloadError(f"is not TOML: {error}.") from None


def _without_gate(table: Mapping[str, Any]) -> dict[str, Any]:
    """All but the tolerances of a gate, which are not part of the sweep and are read where they are used."""
    return {key: value for key, value in table.items() if key != "gate"}


def _name_others(path: Path) -> str:
    """Recipes that may be meant: those beside it, or in a folder `recipes`."""
    folder = path.parent if path.parent.is_dir() else Path()
    others = sorted(map(str, (*folder.glob("*.toml"), *(folder / "recipes").glob("*.toml"))))
    stems = {Path(other).stem: other for other in others if Path(other).name != "pyproject.toml"}
    close = [stems[stem] for stem in get_close_matches(path.stem, stems, n=1)] or list(stems.values())
    return f"There is {', '.join(close)}." if close else "Recipes are TOML files, e.g. recipes/quick.toml."


def _read_table(table: Mapping[str, Any], readers: Mapping[str, Reader]) -> dict[str, Any]:
    """Every value of a table, read by the reader of its key; other keys are refused."""
    for key in table:
        if key not in readers:
            raise InvalidOptionError(f"there is no key {key!r}. {_name_key(key, readers)}")
    return {key: _read(key, value, readers[key]) for key, value in table.items()}


def _name_key(key: str, readers: Mapping[str, Reader]) -> str:
    if readers is _MODEL_KEYS and key in _RECIPE_KEYS:
        return f"{key!r} is a key of the whole recipe: write it above the models."
    close = get_close_matches(key, readers, n=1) or [known for known in readers if key in known]
    return f"Did you mean {close[0]!r}?" if close else f"There are: {', '.join(readers)}."


def _read(where: str, value: Any, reader: Callable[[Any], Value]) -> Value:
    try:
        return reader(value)
    except AtlasBenchError as error:
        raise InvalidWorkloadError(f"{where}: {error}") from None


def _several(reader: Callable[[Any], Value]) -> Callable[[Any], tuple[Value, ...]]:
    """A reader of one value or a list of them."""
    return lambda value: tuple(map(reader, value if isinstance(value, list) else [value]))


def _read_models(value: Any) -> tuple[ModelChoice, ...]:
    items = value if isinstance(value, list) else [value]
    return tuple(_read(f"entry {number}", item, _read_model) for number, item in enumerate(items, start=1))


def _read_model(value: Any) -> ModelChoice:
    if not isinstance(value, dict):
        return ModelChoice(name=_read_text(value))
    values = _read_table(value, _MODEL_KEYS)
    if "name" not in values:
        raise InvalidWorkloadError("there is no key 'name': it names the model.")
    return ModelChoice(**values)


def _read_text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip() or not value.isprintable():
        raise InvalidWorkloadError(f"must be one line of text in quotes, got {value!r}.")
    return value


def _read_switch(value: Any) -> bool:
    if not isinstance(value, bool):
        raise InvalidWorkloadError(f"must be true or false, got {value!r}.")
    return value


def _read_whole_number(value: Any, *, at_least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not at_least <= value < 2**31:
        raise InvalidWorkloadError(f"must be a whole number of at least {at_least}, got {value!r}.")
    return value


def _read_scale_drop(value: Any) -> str:
    if not isinstance(value, str):
        raise InvalidWorkloadError(f'{value!r} is not a scale drop: write "2-10" or "none", in quotes.')
    return format_scale_drop(parse_scale_drop(value))


def _read_settings(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InvalidOptionError(f"must be a table, e.g. {{ patch_size = 8 }}, got {value!r}.")
    for key, item in value.items():
        if not _fits_record(item):
            raise InvalidOptionError(f"{key} must be a number, text, true, false or a list of these, got {item!r}.")
    return value


def _fits_record(value: Any) -> bool:
    """Whether a value is none of what TOML has and a record cannot keep: dates, infinities and tables."""
    if isinstance(value, list):
        return all(map(_fits_record, value))
    return math.isfinite(value) if isinstance(value, float) else isinstance(value, str | int)


def _with_num_classes(options: Mapping[str, Any], num_classes: int) -> dict[str, Any]:
    if "num_classes" in options:
        raise InvalidOptionError("num_classes: is given twice, among the options, too.")
    return {**options, "num_classes": num_classes}


def _choose_baseline(takes_turns: bool | None, baseline: str) -> str:
    """What models are measured in turns with; empty where they are not."""
    if takes_turns and not baseline:
        raise InvalidWorkloadError('turns: models take turns with a baseline: name it, e.g. baseline = "atlas_b".')
    if baseline and takes_turns is None:
        raise InvalidWorkloadError("baseline: it is what models take turns with: write turns = true, too.")
    return baseline if takes_turns else ""


_MODEL_KEYS: Mapping[str, Reader] = {
    "name": _read_text,
    "label": _read_text,
    "options": _read_settings,
    "scale_drops": _several(_read_scale_drop),
}
_RECIPE_KEYS: Mapping[str, Reader] = {
    "name": _read_text,
    "title": _read_text,
    "models": _read_models,
    "resolutions": _several(parse_resolution),
    "batch_sizes": _several(partial(_read_whole_number, at_least=1)),
    "scale_drops": _several(_read_scale_drop),
    "modes": _several(partial(read_word, Mode)),
    "dtypes": _several(partial(read_word, Dtype)),
    "device": _read_text,
    "compiled": _read_switch,
    "memory_format": partial(read_word, MemoryFormat),
    "attention_backend": partial(read_word, AttentionBackend),
    "num_classes": partial(_read_whole_number, at_least=0),
    "options": _read_settings,
    "quick": _read_switch,
    "timing": _read_settings,
    "turns": _read_switch,
    "baseline": _read_text,
}
