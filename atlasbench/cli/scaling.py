"""`atlasbench scaling`: which growth law holds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

_CLAIM_FAILED = 1


def scaling(
    sources: Annotated[
        list[Path] | None, typer.Argument(help="Folders or files of records.", show_default="results")
    ] = None,
    machine: Annotated[
        str | None, typer.Option("--machine", help="Judge what was measured on this machine only, e.g. H200.")
    ] = None,
    output_format: Annotated[str, typer.Option("--format", help="table, json, csv or markdown.")] = "table",
) -> None:
    """Judge how FLOPs, memory and latency grow, against what each model claims; exit code 1 if a claim fails."""
    from atlasbench.analysis.scaling.judge import judge_scaling
    from atlasbench.analysis.scaling.verdict import has_failed, summarize_verdicts
    from atlasbench.analysis.series import choose_machine, split_machines
    from atlasbench.cli.output import check_format, page_width, say, show_rows, show_table
    from atlasbench.report.layout import wrap_words
    from atlasbench.report.scaling_table import build_scaling_table, scaling_rows
    from atlasbench.store.jsonl import describe_unreadable, load_records

    check_format(output_format)
    records, unreadable = load_records(sources or [Path("results")])
    if unreadable:
        say(f"warning: {describe_unreadable(unreadable)}")
    if machine is not None:
        records = list(choose_machine(split_machines(records), machine).records)
    verdicts = judge_scaling(records)
    if output_format in ("json", "csv"):
        show_rows(scaling_rows(verdicts), output_format, title="")
        say(summarize_verdicts(verdicts))
    else:
        if verdicts:
            show_table(build_scaling_table(verdicts), output_format)
        typer.echo(f"\n{wrap_words(summarize_verdicts(verdicts), page_width())}")
    if has_failed(verdicts):
        raise typer.Exit(_CLAIM_FAILED)
