"""`atlasbench compare`: two sets of records beside each other."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def compare(
    base: Annotated[Path, typer.Argument(help="File of records, or a folder of them: what is compared with.")],
    current: Annotated[Path, typer.Argument(help="File of records, or a folder of them: what is judged.")],
    allow_different: Annotated[
        list[str],
        typer.Option(
            "--allow-different",
            help="Fields of the environment that need not agree, e.g. threads; several.",
            metavar="FIELD",
        ),
    ] = [],  # noqa: B006 (Typer reads the default, nobody changes it)
    output_format: Annotated[
        str, typer.Option("--format", help="table, json, csv, markdown, junit or github.")
    ] = "table",
) -> None:
    """Compare two sets of records: what each workload needs and how long it takes.

    Ends with 0 whatever it finds; `atlasbench gate` makes an exit code of the same verdicts.
    """
    from atlasbench.cli.comparing import check_gate_format, compare_files, show_gate
    from atlasbench.sweep.gate_settings import check_budgets, load_gate_settings

    check_gate_format(output_format)
    settings = load_gate_settings(recipe=None)
    result = compare_files([base], [current], settings, allow_different=allow_different)
    show_gate(check_budgets(result, settings.budgets), output_format)
