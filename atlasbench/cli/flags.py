"""Options that several commands have, each said once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Resolutions = Annotated[list[str], typer.Option("--res", help="Pixels: 1024, or 768x1536 (height x width); several.")]
Batches = Annotated[list[str], typer.Option("--batch", help="Images per step; several.")]
Modes = Annotated[list[str], typer.Option("--mode", help="infer, train; several.")]
Dtypes = Annotated[
    list[str],
    typer.Option("--dtype", help="auto, float32, bfloat16, float16 (autocast), pure-bfloat16, pure-float16; several."),
]
Compiled = Annotated[bool, typer.Option("--compile", help="Run under torch.compile.")]
ChannelsLast = Annotated[bool, typer.Option("--channels-last", help="Channels-last layout.")]
Out = Annotated[Path, typer.Option("--out", help="Folder that keeps the records.")]
NoSave = Annotated[bool, typer.Option("--no-save", help="Keep no records.")]
Resume = Annotated[bool, typer.Option("--resume", help="Skip what this machine has measured before in the folder.")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="List the workloads with counts and predicted memory, and stop.")
]
Force = Annotated[bool, typer.Option("--force", help="Try even what is predicted not to fit in memory.")]
Quick = Annotated[bool, typer.Option("--quick", help="A fifth of the time, wider intervals.")]
Cold = Annotated[bool, typer.Option("--cold", help="Flush caches before every iteration.")]
Timeout = Annotated[float | None, typer.Option("--timeout", help="Seconds for one workload; 1800 by default.")]
Timing = Annotated[
    list[str],
    typer.Option(
        "--timing", help="Constants of the method, e.g. min_samples=100; see docs/measurement.md.", metavar="KEY=VALUE"
    ),
]
Threads = Annotated[
    int | None, typer.Option("--threads", help="Cores to use on a CPU; all physical cores otherwise.", min=1)
]
Format = Annotated[str, typer.Option("--format", help="table, json, csv or markdown.")]
