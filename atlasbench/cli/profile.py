"""`atlasbench profile`: the main job."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def profile(
    models: Annotated[
        list[str],
        typer.Argument(help="Names from `atlasbench models`, timm names, or path/to/file.py:function."),
    ],
    resolutions: Annotated[
        list[str], typer.Option("--res", help="Pixels: 1024, or 768x1536 (height x width); several.")
    ] = ["1024"],  # noqa: B006 (Typer reads the default, nobody changes it)
    batches: Annotated[list[str], typer.Option("--batch", help="Images per step; several.")] = ["1"],  # noqa: B006
    drops: Annotated[
        list[str],
        typer.Option("--drop", help="Scale drops, e.g. 2-10 or none; several, each used where it fits."),
    ] = [],  # noqa: B006
    modes: Annotated[list[str], typer.Option("--mode", help="infer, train; several.")] = ["infer"],  # noqa: B006
    dtypes: Annotated[
        list[str],
        typer.Option(
            "--dtype",
            help="auto, float32, bfloat16, float16 (autocast), pure-bfloat16, pure-float16; several.",
        ),
    ] = ["auto"],  # noqa: B006
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1, or meta to count alone.")] = "auto",
    compiled: Annotated[bool, typer.Option("--compile", help="Run under torch.compile.")] = False,
    channels_last: Annotated[bool, typer.Option("--channels-last", help="Channels-last layout.")] = False,
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
    out: Annotated[Path, typer.Option("--out", help="Folder that keeps the records.")] = Path("results"),
    no_save: Annotated[bool, typer.Option("--no-save", help="Keep no records.")] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Skip what this machine has measured before in the folder.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List the workloads with counts and predicted memory, and stop.")
    ] = False,
    by_module: Annotated[
        bool, typer.Option("--by-module", help="Show where parameters and FLOPs are, and stop.")
    ] = False,
    depth: Annotated[int, typer.Option("--depth", help="Levels of names that --by-module shows.", min=0)] = 2,
    force: Annotated[bool, typer.Option("--force", help="Try even what is predicted not to fit in memory.")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="A fifth of the time, wider intervals.")] = False,
    cold: Annotated[bool, typer.Option("--cold", help="Flush caches before every iteration.")] = False,
    timeout: Annotated[
        float | None, typer.Option("--timeout", help="Seconds for one workload; 1800 by default.")
    ] = None,
    protocol_settings: Annotated[
        list[str],
        typer.Option(
            "--timing",
            help="Constants of the method, e.g. min_samples=100; see docs/measurement.md.",
            metavar="KEY=VALUE",
        ),
    ] = [],  # noqa: B006
    threads: Annotated[
        int | None,
        typer.Option("--threads", help="Cores to use on a CPU; all physical cores otherwise.", min=1),
    ] = None,
    output_format: Annotated[str, typer.Option("--format", help="table, json, csv or markdown.")] = "table",
) -> None:
    """Measure FLOPs, peak memory and throughput of backbones as the image grows.

    Every combination of the lists is one workload. Records go to results/, a file for each run.
    """
    from atlasbench.api import with_num_classes
    from atlasbench.cli import options
    from atlasbench.cli.output import check_format
    from atlasbench.cli.sweeping import show_modules, show_plans, show_sweep
    from atlasbench.core.workload import AttentionBackend, Dtype, MemoryFormat, Mode
    from atlasbench.sweep.grid import SweepRequest
    from atlasbench.sweep.opening import open_sweep

    check_format(output_format)
    request = SweepRequest(
        models=models,
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
    protocol = options.read_protocol(protocol_settings, quick=quick, cold=cold, timeout_s=timeout)
    # A dry run keeps nothing, and looks at the folder only to leave out what is finished.
    folder = None if no_save or by_module or (dry_run and not resume) else out
    with open_sweep(request, protocol=protocol, out=folder, resume=resume, threads=threads, force=force) as sweep:
        if by_module:
            show_modules(sweep, depth, output_format)
        elif dry_run:
            show_plans(sweep, output_format)
        else:
            show_sweep(sweep, output_format)
