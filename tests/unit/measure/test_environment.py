from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from atlasbench.core.errors import DeviceError
from atlasbench.measure import environment
from atlasbench.measure.device import DeviceFacts, MemorySize
from atlasbench.measure.environment import default_threads, probe_environment, source_revision


def git(folder: Path, *arguments: str) -> None:
    quiet = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    quiet |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    identity = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, env=quiet)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    try:
        git(tmp_path, "init")
    except FileNotFoundError:
        pytest.skip("git is not installed")
    (tmp_path / "source.py").write_text("1\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "first")
    return tmp_path


def test_the_environment_says_where_a_measurement_was_taken() -> None:
    found = probe_environment("cpu", threads=2)
    assert found.machine
    assert found.os
    assert found.processor
    assert found.device == found.processor
    assert found.device_memory_bytes == found.memory_bytes > 2**28
    assert found.driver == ""
    assert found.threads == 2
    assert 1 <= default_threads() <= found.cpu_count
    assert found.versions["torch"] == torch.__version__
    assert found.versions["timm"] == importlib.metadata.version("timm")
    assert {"python", "atlasbench", "numpy", "fvcore"} <= set(found.versions)
    assert "mamba_ssm" not in found.versions or found.versions["mamba_ssm"]


def test_the_environment_can_be_written_as_json_and_is_the_same_twice() -> None:
    first, second = (probe_environment("cpu", threads=1) for _ in range(2))
    assert first == second
    assert json.loads(json.dumps(dataclasses.asdict(first)))["threads"] == 1


def test_meta_has_no_memory() -> None:
    found = probe_environment("meta", threads=1)
    assert found.device == "meta (shapes only)"
    assert found.device_memory_bytes == 0


def test_a_device_that_is_not_there_has_no_environment() -> None:
    with pytest.raises(DeviceError, match="cuda:99 is not there"):
        probe_environment("cuda:99", threads=1)


def test_probing_does_not_import_timm() -> None:
    code = (
        "import sys; from atlasbench.measure.environment import probe_environment; "
        "probe_environment('cpu', 1); print('timm' in sys.modules)"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "False"


def test_a_gpus_facts_go_into_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = SimpleNamespace(
        type="cuda",
        description="Fake GPU",
        memory=lambda: MemorySize(total_bytes=80, free_bytes=40),
        facts=lambda: DeviceFacts(driver="570.1", versions={"cuda": "12.8"}, clocks={"sm_max_mhz": "1980"}),
    )
    monkeypatch.setattr(environment, "open_device", lambda name: gpu)
    found = probe_environment("cuda", threads=1)
    assert (found.device, found.device_memory_bytes, found.driver) == ("Fake GPU", 80, "570.1")
    assert found.versions["cuda"] == "12.8"
    assert found.clocks["sm_max_mhz"] == "1980"


def test_without_nvml_the_driver_is_asked_for_by_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "_run", lambda command, environment=None: "570.1\n570.1")
    assert environment._driver_by_command(SimpleNamespace(type="cuda")) == "570.1"
    assert environment._driver_by_command(SimpleNamespace(type="cpu")) == ""
    monkeypatch.setattr(environment, "_run", lambda command, environment=None: None)
    assert environment._driver_by_command(SimpleNamespace(type="cuda")) == ""


def test_a_clean_checkout_has_a_commit_and_is_not_dirty(checkout: Path) -> None:
    commit, is_dirty = source_revision(checkout)
    assert len(commit) == 40
    assert is_dirty is False


def test_a_changed_file_makes_a_checkout_dirty(checkout: Path) -> None:
    (checkout / "source.py").write_text("2\n")
    assert source_revision(checkout)[1] is True


def test_someone_elses_repository_around_an_installed_copy_is_not_ours(checkout: Path) -> None:
    installed = checkout / "site-packages"
    installed.mkdir()
    assert source_revision(installed) == ("", None)


def test_a_hooks_git_variables_do_not_answer_for_us(checkout: Path, monkeypatch, tmp_path_factory) -> None:
    monkeypatch.setenv("GIT_DIR", str(tmp_path_factory.mktemp("other")))
    assert len(source_revision(checkout)[0]) == 40


def test_a_folder_without_git_has_no_revision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert source_revision(tmp_path) == ("", None)
    monkeypatch.setenv("PATH", "")
    assert source_revision(tmp_path) == ("", None)
