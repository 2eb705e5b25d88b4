"""What `atlasbench gate` is given: one of three ways, settings, further outputs, and workloads as `profile` reads."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from atlasbench.analysis.gate.verdicts import GateResult
from atlasbench.cli.options import ListCommand, read_protocol
from atlasbench.cli.profile import build_protocol, build_request
from atlasbench.core.errors import InvalidOptionError, OutputError
from atlasbench.core.recipe import SweepRequest
from atlasbench.recipes import load_recipe
from atlasbench.report.gate_formats import GATE_FORMATS, render_gate
from atlasbench.sweep.gate import GateOptions
from atlasbench.sweep.gate_ratios import check_writable_file
from atlasbench.sweep.gate_settings import GateSettings, load_gate_settings, read_max_time, read_tolerance

# Of `profile`: what keeps records, or shows them in another way.
_ONLY_OF_PROFILE = frozenset({"out", "no_save", "resume", "dry_run", "by_module", "depth", "launches", "output_format"})
_WAYS = ("--baseline and --current", "--against", "--relative-to")
_IN_TURNS = ("--against", "--relative-to")
# Options that belong to one way or two, by name of the parameter.
_BELONG = {
    "base_python": ("--base-python", ("--against",)),
    "write": ("--write", ("--relative-to",)),
    "ratio": ("--ratio", ("--relative-to",)),
    "allow_different": ("--allow-different", (_WAYS[0],)),
    "seed": ("--seed", _IN_TURNS),
    "max_time": ("--max-time", _IN_TURNS),
}


def check_ways(context: Any) -> None:
    """Refuse none or several of the three ways, and options of another one.

    Raises:
        InvalidOptionError: Says what would be right.
    """
    given = context.params
    sides = [bool(given["baseline"]), bool(given["current"])]
    ways = [
        name
        for name, is_given in zip(_WAYS, (any(sides), given["against"], given["relative_to"]), strict=True)
        if is_given
    ]
    if len(ways) != 1:
        raise InvalidOptionError(f"Give one of {', '.join(_WAYS)}{f', not {len(ways)} of them' if ways else ''}.")
    (way,) = ways
    if way == _WAYS[0] and not all(sides):
        raise InvalidOptionError("--baseline and --current belong together: give both.")
    for parameter, (option, owners) in _BELONG.items():
        if _is_given(given[parameter]) and way not in owners:
            raise InvalidOptionError(f"{option} belongs to {' and '.join(owners)}: leave it out.")
    if context.args and way not in _IN_TURNS:
        if context.args[0].startswith("-"):
            raise InvalidOptionError(f"No such option: {context.args[0]}. See `atlasbench gate --help`.")
        raise InvalidOptionError(f"{context.args[0]!r} belongs to {' and '.join(_IN_TURNS)}: leave it out.")
    if way == "--relative-to" and (given["write"] is None) == (given["ratio"] is None):
        raise InvalidOptionError(
            "--relative-to needs --write FILE to store ratios, or --ratio FILE to compare with them."
        )
    for parameter, option in {"reports": "--report", "tolerance": "--tolerance", "strict": "--strict"}.items():
        if given["write"] is not None and given[parameter]:
            raise InvalidOptionError(f"{option} belongs to a verdict, and --write gives none: leave it out.")


def _is_given(value: object) -> bool:
    """Whether an option was written: an empty list of values is another type from version to version of Typer."""
    return value is not None and not (isinstance(value, (list, tuple)) and not value)


def read_settings(recipe: Path | None, tolerance: str | None, max_time_s: float | None) -> GateSettings:
    """Tolerances and budgets: of a recipe or of pyproject.toml, and what the command line says instead.

    Raises:
        InvalidOptionError: If a value is wrong.
    """
    settings = load_gate_settings(recipe)
    if tolerance is not None:
        settings = replace(settings, tolerance=read_tolerance(tolerance, "--tolerance"))
    if max_time_s is not None:
        settings = replace(settings, max_time_s=read_max_time(max_time_s, "--max-time"))
    return settings


def read_outputs(reports: Sequence[str]) -> Mapping[Path, str]:
    """Further outputs: formats by their file.

    Raises:
        InvalidOptionError: If one is not `FORMAT=FILE`, or two name the same file.
        OutputError: If its folder is not there.
    """
    outputs: dict[Path, str] = {}
    for text in reports:
        name, equals, path = text.partition("=")
        if not equals or not path:
            raise InvalidOptionError(f"--report: {text!r} is not FORMAT=FILE, e.g. markdown=gate.md.")
        if name not in GATE_FORMATS:
            raise InvalidOptionError(f"--report: {name!r} is not one of {', '.join(GATE_FORMATS)}.")
        if Path(path) in outputs:
            raise InvalidOptionError(
                f"--report: {path} would be written twice, as {outputs[Path(path)]} and as {name}."
            )
        check_writable_file(Path(path))
        outputs[Path(path)] = name
    return outputs


def write_outputs(result: GateResult, outputs: Mapping[Path, str], *, strict: bool) -> None:
    """Write the further outputs.

    Raises:
        OutputError: If one cannot be written.
    """
    texts = {path: render_gate(result, name, strict=strict) for path, name in outputs.items()}
    try:
        for path, text in texts.items():
            path.write_text(f"{text}\n", encoding="utf-8")
    except OSError as error:
        raise OutputError(f"Cannot write {str(error.filename)!r}: {error.strerror or error}.") from None


def read_work(
    context: Any, recipe: Path | None, settings: GateSettings, seed: int | None
) -> tuple[SweepRequest, GateOptions]:
    """The workloads, and how to run them: what follows the gate's own options, or else the recipe.

    Raises:
        AtlasBenchError: If a value is wrong.
    """
    _refuse_own_options(context)
    seed = secrets.randbelow(2**32) if seed is None else seed
    if recipe is not None and context.args and context.args[0].startswith("-"):
        raise InvalidOptionError(
            f"{context.args[0]} goes with models: name some before it, or leave it out, and the recipe says everything."
        )
    if recipe is not None and not context.args:
        loaded = load_recipe(recipe)
        protocol = read_protocol([], quick=loaded.quick, timeout_s=None, timing=loaded.timing)
        return loaded.request, GateOptions(settings=settings, protocol=protocol, seed=seed)
    given = _read_as_profile(context)
    options = GateOptions(
        settings=settings,
        protocol=build_protocol(**given),
        threads=given["threads"],
        force=given["force"],
        seed=seed,
    )
    return build_request(**given), options


def _parameters_of_profile(context: Any) -> list[Any]:
    profile = context.parent.command.get_command(context.parent, "profile")
    return [item for item in profile.params if item.name not in _ONLY_OF_PROFILE]


def _refuse_own_options(context: Any) -> None:
    """Refuse options of the gate itself among the models and their options."""
    theirs = {name for item in _parameters_of_profile(context) for name in item.opts}
    own = {name for item in context.command.params for name in item.opts} - theirs
    for word in context.args:
        if word.partition("=")[0] in own:
            raise InvalidOptionError(f"{word} is an option of the gate itself: write it before the models and --.")


def _read_as_profile(context: Any) -> dict[str, Any]:
    """Values of the options of `profile`, by name of the parameter."""
    group = context.parent
    params = _parameters_of_profile(context)
    command = ListCommand(name="gate", params=params, add_help_option=False)
    values: dict[str, Any] = command.make_context("gate", list(context.args), parent=group).params
    return values
