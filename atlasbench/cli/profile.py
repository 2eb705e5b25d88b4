"""`atlasbench profile`: the main job."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from atlasbench.cli import flags

if TYPE_CHECKING:
    from atlasbench.core.protocol import Protocol
    from atlasbench.core.recipe import SweepRequest


def profile(
    models: Annotated[
        list[str],
        typer.Argument(help="Names from `atlasbench models`, timm names, or path/to/file.py:function."),
    ],
    resolutions: flags.Resolutions = ["1024"],  # noqa: B006 (Typer reads the default, nobody changes it)
    batches: flags.Batches = ["1"],  # noqa: B006
    drops: Annotated[
        list[str],
        typer.Option("--drop", help="Scale drops, e.g. 2-10 or none; several, each used where it fits."),
    ] = [],  # noqa: B006
    modes: flags.Modes = ["infer"],  # noqa: B006
    dtypes: flags.Dtypes = ["auto"],  # noqa: B006
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1, or meta to count alone.")] = "auto",
    compiled: flags.Compiled = False,
    channels_last: flags.ChannelsLast = False,
    attention: Annotated[
        str, typer.Option("--attention", help="Kernel: auto, math, flash, efficient or cudnn.")
    ] = "auto",
    settings: Annotated[
        list[str],
        typer.Option("--set", help="KEY=VALUE arguments of every model; several.", metavar="KEY=VALUE"),
    ] = [],  # noqa: B006
    patch: Annotated[
        int | None,
        typer.Option("--patch", help="Side of a patch in pixels, of every model: --set patch_size=...", min=1),
    ] = None,
    num_classes: Annotated[
        int | None,
        typer.Option("--num-classes", help="Outputs; each model's own default otherwise.", min=0),
    ] = None,
    out: flags.Out = Path("results"),
    no_save: flags.NoSave = False,
    resume: flags.Resume = False,
    dry_run: flags.DryRun = False,
    by_module: Annotated[
        bool, typer.Option("--by-module", help="Show where parameters and FLOPs are, and stop.")
    ] = False,
    depth: Annotated[int, typer.Option("--depth", help="Levels of names that --by-module shows.", min=0)] = 2,
    force: flags.Force = False,
    quick: flags.Quick = False,
    cold: flags.Cold = False,
    timeout: flags.Timeout = None,
    protocol_settings: flags.Timing = [],  # noqa: B006
    threads: flags.Threads = None,
    launches: Annotated[
        int, typer.Option("--launches", help="Fresh processes for each workload, one after all the others.", min=1)
    ] = 1,
    output_format: flags.Format = "table",
) -> None:
    """Measure FLOPs, peak memory and throughput of backbones as the image grows.

    Every combination of the lists is one workload. Records go to results/, a file for each run.
    """
    from dataclasses import replace

    from atlasbench.cli.output import check_format
    from atlasbench.cli.sweeping import show_modules, show_plans, show_sweep
    from atlasbench.core.errors import InvalidOptionError
    from atlasbench.sweep.opening import open_sweep

    check_format(output_format)
    request = build_request(
        models=models,
        resolutions=resolutions,
        batches=batches,
        drops=drops,
        modes=modes,
        dtypes=dtypes,
        device=device,
        compiled=compiled,
        channels_last=channels_last,
        attention=attention,
        settings=settings,
        patch=patch,
        num_classes=num_classes,
    )
    protocol = build_protocol(protocol_settings=protocol_settings, quick=quick, cold=cold, timeout=timeout)
    if launches > 1 and device == "meta":
        raise InvalidOptionError("--launches measures again and again, and meta only counts: leave one of them out.")
    # A dry run keeps nothing, and looks at the folder only to leave out what is finished.
    folder = None if no_save or by_module or (dry_run and not resume) else out
    with open_sweep(request, protocol=protocol, out=folder, resume=resume, threads=threads, force=force) as sweep:
        if by_module:
            show_modules(sweep, depth, output_format)
        elif dry_run:
            show_plans(sweep, output_format)
        else:
            show_sweep(replace(sweep, workloads=sweep.workloads * launches), output_format)


def build_request(
    *,
    models: Sequence[str],
    resolutions: Sequence[str],
    batches: Sequence[str],
    drops: Sequence[str],
    modes: Sequence[str],
    dtypes: Sequence[str],
    device: str,
    compiled: bool,
    channels_last: bool,
    attention: str,
    settings: Sequence[str],
    patch: int | None,
    num_classes: int | None,
    **_: Any,
) -> SweepRequest:
    """The workloads that the options of `profile` name; its other options are ignored.

    Raises:
        AtlasBenchError: If a value is wrong.
    """
    from atlasbench.api import with_num_classes
    from atlasbench.cli import options
    from atlasbench.core.recipe import SweepRequest
    from atlasbench.core.workload import AttentionBackend, Dtype, MemoryFormat, Mode

    return SweepRequest(
        models=tuple(models),
        resolutions=options.read_resolutions(resolutions),
        batch_sizes=options.read_integers("--batch", batches),
        scale_drops=options.read_scale_drops(drops),
        modes=options.read_words("--mode", modes, Mode),
        dtypes=options.read_words("--dtype", dtypes, Dtype),
        device=device,
        compiled=compiled,
        memory_format=MemoryFormat.CHANNELS_LAST if channels_last else MemoryFormat.CONTIGUOUS,
        attention_backend=options.read_words("--attention", [attention], AttentionBackend)[0],
        options=with_num_classes(options.with_patch(options.read_settings("--set", settings), patch), num_classes),
    )


def build_protocol(
    *, protocol_settings: Sequence[str], quick: bool, cold: bool, timeout: float | None, **_: Any
) -> Protocol:
    """The measuring protocol that the options of `profile` name; its other options are ignored.

    Raises:
        InvalidOptionError: If a value is wrong.
    """
    from atlasbench.cli import options

    return options.read_protocol(protocol_settings, quick=quick, cold=cold, timeout_s=timeout)
