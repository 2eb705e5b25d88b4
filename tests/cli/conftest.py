"""Commands in this process, on one fork server for all of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from running import Ended, Run

from atlasbench import api
from atlasbench.cli.app import app
from atlasbench.measure.session import Session
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
