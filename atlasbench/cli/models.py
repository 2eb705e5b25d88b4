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
    from atlasbench.cli.output import check_format, say, show_rows

    check_format(output_format)
    rows, timm_names = search_models(pattern)
    if output_format != "table":
        rows += [dict.fromkeys(rows[0] if rows else ("name", "what"), "") | _timm_row(name) for name in timm_names]
    show_rows(rows, output_format, title="Built in")
    if output_format != "table":
        return
    if pattern is None:
        say("Any timm name works too: atlasbench models resnet")
    elif timm_names:
        typer.echo(f"From timm: {', '.join(timm_names)}")


def _timm_row(name: str) -> dict[str, str]:
    return {"name": name, "what": "timm"}
