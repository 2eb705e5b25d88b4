from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from hand_made import ENVIRONMENT, make_measurement, make_record

from atlasbench.analysis.commands import install_commands, reproduce_command
from atlasbench.cli.app import app
from atlasbench.core.protocol import QUICK, Protocol
from atlasbench.core.record import Record
from atlasbench.core.workload import AttentionBackend, Dtype, MemoryFormat, Mode
from atlasbench.sweep import opening
from atlasbench.sweep.grid import expand_request


class StoppedError(Exception):
    """Ends a command where it would begin to work, with what it would do."""

    def __init__(self, request: Any, options: dict[str, Any]) -> None:
        self.workloads = expand_request(request)
        self.protocol: Protocol = options["protocol"]
        self.threads: int | None = options["threads"]


@pytest.fixture
def read_back(monkeypatch: pytest.MonkeyPatch) -> Any:
    """What the real command line makes of a command."""

    @contextmanager
    def open_sweep(request: Any, **options: Any) -> Iterator[None]:
        raise StoppedError(request, options)
        yield

    monkeypatch.setattr(opening, "open_sweep", open_sweep)

    def read(record: Record) -> StoppedError:
        program, *arguments = shlex.split(reproduce_command(record))
        assert program == "atlasbench"
        with pytest.raises(StoppedError) as opened:
            app(arguments, standalone_mode=False)
        return opened.value

    return read


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"model": "atlas_s", "resolution": "768x1536", "scale_drop": "2-2-8", "batch_size": 8},
        {"model": "atlas_s", "scale_drop": "none", "mode": Mode.TRAIN, "dtype": Dtype.PURE_BFLOAT16},
        {"device": "cuda:1", "compiled": True, "memory_format": MemoryFormat.CHANNELS_LAST},
        {"attention_backend": AttentionBackend.MATH, "device": "meta"},
        {"model": "my models/it's.py:build", "options": {"width": 8, "name": "two words", "code": "12"}},
        {"model": 'x; rm -rf ~ `id` $(id) "\n.py:build', "options": {"name": "'; id #"}},
        {"model": "block:msa", "options": {"patch_size": 4}},
        {"options": {"sizes": [8, [2, 4]], "share": 0.25, "flag": True, "nothing": None, "map": {"a": "$HOME"}}},
        {"model": "atlas", "options": {"depths": [2, 2], "embed_dim": 48}},
    ],
)
def test_a_command_read_back_is_the_workload_of_its_record(read_back: Any, fields: dict[str, Any]) -> None:
    record = make_record(**fields)

    assert read_back(record).workloads == [record.workload]


def test_what_follows_from_the_name_the_file_or_the_size_is_not_said() -> None:
    implied = {"timm_name": "vit_base_patch16_224", "img_size": [1024, 1024], "source_sha256": "ab", "patch_size": 32}

    assert reproduce_command(make_record(options=implied)) == (
        "atlasbench profile vit_b --res 1024 --batch 1 --mode infer --dtype float32 --device cpu "
        "--set patch_size=32 --threads 2"
    )


@pytest.mark.parametrize(
    ("protocol", "words"),
    [
        (Protocol(), ""),
        (QUICK, "--quick"),
        (replace(QUICK, min_samples=30), "--quick --timing min_samples=30"),
        (Protocol(half_width=0.01, cold=True), "--cold --timing half_width=0.01"),
        (Protocol(timeout_s=7200.0), "--timeout 7200.0"),
    ],
)
def test_the_protocol_is_said_as_briefly_as_it_can_be(read_back: Any, protocol: Protocol, words: str) -> None:
    record = make_record(measurement=make_measurement(protocol=protocol.changes()))

    assert reproduce_command(record).partition(" --threads 2")[2].strip() == words
    assert read_back(record).protocol == protocol


def test_threads_are_said_only_where_they_decide(read_back: Any) -> None:
    assert read_back(make_record()).threads == ENVIRONMENT.threads
    assert read_back(make_record(device="cuda:0")).threads is None


def test_versions_are_pinned_and_a_build_of_torch_names_its_index() -> None:
    versions = {"python": "3.12.3", "torch": "2.13.0+cu130", "timm": "1.0.31", "cuda": "13.0", "mamba_ssm": "2.2.4"}

    assert install_commands(replace(ENVIRONMENT, versions=versions)) == [
        "git checkout 0123456789abcdef",
        "pip install -e . torch==2.13.0+cu130 timm==1.0.31 mamba-ssm==2.2.4 "
        "--extra-index-url https://download.pytorch.org/whl/cu130",
    ]


def test_what_an_environment_says_is_never_a_command_of_its_own() -> None:
    versions = {"torch": "2.13.0+cpu; id", "timm": "$(id)"}

    checkout, install = install_commands(replace(ENVIRONMENT, git_commit="ff00; id", versions=versions))

    assert shlex.split(checkout) == ["git", "checkout", "ff00; id"]
    assert shlex.split(install) == [
        *("pip", "install", "-e", ".", "torch==2.13.0+cpu; id", "timm==$(id)"),
        *("--extra-index-url", "https://download.pytorch.org/whl/cpu; id"),
    ]


def test_without_a_commit_the_version_of_the_project_is_installed() -> None:
    assert install_commands(replace(ENVIRONMENT, git_commit="")) == [
        "pip install atlasbench==0.1.0 torch==2.11.0 timm==1.0.20"
    ]
