"""One function for each job: the Python surface, and what the command line calls."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from atlasbench.core.errors import InvalidWorkloadError, UnknownModelError
from atlasbench.core.plan import Plan
from atlasbench.core.protocol import QUICK, Protocol
from atlasbench.core.record import Environment, Measurement, Record
from atlasbench.core.resolution import Resolution, parse_resolution
from atlasbench.core.workload import AttentionBackend, Dtype, MemoryFormat, Mode, Workload
from atlasbench.measure.machine import usable_cores
from atlasbench.measure.session import Session
from atlasbench.store.jsonl import (
    RecordFile,
    UnreadableLine,
    check_writable,
    describe_unreadable,
    load_earlier_records,
    load_records,
)
from atlasbench.sweep.estimate import estimate_seconds
from atlasbench.sweep.grid import SweepRequest, expand_request
from atlasbench.sweep.run import (
    NoStore,
    Progress,
    RecordKey,
    find_finished,
    finished_records,
    new_run_id,
    run_sweep,
)

LISTED_RESOLUTION = Resolution(1024, 1024)  # that `search_models` counts parameters for

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
        out: Folder that keeps the records; None to keep them nowhere.
        finished: Earlier records of the folder, by key, that stand for their workloads.
        unreadable: Lines of the folder that are no records.
    """

    workloads: tuple[Workload, ...]
    environment: Environment
    session: Session
    protocol: Protocol
    run_id: str
    out: Path | None = None
    finished: Mapping[RecordKey, Record]
    unreadable: Sequence[UnreadableLine]

    def plan(self, on_progress: Callable[[Progress], None] = lambda _: None) -> list[Plan | Measurement]:
        """Count every workload, without measuring."""
        plans = []
        for index, workload in enumerate(self.workloads):
            on_progress(Progress(index=index, total=len(self.workloads), workload=workload, phase="counting"))
            plans.append(self.session.plan(workload))
        return plans

    def estimate(self, plans: Sequence[Plan | Measurement]) -> list[float]:
        """About how many seconds each workload will take; 0 for what is finished, decided or only counted."""
        seconds = []
        speeds: dict[Dtype, float] = {}
        for workload, plan in zip(self.workloads, plans, strict=True):
            if workload.device_type == "meta" or self.is_finished(workload, plan) or self._is_too_large(plan):
                seconds.append(0.0)
                continue
            if workload.dtype not in speeds:
                speeds[workload.dtype] = self.session.measure_speed(workload.device, workload.dtype.value)
            seconds.append(estimate_seconds(plan, self.protocol, speeds[workload.dtype]))
        return seconds

    def _is_too_large(self, plan: Plan | Measurement) -> bool:
        memory_bytes = self.environment.device_memory_bytes
        return isinstance(plan, Plan) and plan.counts is not None and plan.counts.predicted_peak_bytes > memory_bytes

    def is_finished(self, workload: Workload, plan: Plan | Measurement) -> bool:
        """Whether an earlier record stands for this workload."""
        return find_finished(workload, plan, self.environment, self.finished) is not None

    def run(
        self,
        *,
        plans: Sequence[Plan | Measurement] | None = None,
        on_progress: Callable[[Progress], None] = lambda _: None,
    ) -> Iterator[Record]:
        """Measure, storing each record before it is given out; earlier records that stand are given out as they are."""
        with RecordFile(self.out, self.run_id) if self.out is not None else nullcontext(NoStore()) as store:
            yield from run_sweep(
                self.workloads,
                self.session,
                store,
                environment=self.environment,
                protocol=self.protocol,
                run_id=self.run_id,
                finished=self.finished,
                plans=plans,
                on_progress=on_progress,
            )


@contextmanager
def open_sweep(
    request: SweepRequest,
    *,
    protocol: Protocol | None = None,
    out: Path | None = None,
    resume: bool = False,
    threads: int | None = None,
    force: bool = False,
) -> Iterator[Sweep]:
    """Check everything that can be wrong with a request, and start the processes that will serve it.

    Args:
        request: What to measure.
        protocol: How long to warm up and sample; the defaults when None.
        out: Folder that keeps the records; kept nowhere when None.
        resume: Whether records of the folder stand for workloads that this environment has finished.
        threads: Cores to use on a CPU; all physical cores when None.
        force: Whether to try what is predicted not to fit in memory.

    Raises:
        AtlasBenchError: If a name, a value, the device or the output folder is wrong.
    """
    expand_request(replace(request, device="cpu" if request.device == "auto" else request.device))
    _check_threads(threads)
    earlier, unreadable = load_earlier_records(out) if resume and out is not None else ([], [])
    if out is not None:
        check_writable(out)
    with Session(threads=threads, force=force) as session:
        device, dtypes = session.choose_device(request.device, tuple(dtype.value for dtype in request.dtypes))
        workloads = tuple(expand_request(replace(request, device=device, dtypes=tuple(map(Dtype, dtypes)))))
        for workload in _one_of_each_model(workloads):
            session.check_model(workload)
        yield Sweep(
            workloads=workloads,
            environment=session.probe_environment(device),
            session=session,
            protocol=protocol or Protocol(),
            run_id=new_run_id(),
            out=out,
            finished=finished_records(earlier, protocol or Protocol(), force=force),
            unreadable=unreadable,
        )


def _one_of_each_model(workloads: Sequence[Workload]) -> Iterable[Workload]:
    """The first workload of every model and scale drop: names and options are right or wrong at any size."""
    firsts: dict[tuple[str, str], Workload] = {}
    for workload in workloads:
        firsts.setdefault((workload.model, workload.scale_drop), workload)
    return firsts.values()


def _check_threads(threads: int | None) -> None:
    cores = len(usable_cores())
    if threads is not None and not 1 <= threads <= cores:
        raise InvalidWorkloadError(f"threads must be 1 to {cores}, the cores this process may use, got {threads}.")


def profile(
    models: str | Sequence[str],
    *,
    resolutions: int | str | Sequence[int | str | Sequence[int] | Resolution] = 1024,
    batch_sizes: int | Sequence[int] = 1,
    scale_drops: str | Sequence[str] = (),
    modes: str | Sequence[str] = "infer",
    dtypes: str | Sequence[str] = "auto",
    device: str = "auto",
    compiled: bool = False,
    channels_last: bool = False,
    attention_backend: str = "auto",
    options: Mapping[str, Any] | None = None,
    num_classes: int | None = None,
    quick: bool = False,
    protocol: Protocol | None = None,
    threads: int | None = None,
    force: bool = False,
    out: str | Path | None = None,
    resume: bool = False,
) -> list[Record]:
    """Measure every combination of models, resolutions, batch sizes, scale drops, modes and dtypes.

    Each of these takes one value or several.

    Args:
        models: Names of `atlasbench models`, timm names, or `path/to/file.py:function`.
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
        quick: Whether to take a fifth of the time, with wider intervals.
        protocol: How long to warm up and sample, in place of `quick`; the defaults when None.
        threads: Cores to use on a CPU; all physical cores when None.
        force: Whether to try what is predicted not to fit in memory.
        out: Folder that keeps the records; kept nowhere when None.
        resume: Whether records of the folder stand for workloads that this environment has finished.

    Returns:
        One record per workload, in order.

    Raises:
        AtlasBenchError: If a name, a value, the device or the output folder is wrong. Nothing was measured then.
    """
    request = SweepRequest(
        models=_several(models),
        resolutions=tuple(parse_resolution(resolution) for resolution in _several(resolutions)),
        batch_sizes=_several(batch_sizes),
        scale_drops=_several(scale_drops),
        modes=tuple(_word(Mode, mode, "mode") for mode in _several(modes)),
        dtypes=tuple(_word(Dtype, dtype, "dtype") for dtype in _several(dtypes)),
        device=device,
        compiled=compiled,
        memory_format=MemoryFormat.CHANNELS_LAST if channels_last else MemoryFormat.CONTIGUOUS,
        attention_backend=_word(AttentionBackend, attention_backend, "attention backend"),
        options=with_num_classes(options or {}, num_classes),
    )
    protocol = protocol or (QUICK if quick else Protocol())
    folder = None if out is None else Path(out)
    with open_sweep(request, protocol=protocol, out=folder, resume=resume, threads=threads, force=force) as sweep:
        _warn_of(sweep.unreadable)
        return list(sweep.run())


def _several(values: Any) -> tuple[Any, ...]:
    return (values,) if isinstance(values, str | int) else tuple(values)


def with_num_classes(options: Mapping[str, Any], num_classes: int | None) -> dict[str, Any]:
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
        raise InvalidWorkloadError(f"{word!r} is no {what}: write one of {words}.") from None


def load_results(*sources: str | Path) -> pd.DataFrame:
    """Read records from files and folders, as one row per record with the tidy columns, oldest first.

    Lines that are no records are skipped with a warning.

    Raises:
        RecordsError: If a path is not there, no line can be read, or a newer version wrote one.
    """
    from atlasbench.analysis.frame import build_frame

    records, unreadable = load_records([Path(source) for source in sources])
    _warn_of(unreadable)
    return build_frame(records)


def _warn_of(unreadable: Sequence[UnreadableLine]) -> None:
    if unreadable:
        warnings.warn(describe_unreadable(unreadable), stacklevel=3)


def probe_environment(device: str = "auto") -> Environment:
    """What this machine, a device of it and the installed versions are.

    Raises:
        DeviceError: If the device is not there.
    """
    with Session() as session:
        return session.probe_environment(session.choose_device(device, ())[0])


def search_models(pattern: str | None = None) -> tuple[list[dict[str, Any]], list[str]]:
    """Built-in backbones, and timm's names, that match a pattern (`atlas*`, or any part of a name).

    Returns:
        A row for each built-in backbone, parameters counted for an image of `LISTED_RESOLUTION`, and the names of timm
        models (none without a pattern).

    Raises:
        UnknownModelError: If nothing matches.
    """
    from fnmatch import fnmatchcase

    from atlasbench.registry import MODELS

    pattern = pattern.lower() if pattern else None
    wanted = f"*{pattern}*" if pattern and not any(sign in pattern for sign in "*?[") else pattern or "*"
    entries = {name: entry for name, entry in MODELS.items() if fnmatchcase(name, wanted)}
    timm_names: list[str] = []
    with Session() as session:
        if pattern:  # ours are entered in timm, too
            timm_names = [name for name in session.list_timm_models(wanted) if name not in MODELS]
            if not entries and not timm_names:
                raise UnknownModelError(pattern, [*MODELS, *session.list_timm_models("*")])
        params = session.count_params(tuple(entries), LISTED_RESOLUTION)
    rows = [
        {
            "name": name,
            "params": count,
            "family": entry.family,
            "what": entry.summary + (" (ours)" if entry.is_ours else ""),
            "mixing": entry.mixing,
            "sizes": entry.sizes,
            "paper": entry.paper,
            "year": entry.year,
        }
        for (name, entry), count in zip(entries.items(), params, strict=True)
    ]
    return rows, timm_names
