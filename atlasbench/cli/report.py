"""`atlasbench report`: everything that records say, as one page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(
    sources: Annotated[
        list[Path] | None, typer.Argument(help="Files of records, or folders of them; results/ by default.")
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="File to write.")] = Path("report.html"),
    machine: Annotated[
        str | None, typer.Option("--machine", help="Only records of this machine: its name, or a part of it.")
    ] = None,
    accuracy: Annotated[
        list[Path],
        typer.Option("--accuracy", help="CSV files of model, resolution, top1, for the pictures; several."),
    ] = [],  # noqa: B006 (Typer reads the default, nobody changes it)
    title: Annotated[str, typer.Option("--title", help="Title of the page.")] = "Vision backbones for large images",
) -> None:
    """Write one HTML page with pictures, tables, verdicts, environments, and how to reproduce each number.

    The page needs no network and no other file.
    """
    from atlasbench.analysis.accuracy import load_paper_accuracy, read_accuracy_csv
    from atlasbench.analysis.series import choose_machine, split_machines
    from atlasbench.cli.output import say
    from atlasbench.core.units import format_bytes
    from atlasbench.report.page.assemble import assemble_page
    from atlasbench.report.page.save import check_place, save_page
    from atlasbench.store.jsonl import describe_unreadable, load_records

    check_place(out)
    given = [point for path in accuracy for point in read_accuracy_csv(path)]
    records, unreadable = load_records(sources or [Path("results")])
    omissions = [f"{describe_unreadable(unreadable)}."] if unreadable else []
    if unreadable:
        say(f"warning: {describe_unreadable(unreadable)}")
    if machine is not None:
        records = list(choose_machine(split_machines(records), machine).records)
    page = assemble_page(records, title=title, accuracy=[*load_paper_accuracy(), *given], omissions=omissions)
    save_page(out, page)
    typer.echo(f"{out}: {format_bytes(out.stat().st_size)}")
