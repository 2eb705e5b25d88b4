from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from atlasbench.core.errors import RevisionError
from atlasbench.measure.worktree import check_out, top_of_checkout

Git = Callable[..., str]


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """Two commits of one file, the older one tagged `old`, and a hook that would spoil every checkout."""
    folder = tmp_path / "repo"
    (folder / "sub").mkdir(parents=True)
    git(folder, "init", "--quiet", "--initial-branch=main")
    for content in ("first", "second"):
        (folder / "sub" / "file.txt").write_text(content)
        git(folder, "add", ".")
        git(folder, "commit", "--quiet", "--message", content)
    git(folder, "tag", "old", "HEAD~1")
    hook = folder / ".git" / "hooks" / "post-checkout"
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    return folder


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    return subprocess.run(
        ["git", "-C", str(folder), *identity, *arguments], capture_output=True, text=True, check=True
    ).stdout.strip()


def state_of(repo: Path) -> tuple[str, str, str, str]:
    return (
        git(repo, "worktree", "list", "--porcelain"),
        git(repo, "status", "--porcelain"),
        git(repo, "rev-parse", "HEAD"),
        git(repo, "branch", "--all"),
    )


def test_a_revision_has_its_own_files_and_leaves_nothing_behind(repo: Path) -> None:
    before = state_of(repo)

    with check_out("old", repo) as revision:
        assert (revision.top / "sub" / "file.txt").read_text() == "first"
        assert (revision.name, revision.commit) == ("old", git(repo, "rev-parse", "old"))
        assert str(revision) == f"old ({revision.commit[:10]})"

    assert not revision.top.exists()
    assert not revision.top.parent.exists()
    assert state_of(repo) == before


def test_the_folder_of_the_program_has_a_counterpart_that_is_empty_where_the_revision_has_none(repo: Path) -> None:
    (repo / "new").mkdir()

    with check_out("old", repo / "sub") as revision:
        assert revision.folder == revision.top / "sub"
    with check_out("old", repo / "new") as revision:
        assert revision.folder == revision.top / "new"
        assert list(revision.folder.iterdir()) == []


def test_a_folder_that_is_a_file_in_the_revision_is_named(repo: Path) -> None:
    git(repo, "rm", "-r", "--quiet", "sub")
    (repo / "sub").write_text("a file now")
    git(repo, "add", ".")
    git(repo, "commit", "--quiet", "--message", "a file")
    git(repo, "tag", "later")
    git(repo, "reset", "--hard", "--quiet", "old")
    before = state_of(repo)

    with (
        pytest.raises(RevisionError, match="'sub' is no folder in later: start from another one"),
        check_out("later", repo / "sub"),
    ):
        pass

    assert state_of(repo) == before


def test_what_a_killed_program_left_is_removed_and_what_a_living_one_uses_is_not(repo: Path) -> None:
    before = state_of(repo)
    code = (
        "import os, pathlib, sys, time; from atlasbench.measure.worktree import check_out\n"
        "with check_out('old', pathlib.Path(sys.argv[1])) as revision:\n"
        "    print(revision.top, flush=True); time.sleep(100)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(repo)], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        left = Path(other.stdout.readline().strip())
        with check_out("old", repo):
            assert left.exists()
        other.kill()
    assert left.exists()

    with check_out("old", repo):
        assert not left.parent.exists()

    assert state_of(repo) == before


def test_what_is_left_of_a_removal_that_was_killed_is_found_again(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = state_of(repo)
    removed: list[str] = []
    remove = shutil.rmtree

    def note(path: Path, **options: bool) -> None:
        removed.append(path.name)
        remove(path, **options)

    monkeypatch.setattr(shutil, "rmtree", note)
    with check_out("old", repo) as revision:
        holder = revision.top.parent.name

    assert removed == ["source", holder]  # the lock goes last
    assert state_of(repo) == before


def test_a_dirty_tree_stays_as_it_is(repo: Path) -> None:
    (repo / "sub" / "file.txt").write_text("third, not committed")
    (repo / "staged.txt").write_text("staged")
    git(repo, "add", "staged.txt")
    (repo / "untracked.txt").write_text("untracked")
    before = state_of(repo)

    with check_out("main", repo) as revision:
        assert (revision.top / "sub" / "file.txt").read_text() == "second"
        assert not (revision.top / "staged.txt").exists()

    assert state_of(repo) == before
    assert (repo / "sub" / "file.txt").read_text() == "third, not committed"
    assert (repo / "staged.txt").read_text() == "staged"


def test_an_error_inside_cleans_up_too(repo: Path) -> None:
    before = state_of(repo)

    def fail_inside() -> None:
        with check_out("old", repo) as revision:
            left.append(revision.top.parent)
            (revision.top / "left.txt").write_text("by the revision")
            raise ZeroDivisionError

    left: list[Path] = []
    with pytest.raises(ZeroDivisionError):
        fail_inside()

    assert not left[0].exists()
    assert state_of(repo) == before


def test_a_worktree_of_the_user_whose_folder_is_away_is_kept(repo: Path, tmp_path: Path) -> None:
    git(repo, "-c", "core.hooksPath=/dev/null", "worktree", "add", "--quiet", "--detach", str(tmp_path / "theirs"))
    (tmp_path / "theirs").rename(tmp_path / "away")
    before = state_of(repo)

    with check_out("old", repo):
        pass

    assert state_of(repo) == before


def test_the_repository_of_a_hook_that_runs_the_program_is_not_taken_for_this_one(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "index"))

    assert top_of_checkout(repo / "sub") == repo.resolve()


def test_a_checkout_that_the_environment_says_to_trust_is_read(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "core.bare")  # stands for safe.directory, which needs another user
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "x")

    with pytest.raises(RevisionError, match=r"core\.bare"):
        top_of_checkout(repo)


@pytest.mark.parametrize("moment_s", [0.0, 0.02, 0.05, 0.1, 0.3])
@pytest.mark.parametrize("signals", [[signal.SIGINT], [signal.SIGTERM], [signal.SIGINT, signal.SIGINT, signal.SIGTERM]])
def test_a_signal_at_any_moment_leaves_nothing_behind(
    repo: Path, tmp_path: Path, signals: list[signal.Signals], moment_s: float
) -> None:
    for number in range(300):  # so that checking out takes a while
        (repo / f"{number}.bin").write_bytes(os.urandom(2000))
    git(repo, "add", ".")
    git(repo, "commit", "--quiet", "--message", "many files")
    before = state_of(repo)
    code = (
        "import sys, time; from pathlib import Path; from atlasbench.measure.worktree import check_out\n"
        "print('ready', flush=True)\n"
        "with check_out('main', Path(sys.argv[1])):\n    time.sleep(60)"
    )
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(repo)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "TMPDIR": str(temporary)},
    )
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(moment_s)

    for number in signals:
        process.send_signal(number)
        time.sleep(0.01)
    process.communicate(timeout=30)

    assert process.returncode in (128 + signal.SIGTERM, -signal.SIGTERM, -signal.SIGINT)
    assert state_of(repo) == before
    assert list(temporary.iterdir()) == []
    assert list((repo / ".git").glob("worktrees/*")) == []


def test_an_unknown_revision_is_named(repo: Path) -> None:
    with pytest.raises(RevisionError) as caught, check_out("mian", repo):
        pass

    assert str(caught.value) == f"There is no revision 'mian' in {str(repo.resolve())!r}. See `git branch --all`."


def test_a_revision_that_looks_like_an_option_is_no_option(repo: Path) -> None:
    with pytest.raises(RevisionError, match="There is no revision '--all' in "), check_out("--all", repo):
        pass


def test_a_shallow_clone_is_told_to_fetch(repo: Path, tmp_path: Path) -> None:
    git(tmp_path, "clone", "--quiet", "--depth=1", f"file://{repo}", "shallow")

    with pytest.raises(RevisionError) as caught, check_out("old", tmp_path / "shallow"):
        pass

    assert str(caught.value) == (
        f"There is no revision 'old' in {str((tmp_path / 'shallow').resolve())!r}. "
        "This clone is shallow: fetch it first (fetch-depth: 0)."
    )


def test_a_folder_outside_every_checkout_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RevisionError) as caught:
        top_of_checkout(tmp_path)

    assert str(caught.value) == f"{str(tmp_path)!r} is in no git checkout: --against compares revisions of one."


def test_missing_git_is_said(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(repo))

    with pytest.raises(RevisionError) as caught, check_out("main", repo):
        pass

    assert str(caught.value) == "git cannot be started (No such file or directory): --against needs it."
