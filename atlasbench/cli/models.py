"""`atlasbench models`: what can be loaded."""

from __future__ import annotations

from typing import Annotated

import typer


def models(
    pattern: Annotated[
        str | None,
        typer.Argument(help="Names to show, e.g. 'atlas*' or swin; timm's names are searched too."),
    ] = None,
    output_format: Annotated[str, typer.Option("--format", help="table, json, csv or markdown.")] = "table",
) -> None:
    """List the backbones that can be profiled."""
    from atlasbench.api import search_models
    from atlasbench.cli.output import check_format, show_rows

    check_format(output_format)
    rows, timm_names = search_models(pattern)
    show_rows(rows, output_format, title="Built in")
    if output_format == "table":
        shown = f"{len(timm_names)} more from timm" if pattern else "any timm name works too"
        typer.echo(
            f"{shown}: {', '.join(timm_names[:40])}{' ...' if len(timm_names) > 40 else ''}"
            if timm_names
            else f"{shown}: atlasbench models resnet"
        )
