"""`atlasbench gate`: a comparison whose verdict is an exit code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from atlasbench.core.recipe import SweepRequest
    from atlasbench.sweep.gate import GateOptions, Listener
    from atlasbench.sweep.run import Progress

REGRESSION = 1  # exit code of a bad verdict


def gate(
    context: typer.Context,
    baseline: Annotated[
        list[Path], typer.Option("--baseline", help="Records of how it was: files or folders; several.")
    ] = [],  # noqa: B006 (Typer reads the default, nobody changes it)
    current: Annotated[
        list[Path], typer.Option("--current", help="Records of how it is: files or folders; several.")
    ] = [],  # noqa: B006
    against: Annotated[
        str | None, typer.Option("--against", help="Git revision to take turns with, e.g. main.", metavar="REVISION")
    ] = None,
    base_python: Annotated[
        Path | None, typer.Option("--base-python", help="Interpreter of that revision; this one otherwise.")
    ] = None,
    relative_to: Annotated[
        str | None,
        typer.Option("--relative-to", help="Model to take turns with: throughput relative to it.", metavar="MODEL"),
    ] = None,
    write: Annotated[Path | None, typer.Option("--write", help="Store these ratios in a file.")] = None,
    ratio: Annotated[Path | None, typer.Option("--ratio", help="Compare with a file of stored ratios.")] = None,
    tolerance: Annotated[
        str | None,
        typer.Option(
            "--tolerance",
            help="Change of the time that still is the same; 3% in turns, 10% of files and stored ratios by default.",
        ),
    ] = None,
    max_time: Annotated[
        float | None,
        typer.Option("--max-time", help="Seconds of turns for a workload and pass, in place of 120 s or 24 pairs."),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Fail where it cannot be told, too.")] = False,
    seed: Annotated[int | None, typer.Option("--seed", help="Of the order of turns; another one each time.")] = None,
    allow_different: Annotated[
        list[str],
        typer.Option(
            "--allow-different",
            help="Fields of the environment of records that need not agree; several.",
            metavar="FIELD",
        ),
    ] = [],  # noqa: B006
    recipe: Annotated[
        Path | None,
        typer.Option("--recipe", help="TOML file with a \\[gate] table; with the workloads, too, if none are named."),
    ] = None,
    reports: Annotated[
        list[str],
        typer.Option("--report", help="Further outputs, e.g. markdown=gate.md; several.", metavar="FORMAT=FILE"),
    ] = [],  # noqa: B006
    output_format: Annotated[
        str, typer.Option("--format", help="table, json, csv, markdown, junit or github.")
    ] = "table",
) -> None:
    """Tell whether models got slower or need more, and end with 1 if they do.

    Give two sets of records (--baseline, --current); or --against REVISION or
    --relative-to MODEL, the options of the gate itself, and after --
    models and options of `atlasbench profile`:

    atlasbench gate --against main --max-time 60 -- atlas_s --res 1024

    Ends with 0 if nothing got worse, also where it cannot be told
    (with --strict: 1); with 2 if the input is wrong or the sides cannot be
    compared; with 3 if nothing could be measured.
    """
    from atlasbench.cli.comparing import check_gate_format, compare_files, show_gate
    from atlasbench.cli.gate_input import check_ways, read_outputs, read_settings, read_work, write_outputs
    from atlasbench.cli.output import say
    from atlasbench.sweep.gate import gate_against
    from atlasbench.sweep.gate_ratios import load_ratios
    from atlasbench.sweep.gate_relative import gate_ratios
    from atlasbench.sweep.gate_settings import check_budgets

    check_gate_format(output_format)
    check_ways(context)
    settings = read_settings(recipe, tolerance, max_time)
    outputs = read_outputs(reports)
    if against is None and relative_to is None:
        result = compare_files(baseline, current, settings, allow_different=allow_different)
    else:
        request, options = read_work(context, recipe, settings, seed)
        if relative_to is not None and write is not None:
            _store_ratios(relative_to, request, options, write, output_format)
            return
        with _listening() as listen:
            if relative_to is not None and ratio is not None:
                result = gate_ratios(load_ratios(ratio), relative_to, request, options, on_progress=listen)
            else:
                result = gate_against(str(against), request, options, python=base_python, on_progress=listen)
    result = check_budgets(result, settings.budgets)
    show_gate(result, output_format, strict=strict)
    write_outputs(result, outputs, strict=strict)
    if result.is_bad(strict):
        raise typer.Exit(REGRESSION)
    if result.verdict == "cannot tell":
        say("warning: not everything can be told; --strict makes that a failure")


def _store_ratios(model: str, request: SweepRequest, options: GateOptions, path: Path, output_format: str) -> None:
    from atlasbench.analysis.gate.constants import RATIO_HALF_WIDTH
    from atlasbench.cli.output import check_format, say, show_rows
    from atlasbench.sweep.gate_ratios import check_writable_file, label_stored, write_ratios
    from atlasbench.sweep.gate_relative import measure_ratios

    check_format(output_format)
    check_writable_file(path)
    with _listening() as listen:
        found = measure_ratios(model, request, options, on_progress=listen)
    write_ratios(path, found.file)
    rows = [
        {
            "workload": label_stored(item),
            "ratio": f"{item.ratio:.3f}",
            "interval": f"{item.low:.3f} to {item.high:.3f}",
            "pairs": item.pairs,
        }
        for item in found.file.ratios
    ]
    show_rows(rows, output_format, title=f"Throughput relative to {model}: measured in turns")
    for item in found.file.ratios:
        if item.doubt > 1.1 * RATIO_HALF_WIDTH:
            say(
                f"warning: {label_stored(item)}: known to {100 * item.doubt:.1f} % and not to 1 %, and a comparison "
                "allows as much more; give more time (--max-time), or a quieter machine"
            )
    for line in found.failures:
        say(f"no ratio for {line}")
    say(f"Ratios: {path}")


@contextmanager
def _listening() -> Iterator[Listener]:
    """Progress on stderr: a line that changes on a terminal, a line for each new thing elsewhere."""
    from atlasbench.analysis.gate.matching import label_workload
    from atlasbench.cli.output import is_terminal, page_width, say

    last = ""

    def listen(progress: Progress) -> None:
        nonlocal last
        place = f"[{progress.index + 1}/{progress.total}] {label_workload(progress.workload)}"
        if is_terminal():
            typer.echo(f"\r\x1b[K{place}: {progress.phase}"[: page_width() + 3], nl=False, err=True)
            return
        now = f"{place}: {progress.phase.partition(',')[0]}"
        if now != last:
            say(f"{now} ...")
        last = now

    try:
        yield listen
    finally:
        if is_terminal():
            typer.echo("\r\x1b[K", nl=False, err=True)
