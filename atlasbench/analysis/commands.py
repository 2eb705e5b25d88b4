"""The command that measures a record again, and what has to be installed for it."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Iterator, Mapping

from atlasbench.core.protocol import QUICK, Protocol
from atlasbench.core.record import Environment, Record
from atlasbench.core.workload import AttentionBackend, MemoryFormat, canonical_json

_APART = ("cold", "timeout_s")  # constants that have an option of their own
_FROM_PIP = ("torch", "timm", "numpy", "fvcore", "triton", "mamba_ssm", "causal_conv1d", "flash_attn")


def reproduce_command(record: Record) -> str:
    """One line for a shell that measures the workload of a record again, in the same way.

    What the model's name, its file or the size imply is left out; what only the machine decides (free memory, clocks)
    cannot be said here.
    """
    workload = record.workload
    words = ["atlasbench", "profile", workload.model, "--res", str(workload.resolution)]
    if workload.scale_drop:
        words += ["--drop", workload.scale_drop]
    words += ["--batch", str(workload.batch_size), "--mode", workload.mode.value, "--dtype", workload.dtype.value]
    words += ["--device", workload.device]
    if workload.settings:
        words += ["--set", *workload.settings]
    if workload.compiled:
        words.append("--compile")
    if workload.memory_format is MemoryFormat.CHANNELS_LAST:
        words.append("--channels-last")
    if workload.attention_backend is not AttentionBackend.AUTO:
        words += ["--attention", workload.attention_backend.value]
    if workload.device_type == "cpu":
        words += ["--threads", str(record.environment.threads)]
    return shlex.join([*words, *_protocol_words(record.measurement.protocol)])


def install_commands(environment: Environment) -> list[str]:
    """Lines for a shell that install this project and its dependencies in the versions of an environment.

    With a commit, they are meant for a checkout of the project. A local version of torch (`2.13.0+cpu`) is on
    PyTorch's own index.
    """
    versions, commit = environment.versions, environment.git_commit
    project = ["-e", "."] if commit else [f"atlasbench=={versions.get('atlasbench', '')}".removesuffix("==")]
    pins = [f"{name.replace('_', '-')}=={versions[name]}" for name in _FROM_PIP if name in versions]
    build = versions.get("torch", "").partition("+")[2]
    index = ["--extra-index-url", f"https://download.pytorch.org/whl/{build}"] if build else []
    checkout = [shlex.join(["git", "checkout", commit])] if commit else []
    return [*checkout, shlex.join(["pip", "install", *project, *pins, *index])]


def _protocol_words(changes: Mapping[str, float]) -> Iterator[str]:
    """Options that give a protocol with these changes; the preset where that leaves less to say."""
    plain, quick = _differences(changes, Protocol()), _differences(changes, QUICK)
    is_quick = len(quick) < len(plain)
    differences = quick if is_quick else plain
    if is_quick:
        yield "--quick"
    if differences.get("cold"):
        yield "--cold"
    if "timeout_s" in differences:
        yield from ("--timeout", canonical_json(differences["timeout_s"]))
    timing = [f"{name}={canonical_json(value)}" for name, value in differences.items() if name not in _APART]
    if timing:
        yield from ("--timing", *timing)


def _differences(changes: Mapping[str, float], preset: Protocol) -> dict[str, float]:
    """Constants that differ from those of a preset; those that only another version knows are kept."""
    wanted = dataclasses.asdict(Protocol()) | dict(changes)
    there = dataclasses.asdict(preset)
    return {name: value for name, value in wanted.items() if name not in there or value != there[name]}
