"""`atlasbench sweep`: `atlasbench profile`, from a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from atlasbench.cli import flags


def sweep(
    recipe: Annotated[Path, typer.Argument(help="TOML file that names the workloads, e.g. recipes/quick.toml.")],
    resolutions: flags.Resolutions = [],  # noqa: B006 (Typer reads the default, nobody changes it)
    batches: flags.Batches = [],  # noqa: B006
    modes: flags.Modes = [],  # noqa: B006
    dtypes: flags.Dtypes = [],  # noqa: B006
    device: Annotated[
        str | None, typer.Option("--device", help="auto, cpu, cuda, cuda:1, or meta to count alone.")
    ] = None,
    compiled: flags.Compiled = False,
    channels_last: flags.ChannelsLast = False,
    out: flags.Out = Path("results"),
    no_save: flags.NoSave = False,
    resume: flags.Resume = False,
    dry_run: flags.DryRun = False,
    force: flags.Force = False,
    quick: flags.Quick = False,
    timeout: flags.Timeout = None,
    protocol_settings: flags.Timing = [],  # noqa: B006
    threads: flags.Threads = None,
    output_format: flags.Format = "table",
) -> None:
    """Measure every workload of a recipe. Options of the command line take the place of its own.

    The head of each recipe says what it costs; --dry-run says it for this machine.
    """
    from dataclasses import replace

    from atlasbench.cli import options
    from atlasbench.cli.output import check_format
    from atlasbench.cli.sweeping import show_plans, show_sweep
    from atlasbench.core.workload import Dtype, MemoryFormat, Mode
    from atlasbench.recipes import load_recipe
    from atlasbench.sweep.opening import open_sweep

    check_format(output_format)
    loaded = load_recipe(recipe)
    given: dict[str, Any] = {
        "resolutions": options.read_resolutions(resolutions),
        "batch_sizes": options.read_integers("--batch", batches),
        "modes": options.read_words("--mode", modes, Mode),
        "dtypes": options.read_words("--dtype", dtypes, Dtype),
        "device": device,
        "compiled": compiled,
        "memory_format": MemoryFormat.CHANNELS_LAST if channels_last else None,
    }
    loaded = replace(loaded, request=replace(loaded.request, **{key: value for key, value in given.items() if value}))
    protocol = options.read_protocol(
        protocol_settings, quick=quick or loaded.quick, timeout_s=timeout, timing=loaded.timing
    )
    # A dry run keeps nothing, and looks at the folder only to leave out what is finished.
    folder = None if no_save or (dry_run and not resume) else out
    with open_sweep(
        loaded.request,
        protocol=protocol,
        out=folder,
        resume=resume,
        threads=threads,
        force=force,
        baseline=loaded.baseline,
    ) as ready:
        if dry_run:
            show_plans(ready, output_format, loaded)
        else:
            show_sweep(ready, output_format, loaded)
