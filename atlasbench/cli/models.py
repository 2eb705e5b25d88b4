"""`atlasbench models`: what can be loaded."""

from __future__ import annotations

from typing import Annotated

import typer

_COLUMNS = ("name", "params", "family", "what", "mixing", "sizes", "paper", "year")


def models(
    pattern: Annotated[
        str | None,
        typer.Argument(help="Names to show, e.g. 'atlas*' or swin; timm's names are searched too."),
    ] = None,
    output_format: Annotated[str, typer.Option("--format", help="table, json, csv or markdown.")] = "table",
) -> None:
    """List the backbones that can be profiled."""
    from atlasbench.api import LISTED_RESOLUTION, search_models
    from atlasbench.cli.output import check_format, page_width, say, show_rows, show_table
    from atlasbench.report.layout import wrap_words

    check_format(output_format)
    rows, timm_names = search_models(pattern)
    if output_format != "table":
        rows += [dict.fromkeys(_COLUMNS, "") | {"name": name, "family": "timm"} for name in timm_names]
        show_rows(rows, output_format, title="Models")
        return
    if rows:
        from atlasbench.report.model_list import build_model_list

        show_table(build_model_list(rows, str(LISTED_RESOLUTION)))
    if pattern is None:
        say("Any timm name works too: atlasbench models resnet")
    elif timm_names:
        typer.echo(wrap_words(f"From timm: {', '.join(timm_names)}", page_width(), indent="  "))
