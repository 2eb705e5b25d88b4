"""`atlasbench env`: what this machine is."""

from __future__ import annotations

from typing import Annotated

import typer


def env(
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1 or meta.")] = "auto",
    output_format: Annotated[str, typer.Option("--format", help="table, json, csv or markdown.")] = "table",
) -> None:
    """Show the machine, the device and the versions that records will carry."""
    from atlasbench.api import probe_environment
    from atlasbench.cli.output import check_format, show_rows
    from atlasbench.report.environment_table import describe_fields

    check_format(output_format)
    show_rows(describe_fields(probe_environment(device)), output_format, title="Environment")
