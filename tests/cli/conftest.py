"""Commands in this process, on one fork server for all of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from running import Ended, Run, Write

from atlasbench import api
from atlasbench.cli.app import app
from atlasbench.core.record import Record
from atlasbench.measure.session import Session
from atlasbench.store.codec import encode_record
from atlasbench.sweep import opening


@pytest.fixture(scope="session")
def session() -> Iterator[Session]:
    with Session(threads=1) as session:
        yield session


@pytest.fixture
def run(session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command in an empty folder, on a page of 80 columns."""

    class Shared:
        def __init__(self, **_: Any) -> None:
            pass

        def __enter__(self) -> Session:
            return session

        def __exit__(self, *_: object) -> None:
            pass

    for module in (api, opening):
        monkeypatch.setattr(module, "Session", Shared)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")

    def run(*arguments: str) -> Ended:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            app([word for argument in arguments for word in argument.split(" ")], prog_name="atlasbench")
        captured = capsys.readouterr()
        code = ended.value.code
        return Ended(code if isinstance(code, int) else 0, captured.out, captured.err)

    return run


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """A file of records under results/, with more lines after them."""

    def write(*records: Record, more: str = "", name: str = "a.jsonl") -> Path:
        folder = tmp_path / "results"
        folder.mkdir(exist_ok=True)
        (folder / name).write_text("".join(encode_record(record) + "\n" for record in records) + more)
        return folder

    return write
