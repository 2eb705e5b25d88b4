from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from hand_made import make_counts, make_measurement, make_record, timed
from running import Run

import atlasbench
from atlasbench.store.codec import encode_record

HASTY = "--threads 1 --device cpu --timing warmup_window=1 warmup_min_s=0 warmup_max_s=0.2"
NET = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, times, classes):
        super().__init__()
        self.times = times
        self.stem = nn.Conv2d(3, 64, 4, 4)
        self.head = nn.Linear(64, classes)

    def forward(self, x):
        for _ in range(self.times):
            y = self.stem(x)
        return self.head(y.mean((2, 3)))

def one():
    return Net(1, 10)

def other():
    return Net(TIMES, CLASSES)

def sized():
    import sizes
    return Net(1, sizes.classes)
"""


def program(*arguments: str, folder: Path) -> dict[str, Any]:
    """How the program is started from the package in a folder."""
    return {
        "args": [sys.executable, "-m", "atlasbench", *arguments],
        "cwd": folder,
        "env": {**os.environ, "PYTHONPATH": os.pathsep.join((str(folder), str(folder / "lib"))), "COLUMNS": "80"},
        "text": True,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
    }


def gate(folder: Path, command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(**program("gate", *command.split(), folder=folder), check=False, timeout=300)


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", *identity, *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def write_net(folder: Path, *, times: int, classes: int, more: str = "") -> None:
    (folder / "net.py").write_text(NET.replace("TIMES", str(times)).replace("CLASSES", str(classes)) + more)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository of this package: `ancient` has hardly anything of it, `main` has it and a model in a file."""
    folder = tmp_path_factory.mktemp("checkout").resolve()
    git(folder, "init", "--quiet", "--initial-branch=main")
    package = Path(atlasbench.__file__).parent
    (folder / "atlasbench").mkdir()
    shutil.copy(package / "__init__.py", folder / "atlasbench")
    (folder / ".gitignore").write_text("__pycache__/\n")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message", "ancient")
    git(folder, "tag", "ancient")
    shutil.copytree(package, folder / "atlasbench", dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    write_net(folder, times=1, classes=10)
    (folder / "lib").mkdir()
    (folder / "lib" / "sizes.py").write_text("classes = 10\n")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message", "main")
    return folder


@pytest.fixture
def repository(checkout: Path) -> Any:
    """The same, without changes; and it is checked that a test leaves no worktree behind."""
    git(checkout, "checkout", "--quiet", ".")
    yield checkout
    assert len(git(checkout, "worktree", "list").splitlines()) == 1
    assert not list((checkout / ".git").glob("worktrees/*"))


@pytest.mark.slow
def test_counts_of_a_dirty_tree_are_compared_with_a_revision_and_what_is_new_is_listed(repository: Path) -> None:
    write_net(repository, times=1, classes=20, more="\ndef new():\n    return Net(1, 5)\n")
    (repository / "lib" / "sizes.py").write_text("classes = 11\n")  # which the model imports
    before = git(repository, "status", "--porcelain")

    ended = gate(
        repository,
        "--against main --format json --report markdown=gate.md -- net.py:one net.py:other net.py:sized "
        "net.py:new "
        "--res 64 --device meta",
    )

    assert ended.returncode == 1, ended.stderr
    found = json.loads(ended.stdout)
    one, other, sized = found["workloads"]
    assert (one["is_worse"], other["is_worse"], sized["is_worse"]) == (False, True, True)
    changes = {item["name"]: item["current"] - item["base"] for item in other["counted"]}
    assert changes["params"] == 10 * 64 + 10
    (new,) = found["only_current"]
    assert new["label"] == "net.py:new, 64 px, batch 1, infer, float32, meta"
    assert new["counts"]["params"] == 3461
    assert any(note.startswith("Not in the base: net.py:new") for note in found["notes"])
    assert "| net.py:other" in (repository / "gate.md").read_text()
    (repository / "gate.md").unlink()
    assert git(repository, "status", "--porcelain") == before


@pytest.mark.slow
def test_a_slower_model_fails_and_an_equal_one_beside_it_does_not(repository: Path) -> None:
    write_net(repository, times=4, classes=10)

    ended = gate(repository, f"--against main --format json --max-time 30 -- net.py:one net.py:other --res 256 {HASTY}")

    assert ended.returncode == 1, ended.stderr
    one, other = json.loads(ended.stdout)["workloads"]
    assert (one["is_worse"], one["method"]) == (False, "paired turns")
    assert (other["verdict"], other["change"] > 1) == ("slower", True)
    assert "[2/2] net.py:other, 256 px, batch 1, infer, float32: taking turns ..." in ended.stderr


@pytest.mark.slow
def test_a_revision_that_is_too_old_is_named_with_the_way_out(repository: Path) -> None:
    commit = git(repository, "rev-parse", "ancient")[:10]

    ended = gate(repository, "--against ancient -- vit_ti --res 64 --device meta")

    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == (
        f"error: Revision ancient ({commit}) is too old to take turns with this one. "
        "Compare record files instead: atlasbench gate --baseline FILES --current FILES.\n"
    )


@pytest.mark.slow
def test_workloads_come_from_a_recipe_and_the_base_may_have_another_interpreter(repository: Path) -> None:
    (repository / "own.toml").write_text(
        'models = ["net.py:one"]\nresolutions = [64]\ndevice = "meta"\n[gate.budgets."net.py:one"]\nparams = 10\n'
    )

    ended = gate(repository, f"--against main --base-python {sys.executable} --recipe own.toml --format json")

    (repository / "own.toml").unlink()
    assert ended.returncode == 1, ended.stderr
    (one,) = json.loads(ended.stdout)["workloads"]
    assert [item["name"] for item in one["counted"] if item["is_worse"]] == ["params (budget)"]
    assert one["label"] == "net.py:one, 64 px, batch 1, infer, float32, meta"


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["Ctrl-C", "SIGTERM"])
def test_a_signal_ends_it_and_leaves_neither_worktree_nor_process(
    repository: Path, number: signal.Signals, code: int
) -> None:
    process = subprocess.Popen(
        **program("gate", *f"--against main -- net.py:one --res 64 {HASTY}".split(), folder=repository)
    )
    assert process.stderr is not None
    while "taking turns" not in process.stderr.readline():
        assert process.poll() is None
    family = psutil.Process(process.pid).children(recursive=True)
    assert len(git(repository, "worktree", "list").splitlines()) == 2

    process.send_signal(number)
    _, errors = process.communicate(timeout=60)

    assert process.returncode == code
    assert "Traceback" not in errors
    _, alive = psutil.wait_procs(family, timeout=10)
    assert [item for item in alive if item.status() != psutil.STATUS_ZOMBIE] == []


@pytest.mark.slow
def test_ctrl_c_before_the_first_turn_leaves_no_worktree(repository: Path) -> None:
    process = subprocess.Popen(
        **program("gate", "--against", "main", "--", "vit_ti", "--device", "meta", folder=repository)
    )
    while process.poll() is None and len(git(repository, "worktree", "list").splitlines()) == 1:
        time.sleep(0.01)

    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)

    assert process.returncode == 130
    assert "Traceback" not in errors


@pytest.mark.slow
def test_a_ratio_that_was_stored_is_compared_with(run: Run, tmp_path: Path) -> None:
    write_net(tmp_path, times=2, classes=10)
    common = f"gate --relative-to net.py:one net.py:other --res 128 --max-time 3 {HASTY}"

    stored = run(f"{common} --write ratios.json --format json")

    assert stored.code == 0, stored.err
    (row,) = json.loads(stored.out)
    assert 0 < float(row["ratio"]) < 1
    found = run(f"{common} --ratio ratios.json --format json")
    assert found.code == 0, found.err
    (item,) = json.loads(found.out)["workloads"]
    assert (item["method"], item["is_worse"]) == ("stored ratio", False)
    assert [change["current"] - change["base"] for change in item["counted"]] == [0, 0, 0]

    ratios = json.loads((tmp_path / "ratios.json").read_text())
    for end in ("ratio", "low", "high"):
        ratios["ratios"][0][end] *= 3
    (tmp_path / "ratios.json").write_text(json.dumps(ratios))
    slower = run(f"{common} --ratio ratios.json --format json")
    assert slower.code == 1
    assert json.loads(slower.out)["workloads"][0]["verdict"] == "slower"

    missing = run(f"{common.replace('128', '96')} --ratio ratios.json")
    assert missing.code == 2
    assert missing.error == (
        "None of these workloads has a stored ratio. There are: net.py:other, 128 px, batch 1, infer, float32."
    )
    other = run(f"{common.replace('--relative-to net.py:one', '--relative-to net.py:other')} --ratio ratios.json")
    assert other.error == "The stored ratios are relative to net.py:one, not to net.py:other."


@pytest.mark.slow
def test_a_stored_ratio_whose_baseline_runs_no_longer_cannot_be_told_and_never_passes_in_silence(
    run: Run, tmp_path: Path
) -> None:
    write_net(tmp_path, times=1, classes=10)
    common = f"gate --relative-to net.py:one net.py:other --res 64 96 --max-time 3 {HASTY} --strict --format json"
    stored = run(f"{common.replace(' --strict', '')} --write ratios.json")
    assert stored.code == 0, stored.err

    picky = "\nfull = one\ndef one():\n    net = full()\n    net.register_forward_pre_hook(check)\n    return net\n"
    check = "\ndef check(net, inputs):\n    assert inputs[0].shape[-1] != 96, 'not at 96'\n"
    write_net(tmp_path, times=1, classes=10, more=check + picky)
    ended = run(f"{common} --ratio ratios.json")

    assert ended.code == 1, ended.err
    other, lost = json.loads(ended.out)["workloads"]
    assert other["label"] == "net.py:other, 64 px, batch 1, infer, float32"
    assert lost["label"] == "net.py:other, 96 px, batch 1, infer, float32"
    assert lost["verdict"] == "cannot tell"
    assert lost["reason"].startswith("net.py:one cannot run beside it: ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("", "Give one of --baseline and --current, --against, --relative-to."),
        (
            "--against main --relative-to vit_b vit_s",
            "Give one of --baseline and --current, --against, --relative-to, not 2 of them.",
        ),
        ("--baseline a", "--baseline and --current belong together: give both."),
        ("--against main --write x vit_b", "--write belongs to --relative-to: leave it out."),
        ("--against main --allow-different x -- vit_b",
         "--allow-different belongs to --baseline and --current: leave it out."),
        ("--baseline a --current b --seed 3", "--seed belongs to --against and --relative-to: leave it out."),
        ("--baseline a --current b --tolerence 5%", "No such option: --tolerence. See `atlasbench gate --help`."),
        ("--baseline a --current b -- vit_b", "'vit_b' belongs to --against and --relative-to: leave it out."),
        (
            "--relative-to vit_b vit_s",
            "--relative-to needs --write FILE to store ratios, or --ratio FILE to compare with them.",
        ),
        (
            "--against main --tolerance 3 -- vit_b",
            "--tolerance: a tolerance is written 3% or 0.03, over 0 and below 100 %, got '3'.",
        ),
        ("--against main --max-time 0 -- vit_b", "--max-time must be a number of seconds, more than 0, got 0.0."),
        ("--relative-to vit_b vit_s --write x.json --report markdown=x.md",
         "--report belongs to a verdict, and --write gives none: leave it out."),
        ("--against main --report md=x -- vit_b",
         "--report: 'md' is not one of table, json, csv, markdown, junit, github."),
        ("--against main --report markdown -- vit_b",
         "--report: 'markdown' is not FORMAT=FILE, e.g. markdown=gate.md."),
        ("--against main --report markdown=x junit=x -- vit_b",
         "--report: x would be written twice, as markdown and as junit."),
        ("--against main --report markdown=no/x.md -- vit_b", "Cannot write 'no/x.md': its folder is not there."),
        ("--against main --format xml -- vit_b",
         "--format: 'xml' is not one of table, json, csv, markdown, junit, github."),
        ("--against main -- vit_b --res x", "--res: 'x' is not a resolution: write 1024 or 768x1536 (height x width)."),
        ("--against main", "Missing argument 'models'. See `atlasbench gate --help`."),
        ("--relative-to vit_ti atlas_ti --res 64 --device meta --write x.json",
         "--relative-to compares times, and meta only counts: choose another device."),
        ("--relative-to vit_ti vit_ti --res 64 --device cpu --write x.json",
         "Name a model beside vit_ti: its time relative to itself is 1."),
        ("--relative-to atlas_ti vit_ti --res 512 --drop 2-10 none --write x.json",
         "atlas_ti runs with several scale drops at 512 px, and a baseline needs one: give one, or, in a recipe, an "
         "entry and a label of its own to one of them."),
    ],
)  # fmt: skip
def test_bad_usage_is_one_line_that_says_what_is_right(run: Run, arguments: str, message: str) -> None:
    ended = run("gate", *filter(None, [arguments]))

    assert ended.code == 2
    assert ended.error == message


def test_the_gates_own_options_stand_before_the_models(run: Run) -> None:
    assert run("gate --against main -- vit_b --res 64 --max-time 20").error == (
        "--max-time is an option of the gate itself: write it before the models and --."
    )


def test_options_of_models_need_models_beside_a_recipe(run: Run, tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text('models = ["vit_ti"]\nresolutions = [64]\n')

    assert run("gate --against main --recipe r.toml --threads 1").error == (
        "--threads goes with models: name some before it, or leave it out, and the recipe says everything."
    )


def test_an_option_that_only_profile_has_is_unknown(run: Run) -> None:
    assert run("gate --against main -- vit_b --out x").error.startswith("No such option: --out")


def test_outside_a_checkout_there_is_no_revision(run: Run, tmp_path: Path) -> None:
    assert run("gate --against main -- vit_b --res 64").error == (
        f"{str(tmp_path)!r} is in no git checkout: --against compares revisions of one."
    )


def test_in_another_checkout_than_that_of_the_package_only_own_models_can_be_compared(run: Run, tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    package = Path(atlasbench.__file__).resolve().parent

    assert run("gate --against main -- vit_b --res 64").error == (
        f"atlasbench runs from {str(package)!r}, which no revision of {str(tmp_path)!r} would change: install that "
        "checkout with `pip install -e`."
    )
    assert run("gate --against main -- /a/net.py:build --res 64").error == (
        "/a/net.py:build would be the same in every revision: write it relative to this folder."
    )


def write_records(path: Path, *measurements: Any) -> None:
    lines = [
        encode_record(replace(make_record(measurement=item), launch=launch))
        for launch, item in enumerate(measurements, 1)
    ]
    path.write_text("".join(f"{line}\n" for line in lines))


def test_exit_codes_of_two_files_say_what_was_found(run: Run, tmp_path: Path) -> None:
    write_records(tmp_path / "base.jsonl", timed(0.5))
    write_records(tmp_path / "more.jsonl", make_measurement(counts=make_counts(3_000_000_000)))

    unsure = run("gate --baseline base.jsonl --current base.jsonl")
    worse = run("gate --baseline base.jsonl --current more.jsonl")

    assert (unsure.code, worse.code) == (0, 1)
    assert unsure.err == "warning: not everything can be told; --strict makes that a failure\n"
    assert "cannot tell" in unsure.out
    assert "needs more" in worse.out
    assert run("gate --baseline base.jsonl --current base.jsonl --strict").code == 1
    assert run("gate --baseline base.jsonl --current none.jsonl").error == "There is no file or folder 'none.jsonl'."


def test_a_budget_in_pyproject_fails_what_exceeds_it(run: Run, tmp_path: Path) -> None:
    write_records(tmp_path / "base.jsonl", *[timed(0.5 + launch / 1000) for launch in range(5)])
    command = "gate --baseline base.jsonl --current base.jsonl"
    assert run(command).code == 0

    (tmp_path / "pyproject.toml").write_text("[tool.atlasbench.gate.budgets.vit_b]\nparams = 31_000_000\n")
    ended = run(command)

    assert ended.code == 1
    assert "budget" in ended.out
