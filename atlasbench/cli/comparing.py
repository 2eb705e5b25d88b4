"""What `compare` and `gate` share: their formats, and two sets of records from paths."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from atlasbench.cli.output import page_width
from atlasbench.core.errors import InvalidOptionError

if TYPE_CHECKING:
    from atlasbench.analysis.gate.verdicts import GateResult
    from atlasbench.sweep.gate_settings import GateSettings


def check_gate_format(name: str) -> None:
    """Refuse an unknown format.

    Raises:
        InvalidOptionError: If it is none of `GATE_FORMATS`.
    """
    from atlasbench.report.gate_formats import GATE_FORMATS

    if name not in GATE_FORMATS:
        raise InvalidOptionError(f"--format: {name!r} is not one of {', '.join(GATE_FORMATS)}.")


def show_gate(result: GateResult, output_format: str, *, strict: bool = False) -> None:
    """Print a result in one of `GATE_FORMATS`."""
    from atlasbench.report.gate_formats import render_gate

    typer.echo(render_gate(result, output_format, width=page_width(), strict=strict))


def compare_files(
    base: Sequence[Path],
    current: Sequence[Path],
    settings: GateSettings,
    *,
    allow_different: Collection[str],
) -> GateResult:
    """Read two sets of records and compare them; lines that are no records are a gap of the result.

    Args:
        base: Files of records, or folders of them.
        current: As `base`.
        settings: Tolerances.
        allow_different: Fields of the environment that need not agree.

    Raises:
        InvalidOptionError: If `allow_different` names no field that must agree.
        RecordsError: If a side has no records, or they cannot be compared.
    """
    from atlasbench.analysis.gate.constants import FILE_TOLERANCE
    from atlasbench.analysis.gate.files import compare_records
    from atlasbench.store.jsonl import describe_unreadable, load_records

    sides, gaps = [], []
    for name, paths in (("base", base), ("current side", current)):
        records, unreadable = load_records(paths)
        if unreadable:
            gaps.append(f"of the {name}, {describe_unreadable(unreadable)}")
        sides.append(records)
    result = compare_records(
        *sides,
        allow_different=allow_different,
        tolerance=settings.tolerance or FILE_TOLERANCE,
        counted_tolerances=settings.counted,
    )
    return replace(result, gaps=(*gaps, *result.gaps))
