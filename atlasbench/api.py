"""One function for each job: the Python surface, and what the command line calls."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from atlasbench.core.errors import InvalidWorkloadError
from atlasbench.core.plan import Plan
from atlasbench.core.protocol import Protocol
from atlasbench.core.record import Environment, Measurement, Record
from atlasbench.core.resolution import Resolution, parse_resolution
from atlasbench.core.workload import AttentionBackend, Dtype, MemoryFormat, Mode, Workload
from atlasbench.measure.session import Session
from atlasbench.store.jsonl import RecordFile, UnreadableLine, check_writable, load_records
from atlasbench.sweep.grid import SweepRequest, expand_request
from atlasbench.sweep.run import NoStore, Progress, finished_keys, new_run_id, run_sweep

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """A checked request, ready to run: nothing has been measured yet.

    Attributes:
        workloads: What will be measured, in order.
        environment: Where.
        session: Plans and measures.
        protocol: How long to warm up and sample.
        run_id: Names the file of records.
    """

    workloads: tuple[Workload, ...]
    environment: Environment
    session: Session
    protocol: Protocol
    run_id: str

    def plan(self, on_progress: Callable[[Progress], None] = lambda _: None) -> list[Plan | Measurement]:
        """Count every workload, without measuring."""
        plans = []
        for index, workload in enumerate(self.workloads):
            on_progress(Progress(index=index, total=len(self.workloads), workload=workload, phase="counting"))
            plans.append(self.session.plan(workload))
        return plans

    def run(
        self,
        out: Path | None,
        *,
        plans: Sequence[Plan | Measurement] | None = None,
        resume: bool = False,
        on_progress: Callable[[Progress], None] = lambda _: None,
    ) -> Iterator[Record]:
        """Measure, storing each record in a new file of the folder `out` before it is given out."""
        done = finished_keys(existing_records(out)[0]) if resume and out is not None else set()
        with RecordFile(out, self.run_id) if out is not None else nullcontext(NoStore()) as store:
            yield from run_sweep(
                self.workloads,
                self.session,
                store,
                environment=self.environment,
                protocol=self.protocol,
                run_id=self.run_id,
                done=done,
                plans=dict(enumerate(plans)) if plans is not None else None,
                on_progress=on_progress,
            )


@contextmanager
def open_sweep(
    request: SweepRequest,
    *,
    protocol: Protocol | None = None,
    out: Path | None = None,
    threads: int | None = None,
    force: bool = False,
) -> Iterator[Sweep]:
    """Check everything that can be wrong with a request, and start the processes that will serve it.

    Raises:
        AtlasBenchError: If a name, a value, the device or the output folder is wrong.
    """
    expand_request(replace(request, device="cpu" if request.device == "auto" else request.device))
    if out is not None:
        check_writable(out)
    with Session(threads=threads, force=force) as session:
        device = session.choose_device(request.device, tuple(dtype.value for dtype in request.dtypes))
        workloads = tuple(expand_request(replace(request, device=device)))
        checked = set()
        for workload in workloads:
            if (workload.model, workload.scale_drop) not in checked:
                session.check_model(workload)
                checked.add((workload.model, workload.scale_drop))
        yield Sweep(
            workloads=workloads,
            environment=session.probe_environment(device),
            session=session,
            protocol=protocol or Protocol(),
            run_id=new_run_id(),
        )


def existing_records(folder: Path) -> tuple[list[Record], list[UnreadableLine]]:
    """The records in a folder; none where there is no folder or no file of records yet.

    Raises:
        RecordsError: If there are files of records, but no line can be read.
    """
    if not folder.exists() or (folder.is_dir() and not any(folder.rglob("*.jsonl"))):
        return [], []
    return load_records([folder])


def profile(
    models: str | Sequence[str],
    *,
    resolutions: Sequence[int | str | Sequence[int] | Resolution] = (1024,),
    batch_sizes: Sequence[int] = (1,),
    scale_drops: Sequence[str] = (),
    modes: Sequence[str] = ("infer",),
    dtypes: Sequence[str] = ("auto",),
    device: str = "auto",
    compiled: bool = False,
    channels_last: bool = False,
    attention_backend: str = "auto",
    options: dict[str, Any] | None = None,
    num_classes: int | None = None,
    protocol: Protocol | None = None,
    threads: int | None = None,
    out: str | Path | None = None,
) -> list[Record]:
    """Measure every combination of models, resolutions, batch sizes, scale drops, modes and dtypes.

    Args:
        models: One name or several, as `atlasbench models` lists them.
        resolutions: Pixels: numbers, `(height, width)` or `"768x1536"`.
        batch_sizes: Images per step.
        scale_drops: Blocks per stage for models with scales, e.g. `"2-10"` or `"none"`.
        modes: `infer`, `train`, or both.
        dtypes: `auto`, `float32`, `bfloat16`, `float16`, `pure-bfloat16` or `pure-float16`.
        device: `auto`, `cpu`, `cuda`, `cuda:1`, or `meta` to count alone.
        compiled: Whether to run under `torch.compile`.
        channels_last: Whether 4-dimensional tensors are laid out channels last.
        attention_backend: `auto`, `math`, `flash`, `efficient` or `cudnn`.
        options: Arguments of every model that differ from its defaults.
        num_classes: Outputs of every model; each model's own default when None.
        protocol: How long to warm up and sample; the defaults when None.
        threads: Cores to use on a CPU; all physical cores when None.
        out: Folder that keeps the records; kept nowhere when None.

    Returns:
        One record per workload, in order.

    Raises:
        AtlasBenchError: If a name, a value, the device or the output folder is wrong. Nothing was measured then.
    """
    request = SweepRequest(
        models=(models,) if isinstance(models, str) else tuple(models),
        resolutions=tuple(parse_resolution(resolution) for resolution in resolutions),
        batch_sizes=tuple(batch_sizes),
        scale_drops=tuple(scale_drops),
        modes=tuple(_word(Mode, mode, "mode") for mode in modes),
        dtypes=tuple(_word(Dtype, dtype, "dtype") for dtype in dtypes),
        device=device,
        compiled=compiled,
        memory_format=MemoryFormat.CHANNELS_LAST if channels_last else MemoryFormat.CONTIGUOUS,
        attention_backend=_word(AttentionBackend, attention_backend, "attention backend"),
        options=with_num_classes(options or {}, num_classes),
    )
    folder = None if out is None else Path(out)
    with open_sweep(request, protocol=protocol, out=folder, threads=threads) as sweep:
        return list(sweep.run(folder))


def with_num_classes(options: dict[str, Any], num_classes: int | None) -> dict[str, Any]:
    """Options with the number of classes among them, if one was given."""
    if num_classes is None:
        return dict(options)
    if num_classes < 0:
        raise InvalidWorkloadError(f"The number of classes must be 0 or more, got {num_classes}.")
    return {**options, "num_classes": num_classes}


def _word(kind: type[Any], word: str, what: str) -> Any:
    try:
        return kind(word)
    except ValueError:
        words = ", ".join(item.value for item in kind)
        raise InvalidWorkloadError(f"{word!r} is not a {what}: write one of {words}.") from None


def load_results(*sources: str | Path) -> pd.DataFrame:
    """Read records from files and folders, as one row per record with the tidy columns.

    Raises:
        RecordsError: If a path is not there, or no line can be read.
    """
    from atlasbench.analysis.frame import build_frame

    return build_frame(load_records([Path(source) for source in sources])[0])


def probe_environment(device: str = "auto") -> Environment:
    """What this machine, a device of it and the installed versions are.

    Raises:
        DeviceError: If the device is not there.
    """
    with Session() as session:
        return session.probe_environment(session.choose_device(device, ()))


def search_models(pattern: str | None = None) -> tuple[list[dict[str, Any]], list[str]]:
    """Built-in backbones, and timm's names, that match a pattern (`atlas*`, or any part of a name).

    Returns:
        A row for each built-in backbone, and the names of timm models (none without a pattern).
    """
    from fnmatch import fnmatch

    from atlasbench.registry import MODELS

    wanted = f"*{pattern}*" if pattern and not any(sign in pattern for sign in "*?[") else pattern or "*"
    rows = [
        {
            "name": name,
            "what": entry.summary + (" (ours)" if entry.is_ours else ""),
            "mixing": entry.mixing,
            "sizes": entry.sizes,
            "paper": f"{entry.paper}, {entry.year}",
        }
        for name, entry in MODELS.items()
        if fnmatch(name, wanted)
    ]
    if not pattern:
        return rows, []
    with Session() as session:
        return rows, session.list_timm_models(wanted)
