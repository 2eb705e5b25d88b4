"""The program: its commands, and the one place where mistakes become a line on stderr and an exit code."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from atlasbench.cli.env import env
from atlasbench.cli.models import models
from atlasbench.cli.options import ListCommand
from atlasbench.cli.profile import profile
from atlasbench.core.errors import AtlasBenchError

INTERRUPTED = 130


class ErrorHandlingGroup(TyperGroup):
    """Ends a user's mistake with one line and its exit code; anything else keeps its traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command."""
        try:
            return super().invoke(ctx)
        except AtlasBenchError as error:
            typer.echo(f"error: {error}", err=True)
            raise typer.Exit(error.exit_code) from error
        except KeyboardInterrupt as error:
            typer.echo("interrupted", err=True)
            raise typer.Exit(INTERRUPTED) from error
        except Exception as error:
            # Typer's own usage errors, whose class it does not export.
            describe = getattr(error, "format_message", None)
            if describe is None:
                raise
            typer.echo(f"error: {describe()} See `{ctx.command_path} {ctx.invoked_subcommand} --help`.", err=True)
            raise typer.Exit(2) from error


app = typer.Typer(
    cls=ErrorHandlingGroup,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Profile and compare vision backbones for very large images: FLOPs, peak memory, throughput.",
)


def _show_version(wanted: bool) -> None:
    if wanted:
        import atlasbench

        typer.echo(f"atlasbench {atlasbench.__version__}")
        raise typer.Exit


@app.callback()
def main_options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Profile and compare vision backbones for very large images: FLOPs, peak memory, throughput."""


app.command(cls=ListCommand)(profile)
app.command()(models)
app.command()(env)


def main() -> None:
    """Run the program."""
    app()
