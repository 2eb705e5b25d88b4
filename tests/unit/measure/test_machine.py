from __future__ import annotations

import pytest

from atlasbench.measure import machine


def test_a_control_groups_quota_limits_the_cores(tmp_path) -> None:
    (tmp_path / "cpu.max").write_text("250000 100000\n")
    assert machine.cpu_quota(tmp_path) == 2.5
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert machine.cpu_quota(tmp_path) is None
    assert machine.cpu_quota(tmp_path / "missing") is None


def test_a_version_1_control_groups_quota_is_read_too(tmp_path) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu/cpu.cfs_quota_us").write_text("300000\n")
    (tmp_path / "cpu/cpu.cfs_period_us").write_text("100000\n")
    assert machine.cpu_quota(tmp_path) == 3.0
    (tmp_path / "cpu/cpu.cfs_quota_us").write_text("-1\n")
    assert machine.cpu_quota(tmp_path) is None


def test_a_control_groups_limit_is_the_memory_there_is(tmp_path) -> None:
    (tmp_path / "memory.max").write_text(str(2**30))
    (tmp_path / "memory.current").write_text(str(2**29))
    (tmp_path / "memory.stat").write_text(f"anon 5\ninactive_file {2**28}\n")
    assert machine.memory_of_machine(tmp_path) == (2**30, 2**29 + 2**28)
    (tmp_path / "memory.max").write_text("max")
    assert machine.memory_of_machine(tmp_path)[0] > 2**30


def test_threads_go_to_physical_cores_first(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    for core, siblings in {0: "0,2", 1: "1,3", 2: "0,2", 3: "1,3"}.items():
        folder = tmp_path / f"cpu{core}" / "topology"
        folder.mkdir(parents=True)
        (folder / "thread_siblings_list").write_text(siblings)
    assert machine.one_core_of_each((0, 1, 2, 3), tmp_path) == (0, 1)
    monkeypatch.setattr(machine, "usable_cores", lambda: (0, 1, 2, 3))
    monkeypatch.setattr(machine, "one_core_of_each", lambda cores: (0, 2))
    assert machine.choose_cores(1) == (0,)
    assert machine.choose_cores(3) == (0, 2, 1)
    assert machine.choose_cores(9) == (0, 2, 1, 3)


def test_default_threads_are_physical_cores_within_the_quota(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine.sys, "platform", "linux")
    monkeypatch.setattr(machine, "usable_cores", lambda: tuple(range(16)))
    monkeypatch.setattr(machine, "one_core_of_each", lambda cores: tuple(range(8)))
    monkeypatch.setattr(machine, "cpu_quota", lambda: None)
    assert machine.default_threads() == 8
    monkeypatch.setattr(machine, "cpu_quota", lambda: 3.5)
    assert machine.default_threads() == 3
    monkeypatch.setattr(machine, "cpu_quota", lambda: 0.5)
    assert machine.default_threads() == 1
