from __future__ import annotations

import os
from pathlib import Path

import pytest
from hand_made import make_record

from atlasbench.core.errors import OutputError, RecordsError
from atlasbench.store import jsonl
from atlasbench.store.codec import NewerSchemaError, encode_record
from atlasbench.store.jsonl import RecordFile, check_writable, describe_unreadable, load_earlier_records, load_records


def write(folder: Path, run_id: str, *models: str) -> Path:
    with RecordFile(folder, run_id) as file:
        for second, model in enumerate(models):
            file.append(make_record(model, run_id=run_id, time=f"2026-11-21T10:15:{second:02}.000+00:00"))
    return file.path


def models_of(records: list[object]) -> list[str]:
    return [record.workload.model for record in records]  # type: ignore[attr-defined]


def test_each_record_is_one_line_that_is_there_before_the_next_comes(tmp_path: Path) -> None:
    with RecordFile(tmp_path / "new" / "results", "run") as file:
        file.append(make_record("a"))
        assert file.path.read_text() == encode_record(make_record("a")) + "\n"
        file.append(make_record("b"))
        assert file.path.read_text().count("\n") == 2


def test_a_line_is_synced_before_append_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.fstat(descriptor).st_size))

    with RecordFile(tmp_path, "run") as file:
        file.append(make_record())

    assert synced[-1] == file.path.stat().st_size > 0


def test_a_run_without_records_leaves_no_file(tmp_path: Path) -> None:
    with RecordFile(tmp_path, "run"):
        pass

    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_what_was_there_readable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_some = os.write

    def write_half_then_fail(descriptor: int, data: bytes) -> int:
        if len(data) > 1000:
            return write_some(descriptor, data[:1000])
        raise OSError(28, "No space left on device")

    with RecordFile(tmp_path, "run") as file:
        file.append(make_record("a"))
        monkeypatch.setattr(os, "write", write_half_then_fail)
        with pytest.raises(OutputError, match=r"Cannot write '.*run\.jsonl': No space left on device\."):
            file.append(make_record("b"))
        monkeypatch.undo()
        file.append(make_record("c"))

    records, unreadable = load_records([tmp_path])
    assert models_of(records) == ["a", "c"]
    assert unreadable == []


def test_two_runs_never_share_a_file(tmp_path: Path) -> None:
    write(tmp_path, "run", "a")

    with RecordFile(tmp_path, "run") as file, pytest.raises(OutputError, match="File exists"):
        file.append(make_record("b"))


def test_records_of_files_and_folders_come_oldest_first_and_each_file_once(tmp_path: Path) -> None:
    write(tmp_path / "later", "b", "second", "third")
    path = write(tmp_path, "a", "first")

    records, unreadable = load_records([tmp_path, path, tmp_path / "later"])

    assert sorted(models_of(records)) == ["first", "second", "third"]
    assert [record.time for record in records] == sorted(record.time for record in records)
    assert unreadable == []


def test_unreadable_lines_are_skipped_and_told_with_file_and_line(tmp_path: Path) -> None:
    path = write(tmp_path, "run", "a", "b")
    lines = path.read_text().splitlines(keepends=True)
    path.write_text(f"{lines[0]}junk\n\n{lines[1]}{lines[1][:300]}")

    records, unreadable = load_records([path])

    assert models_of(records) == ["a", "b"]
    assert [(line.line_number, line.is_cut) for line in unreadable] == [(2, False), (5, True)]
    assert describe_unreadable(unreadable).startswith(
        f"2 unreadable lines skipped: {path}:2: not JSON (Expecting value at column 1); {path}:5: not JSON"
    )


def test_a_message_names_only_the_first_of_many_unreadable_lines(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text("junk\n" * 10 + encode_record(make_record()) + "\n")

    message = describe_unreadable(load_records([tmp_path])[1])

    assert message.startswith("10 unreadable lines skipped: ")
    assert message.count("x.jsonl:") == 3
    assert message.endswith("; ...")


def test_a_file_that_cannot_be_opened_costs_only_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = write(tmp_path, "bad", "a")
    write(tmp_path, "good", "b")
    read_bytes = Path.read_bytes

    def refuse(path: Path) -> bytes:
        if path == bad:
            raise PermissionError(13, "Permission denied")
        return read_bytes(path)

    monkeypatch.setattr(Path, "read_bytes", refuse)
    records, unreadable = load_records([tmp_path])

    assert models_of(records) == ["b"]
    assert str(unreadable[0]) == f"{bad}: Permission denied"


def test_no_readable_line_is_an_error_that_names_the_first(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text("junk\n")

    with pytest.raises(RecordsError, match=r"No record can be read from '.*': 1 unreadable line skipped: .*x\.jsonl:1"):
        load_records([tmp_path])


def test_no_records_at_all_is_an_error_that_says_how_to_make_some(tmp_path: Path) -> None:
    with pytest.raises(RecordsError, match=r"No records in .*: run `atlasbench profile MODEL --res 1024`"):
        load_records([tmp_path])


def test_a_path_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecordsError, match=r"There is no file or folder '.*nowhere'"):
        load_records([tmp_path / "nowhere"])


def test_one_line_of_a_newer_version_refuses_all_and_names_its_place(tmp_path: Path) -> None:
    path = write(tmp_path, "run", "a")
    with path.open("a") as file:
        file.write('{"schema_version": 7}\n')

    with pytest.raises(NewerSchemaError, match=r"run\.jsonl:2: schema version 7 is newer than \d, "):
        load_records([tmp_path])


@pytest.mark.parametrize("content", [None, "", '{"schema_version":1,"run_id":"2026'], ids=["none", "empty", "cut"])
def test_resuming_goes_on_after_a_kill_before_the_first_whole_line(tmp_path: Path, content: str | None) -> None:
    folder = tmp_path / "results"
    if content is not None:
        folder.mkdir()
        (folder / "run.jsonl").write_text(content)

    records, unreadable = load_earlier_records(folder)

    assert records == []
    assert len(unreadable) == (1 if content else 0)


def test_resuming_from_files_that_hold_no_records_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text("junk\n")

    with pytest.raises(RecordsError, match="No record can be read"):
        load_earlier_records(tmp_path)


def test_trying_a_folder_leaves_no_trace(tmp_path: Path) -> None:
    check_writable(tmp_path / "a" / "b")
    check_writable(tmp_path)

    assert list(tmp_path.iterdir()) == []


def test_trying_a_folder_keeps_what_another_run_put_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    token_hex = jsonl.secrets.token_hex

    def meanwhile(length: int) -> str:
        (tmp_path / "new").mkdir(exist_ok=True)
        (tmp_path / "new" / "other.jsonl").touch()
        return token_hex(length)

    monkeypatch.setattr(jsonl.secrets, "token_hex", meanwhile)
    check_writable(tmp_path / "new")

    assert [path.name for path in (tmp_path / "new").iterdir()] == ["other.jsonl"]


@pytest.mark.parametrize("folder", ["file", "file/below"])
def test_a_file_in_the_way_is_an_error_that_names_the_options(tmp_path: Path, folder: str) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(OutputError, match=r"Cannot write records to '.*file.*': .*\. Give another folder with --out"):
        check_writable(tmp_path / folder)


def test_a_full_disk_is_noticed_before_anything_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fail)

    with pytest.raises(OutputError, match="No space left on device"):
        check_writable(tmp_path)
