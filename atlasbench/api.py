"""One function for each job: the Python surface, and what the command line calls."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from atlasbench.core.errors import InvalidWorkloadError, UnknownModelError
from atlasbench.core.protocol import QUICK, Protocol
from atlasbench.core.recipe import SweepRequest
from atlasbench.core.record import Environment, Record
from atlasbench.core.resolution import Resolution, parse_resolution
from atlasbench.core.words import Word, read_word
from atlasbench.core.workload import AttentionBackend, Dtype, MemoryFormat, Mode
from atlasbench.measure.session import Session
from atlasbench.store.jsonl import UnreadableLine, describe_unreadable, load_records
from atlasbench.sweep.opening import open_sweep

if TYPE_CHECKING:
    import pandas as pd

LISTED_RESOLUTION = Resolution(1024, 1024)  # that `search_models` counts parameters for


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
        modes=_words("modes", modes, Mode),
        dtypes=_words("dtypes", dtypes, Dtype),
        device=device,
        compiled=compiled,
        memory_format=MemoryFormat.CHANNELS_LAST if channels_last else MemoryFormat.CONTIGUOUS,
        attention_backend=_words("attention_backend", attention_backend, AttentionBackend)[0],
        options=with_num_classes(options or {}, num_classes),
    )
    protocol = protocol or (QUICK if quick else Protocol())
    folder = None if out is None else Path(out)
    with open_sweep(request, protocol=protocol, out=folder, resume=resume, threads=threads, force=force) as sweep:
        _warn_of(sweep.unreadable)
        return list(sweep.run())


def _several(values: Any) -> tuple[Any, ...]:
    return (values,) if isinstance(values, str | int) else tuple(values)


def _words(argument: str, values: str | Sequence[str], kind: type[Word]) -> tuple[Word, ...]:
    try:
        return tuple(read_word(kind, value) for value in _several(values))
    except InvalidWorkloadError as error:
        raise InvalidWorkloadError(f"{argument}: {error}") from None


def with_num_classes(options: Mapping[str, Any], num_classes: int | None) -> dict[str, Any]:
    """Options with the number of classes among them, if one was given."""
    if num_classes is None:
        return dict(options)
    if num_classes < 0:
        raise InvalidWorkloadError(f"The number of classes must be 0 or more, got {num_classes}.")
    if options.get("num_classes", num_classes) != num_classes:
        raise InvalidWorkloadError(f"The number of classes is given twice: {options['num_classes']} and {num_classes}.")
    return {**options, "num_classes": num_classes}


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
