from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from atlasbench.core.errors import InstallationError, RevisionError
from atlasbench.measure.messages import Failed
from atlasbench.measure.workers import INTERFACE_VERSION, WorkerCallError
from atlasbench.measure.worktree import Revision
from atlasbench.sweep.gate_sides import check_serves

PACKAGE = Path("/tmp/source/atlasbench")
REVISION = Revision(name="v1", commit="0123456789abcdef", top=PACKAGE.parent, folder=PACKAGE.parent)
INSTEAD = "Compare record files instead: atlasbench gate --baseline FILES --current FILES."
OLD = f"Revision v1 (0123456789) is too old to take turns with this one. {INSTEAD}"


class FakeSource:
    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def start_worker(self) -> Any:
        if isinstance(self.answer, InstallationError):
            raise self.answer
        return self

    def __enter__(self) -> FakeSource:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def call(self, function: str, *, timeout_s: float) -> Any:
        assert function == "atlasbench.measure.turns:describe_source"
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def describe(version: int = INTERFACE_VERSION, *files: str) -> dict[str, Any]:
    files = files or (str(PACKAGE / "api.py"),)
    return {"interface_version": version, "files": list(files), "versions": {"torch": "2.13.0"}}


def failed(message: str) -> WorkerCallError:
    return WorkerCallError(Failed(kind="", message=message))


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (failed("ModuleNotFoundError: No module named 'atlasbench.measure.turns'"), OLD),
        (InstallationError("ended: ModuleNotFoundError: No module named 'atlasbench.measure'"), OLD),
        (failed("AttributeError: module 'atlasbench.measure.turns' has no attribute 'describe_source'"), OLD),
        (describe(INTERFACE_VERSION - 1), OLD),
        (describe(INTERFACE_VERSION, str(PACKAGE / "api.py"), "/other/atlasbench/recipes.py"), OLD),
        (describe(INTERFACE_VERSION + 1), OLD.replace("too old", "too new")),
        (
            InstallationError("It ended: SyntaxError: invalid syntax"),
            f"Revision v1 (0123456789) cannot take turns with this one (It ended: SyntaxError: invalid syntax). "
            f"{INSTEAD}",
        ),
        (
            InstallationError("It ended: AttributeError: module 'torch' has no attribute 'compiler'"),
            "Revision v1 (0123456789) cannot take turns with this one (It ended: AttributeError: module 'torch' has no "
            f"attribute 'compiler'). {INSTEAD}",
        ),
    ],
    ids=[
        "no turns",
        "no measure",
        "other turns",
        "older",
        "mixed with another source",
        "newer",
        "broken",
        "other torch",
    ],
)
def test_a_revision_that_cannot_serve_is_refused_with_the_way_out(answer: Any, message: str) -> None:
    with pytest.raises(RevisionError) as caught:
        check_serves(FakeSource(answer), REVISION, PACKAGE)

    assert str(caught.value) == message


def test_a_revision_that_speaks_the_same_interface_from_its_own_files_serves_and_tells_its_libraries() -> None:
    assert check_serves(FakeSource(describe()), REVISION, PACKAGE) == {"torch": "2.13.0"}


def test_where_only_own_models_are_compared_the_package_may_be_anywhere() -> None:
    check_serves(FakeSource(describe(INTERFACE_VERSION, "/site-packages/atlasbench/api.py")), REVISION, None)
