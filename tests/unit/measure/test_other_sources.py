"""Servers of another source, another interpreter or another folder than this program's."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import atlasbench
from atlasbench.core.errors import InstallationError
from atlasbench.measure.workers import WorkerServer

PACKAGE = Path(atlasbench.__file__).resolve().parent


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source").resolve()
    shutil.copytree(PACKAGE, folder / "atlasbench", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "below").mkdir()
    return folder


@pytest.fixture(scope="module", params=["this interpreter", "another"])
def server(request: pytest.FixtureRequest, source: Path) -> Iterator[WorkerServer]:
    python = None if request.param == "this interpreter" else Path(sys.executable)
    with WorkerServer(sources=[source], python=python, folder=source / "below") as server:
        yield server


def test_workers_import_from_the_source_they_were_given(server: WorkerServer, source: Path) -> None:
    with server.start_worker() as worker:
        files = worker.call("atlasbench.measure.turns:describe_source", timeout_s=60)["files"]

    assert str(source / "atlasbench" / "measure" / "jobs.py") in files
    assert all(Path(file).is_relative_to(source) for file in files)


def test_workers_run_in_the_folder_they_were_given(server: WorkerServer, source: Path) -> None:
    with server.start_worker() as worker:
        assert worker.call("os:getcwd", timeout_s=60) == str(source / "below")


def test_an_interpreter_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InstallationError) as caught:
        WorkerServer(python=tmp_path / "python")

    assert str(caught.value) == f"{str(tmp_path / 'python')!r} cannot be started: No such file or directory."
