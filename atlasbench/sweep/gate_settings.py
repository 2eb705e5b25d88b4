"""What a gate allows: tolerances and budgets, from a `[gate]` table in a recipe or in `pyproject.toml`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeGuard

from atlasbench.analysis.gate.constants import COUNTED_TOLERANCES
from atlasbench.analysis.gate.verdicts import (
    BUDGET,
    CountedChange,
    GateResult,
    GateVerdict,
    NewWorkload,
    WorkloadVerdict,
)
from atlasbench.core.errors import InvalidOptionError, InvalidWorkloadError
from atlasbench.recipes import load_toml

_KEYS = ("tolerance", "max_time_s", "counted", "budgets")
_OF_SOME_DEVICES = ("peak_allocated_bytes",)  # counted where the device's allocator knows it


@dataclass(frozen=True, slots=True, kw_only=True)
class GateSettings:
    """What a gate allows, where it differs from the defaults.

    Attributes:
        tolerance: Change of the time that is still the same, relative; None for the default of the method.
        max_time_s: For one workload and pass; None for the default.
        counted: Growth of counted quantities that is still the same, relative, by name.
        budgets: The most that a workload of a model may need, by model and name of the quantity.
    """

    tolerance: float | None = None
    max_time_s: float | None = None
    counted: Mapping[str, float] = field(default_factory=dict)
    budgets: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


def load_gate_settings(recipe: Path | None) -> GateSettings:
    """Settings of a recipe, or of `[tool.atlasbench.gate]` in the `pyproject.toml` of this folder or one above it.

    Raises:
        InvalidOptionError: If the file is no TOML, or a key or value is wrong; says which and what would be right.
    """
    if recipe is not None:
        return _read_settings(recipe, _load(recipe).get("gate", {}), "gate")
    for folder in (Path.cwd(), *Path.cwd().parents):
        path = folder / "pyproject.toml"
        if path.is_file():
            table: Any = _load(path)
            for key in ("tool", "atlasbench"):
                table = table.get(key, {}) if isinstance(table, dict) else {}
            _check_keys(table, ("gate",), f"{path}: [tool.atlasbench]")
            return _read_settings(path, table.get("gate", {}), "tool.atlasbench.gate")
    return GateSettings()


def read_tolerance(text: str | float, where: str) -> float:
    """A relative tolerance: `3%`, or `0.03`.

    Args:
        text: As written.
        where: Name of the option or key, for the message.

    Raises:
        InvalidOptionError: If it is neither, or not between 0 and 1.
    """
    words = str(text).strip()
    try:
        value = float(words.removesuffix("%")) / (100 if words.endswith("%") else 1)
    except ValueError:
        value = math.nan
    if isinstance(text, bool) or not 0 < value < 1:
        raise InvalidOptionError(f"{where}: a tolerance is written 3% or 0.03, over 0 and below 100 %, got {text!r}.")
    return value


def read_max_time(seconds: float, where: str) -> float:
    """A time for the turns of one workload and pass, in seconds.

    Args:
        seconds: As written.
        where: Name of the option or key, for the message.

    Raises:
        InvalidOptionError: If it is none.
    """
    if not _is_number(seconds) or seconds == 0:
        raise InvalidOptionError(f"{where} must be a number of seconds, more than 0, got {seconds!r}.")
    return seconds


def check_budgets(result: GateResult, budgets: Mapping[str, Mapping[str, float]]) -> GateResult:
    """The result with what every workload may need at most among its counted quantities.

    A new workload that needs more is judged, too. A budget of a workload that lacks the quantity is a gap; one of a
    model that is not among them is said, since it may be written wrong.
    """
    workloads = []
    for item in result.workloads:
        found = _compare_budgets(item.counts, budgets.get(item.model, {}))
        workloads.append(replace(item, counted=(*item.counted, *found)))
    new = []
    for added in result.only_current:
        found = _compare_budgets(added.counts, budgets.get(added.model, {}))
        if any(change.is_worse for change in found):
            workloads.append(
                WorkloadVerdict(
                    label=added.label,
                    model=added.model,
                    verdict=GateVerdict.SAME,
                    method="counted",
                    reason="new",
                    counted=found,
                )
            )
        else:
            new.append(added)
    shown: tuple[WorkloadVerdict | NewWorkload, ...] = (*result.workloads, *result.only_current)
    gaps = [
        f"{item.label}: {name}, of which there is a budget"
        for item in shown
        for name in budgets.get(item.model, {})
        if name not in item.counts and name not in _OF_SOME_DEVICES
    ]
    absent = [model for model in budgets if model not in {item.model for item in shown}]
    notes = (f"Budgets of models that are not here: {', '.join(absent)}.",) if absent else ()
    return replace(
        result,
        workloads=tuple(workloads),
        only_current=tuple(new),
        gaps=(*result.gaps, *gaps),
        notes=(*result.notes, *notes),
    )


def _compare_budgets(now: Mapping[str, float], limits: Mapping[str, float]) -> tuple[CountedChange, ...]:
    return tuple(
        CountedChange(name=f"{name}{BUDGET}", base=most, current=now[name], tolerance=0.0, is_worse=now[name] > most)
        for name, most in limits.items()
        if name in now
    )


def _load(path: Path) -> dict[str, Any]:
    try:
        return load_toml(path)
    except InvalidWorkloadError as error:
        raise InvalidOptionError(f"{path}: {error}") from None


def _read_settings(path: Path, table: Any, name: str) -> GateSettings:
    where = f"{path}: [{name}]"
    _check_keys(table, _KEYS, where)
    counted = table.get("counted", {})
    _check_keys(counted, tuple(COUNTED_TOLERANCES), f"{where} counted")
    budgets = table.get("budgets", {})
    if not isinstance(budgets, dict):
        raise InvalidOptionError(f"{where} budgets must be a table for each model, got {budgets!r}.")
    for model, limits in budgets.items():
        _check_keys(limits, tuple(COUNTED_TOLERANCES), f"{where} budgets.{model}")
    return GateSettings(
        tolerance=read_tolerance(table["tolerance"], f"{where} tolerance") if "tolerance" in table else None,
        max_time_s=read_max_time(table["max_time_s"], f"{where} max_time_s") if "max_time_s" in table else None,
        counted={key: _read_number(value, f"{where} counted.{key}") for key, value in counted.items()},
        budgets={
            model: {key: _read_number(value, f"{where} budgets.{model}.{key}") for key, value in limits.items()}
            for model, limits in budgets.items()
        },
    )


def _check_keys(table: Any, known: tuple[str, ...], where: str) -> None:
    if not isinstance(table, dict):
        raise InvalidOptionError(f"{where} must be a table, got {table!r}.")
    for key in table:
        if key not in known:
            close = get_close_matches(key, known, n=1)
            hint = f"Did you mean {close[0]!r}?" if close else f"There are: {', '.join(known)}."
            raise InvalidOptionError(f"{where}: there is no key {key!r}. {hint}")


def _read_number(value: Any, where: str) -> float:
    if not _is_number(value):
        raise InvalidOptionError(f"{where} must be a number of at least 0, got {value!r}.")
    return value


def _is_number(value: Any) -> TypeGuard[float]:
    """Whether a value is a finite number of at least 0; a truth value is none."""
    return not isinstance(value, bool) and isinstance(value, int | float) and 0 <= value < math.inf
