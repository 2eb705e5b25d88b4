"""The program: its commands, and the one place where mistakes become a line on stderr and an exit code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from atlasbench.cli.compare import compare
from atlasbench.cli.env import env
from atlasbench.cli.gate import gate
from atlasbench.cli.models import models
from atlasbench.cli.options import ListCommand
from atlasbench.cli.output import INTERRUPTED
from atlasbench.cli.plot import plot
from atlasbench.cli.profile import profile
from atlasbench.cli.report import report
from atlasbench.cli.scaling import scaling
from atlasbench.cli.sweep import sweep
from atlasbench.core.errors import AtlasBenchError

BAD_USAGE = 2


class ErrorHandlingGroup(TyperGroup):
    """Ends a user's mistake with one line and its exit code; anything else keeps its traceback."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read what stands before the command's name."""
        if not args:
            return super().parse_args(ctx, args)  # which shows the help
        with _one_line_errors(ctx):
            return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Run a command."""
        with _one_line_errors(ctx):
            return super().invoke(ctx)


@contextmanager
def _one_line_errors(ctx: Any) -> Iterator[None]:
    try:
        yield
    except AtlasBenchError as error:
        _say_error(str(error))
        raise typer.Exit(error.exit_code) from error
    except KeyboardInterrupt as error:
        typer.echo("interrupted", err=True)
        raise typer.Exit(INTERRUPTED) from error
    except Exception as error:
        # Typer's own usage errors, whose class it does not export.
        describe = getattr(error, "format_message", None)
        if describe is None:
            raise
        command = " ".join(filter(None, (ctx.command_path, ctx.invoked_subcommand)))
        _say_error(f"{describe().removesuffix('.')}. See `{command} --help`.")
        raise typer.Exit(BAD_USAGE) from error


def _say_error(message: str) -> None:
    # Messages of libraries and of users' own files may have several lines.
    lines = (line.strip() for line in message.splitlines())
    typer.echo(f"error: {' '.join(filter(None, lines))}", err=True)


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
app.command(cls=ListCommand)(sweep)
app.command(cls=ListCommand)(plot)
app.command(cls=ListCommand)(report)
app.command()(scaling)
app.command(cls=ListCommand)(compare)
app.command(
    cls=ListCommand,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    options_metavar="[OPTIONS] [-- MODELS... [OPTIONS OF PROFILE]]",
)(gate)
app.command()(models)
app.command()(env)


def main() -> None:
    """Run the program."""
    app()
