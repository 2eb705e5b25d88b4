"""Real gate runs on a disturbed machine: a working tree that equals its base, and one with more work.

    python benchmarks/gate_trials.py --out results/published/gate_trials.json

Runs `atlasbench gate --against HEAD` as a user does, on a model in a file of a repository of its own, while a program
beside it takes a random core of the machine for random moments. Prints the Markdown table of `docs/gate.md`; what each
run printed is kept in the file, after every run. Takes 35 s a run, and 100 s where the change is near the tolerance:
let nothing else run meanwhile.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

from atlasbench.analysis.gate.verdicts import GateVerdict
from atlasbench.measure.environment import default_threads, probe_environment
from atlasbench.measure.machine import usable_cores

BLOCKS = 20  # one more is 5 % more work, two more are 10 %
BURST_S = (0.001, 0.2)  # that the program beside the gate keeps a core for
MODEL = """
from timm.models.vision_transformer import VisionTransformer


def build():
    return VisionTransformer(
        img_size=64, patch_size=16, embed_dim=192, num_heads=3, depth={blocks}, num_classes=10
    )
"""
COMMAND = ("gate", "--against", "HEAD", "--format", "json", "--", "net.py:build", "--res", "64", "--device", "cpu")


def disturb(cores: tuple[int, ...], share: float, seed: int) -> None:
    """Take a random core again and again, as long as the program lives that started this.

    Args:
        cores: To choose from.
        share: Of the time that one of them is taken.
        seed: Of the choices.
    """
    rng = random.Random(seed)
    longest_rest_s = sum(BURST_S) * (1 - share) / share
    started_by = os.getppid()
    while os.getppid() == started_by:
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, {rng.choice(cores)})
        until = time.monotonic() + rng.uniform(*BURST_S)
        while time.monotonic() < until:
            pass
        time.sleep(rng.uniform(0, longest_rest_s))


@contextmanager
def disturbed(share: float, seed: int) -> Iterator[None]:
    """A machine with a program that takes a core for a share of the time."""
    thief = multiprocessing.get_context("spawn").Process(target=disturb, args=(usable_cores(), share, seed))
    thief.start()
    try:
        yield
    finally:
        thief.kill()
        thief.join()


def run_gate(folder: Path, blocks: int, seed: int) -> dict[str, Any]:
    """What one run of the gate found for a working tree of so many blocks."""
    (folder / "net.py").write_text(MODEL.format(blocks=blocks), encoding="utf-8")
    started = time.monotonic()
    ended = subprocess.run(
        [sys.executable, "-m", "atlasbench", *COMMAND[:1], "--seed", str(seed), *COMMAND[1:]],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    if ended.returncode not in (0, 1):
        raise SystemExit(f"the gate ended with {ended.returncode}: {ended.stderr}")
    return {
        "more_work": blocks / BLOCKS - 1,
        "exit_code": ended.returncode,
        "seconds": round(time.monotonic() - started, 1),
        "result": json.loads(ended.stdout),
    }


def commit_base(folder: Path) -> None:
    """Make a repository whose only commit has the model of the base."""
    (folder / "net.py").write_text(MODEL.format(blocks=BLOCKS), encoding="utf-8")
    identity = ("-c", "user.name=trial", "-c", "user.email=trial@example.org", "-c", "commit.gpgsign=false")
    for command in (("init", "--quiet"), ("add", "net.py"), (*identity, "commit", "--quiet", "--message", "base")):
        subprocess.run(["git", *command], cwd=folder, check=True)


def render_table(trials: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Rows of the table of `docs/gate.md`."""
    titles = ("current side", "runs", "slower", "same", "cannot tell", "faster", "change shown", "pairs", "time")
    yield f"| {' | '.join(titles)} |"
    yield f"|:---|{'---:|' * (len(titles) - 1)}"
    for more_work in sorted({trial["more_work"] for trial in trials}):
        chosen = [trial for trial in trials if trial["more_work"] == more_work]
        found = [trial["result"]["workloads"][0] for trial in chosen]
        verdicts = Counter(item["verdict"] for item in found)
        order = (GateVerdict.SLOWER, GateVerdict.SAME, GateVerdict.CANNOT_TELL, GateVerdict.FASTER)
        counts = " | ".join(str(verdicts[name]) for name in order)
        measured = [item for item in found if item["change"] is not None]
        changes = [item["change"] for item in measured]
        title = f"{100 * more_work:.0f} % more work" if more_work else "equals the base"
        yield (
            f"| {title} | {len(chosen)} | {counts} | {100 * min(changes):+.1f} to {100 * max(changes):+.1f} % "
            f"| {median(item['pairs'] for item in measured):.0f} | {median(t['seconds'] for t in chosen):.0f} s |"
        )


def main() -> None:
    """Run the trials, keep what they found, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--equal", type=int, default=50, help="runs on a working tree that equals the base")
    parser.add_argument("--more-10", type=int, default=20, help="runs with 10 %% more work")
    parser.add_argument("--more-5", type=int, default=20, help="runs with 5 %% more work")
    parser.add_argument("--share", type=float, default=0.5, help="of the time that a core is taken")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True, help="JSON file for what each run found")
    arguments = parser.parse_args()
    kinds = [BLOCKS] * arguments.equal + [BLOCKS + 2] * arguments.more_10 + [BLOCKS + 1] * arguments.more_5
    random.Random(arguments.seed).shuffle(kinds)  # so that an hour that was special is not that of one kind
    environment = asdict(probe_environment("cpu", default_threads()))
    described = {"environment": environment, "taken_share": arguments.share, "burst_s": BURST_S}
    trials: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name, disturbed(arguments.share, arguments.seed):
        folder = Path(name).resolve()
        commit_base(folder)
        for index, blocks in enumerate(kinds):
            trials.append(run_gate(folder, blocks, seed=arguments.seed + index))
            arguments.out.write_text(json.dumps({**described, "trials": trials}, indent=1) + "\n", encoding="utf-8")
            (item,) = trials[-1]["result"]["workloads"]
            print(
                f"{index + 1}/{len(kinds)}: {blocks / BLOCKS - 1:+.0%} work: {item['verdict']} "
                f"{item['change'] or 0:+.1%} {item['reason']}",
                file=sys.stderr,
                flush=True,
            )
    for line in render_table(trials):
        print(line)


if __name__ == "__main__":
    main()
