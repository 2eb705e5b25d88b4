"""Real gate verdicts on a disturbed machine: equal sides, and a current side with 10 % more work.

    python benchmarks/gate_trials.py --equal 50 --more 20

A program beside it takes a core of the machine at random for random moments all the time. Every trial has fresh
workers and the gate's own loop. Prints the Markdown table of `docs/gate.md`, and says each trial on stderr.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from atlasbench.analysis.gate.constants import TOLERANCE
from atlasbench.core.protocol import QUICK
from atlasbench.core.resolution import Resolution
from atlasbench.core.workload import Workload
from atlasbench.measure.machine import default_threads, usable_cores
from atlasbench.measure.workers import WorkerServer
from atlasbench.sweep.gate_dealers import PairDealer, Terms
from atlasbench.sweep.gate_sides import Contender
from atlasbench.sweep.paired import PairedResult, judge_paired

BLOCKS = 20  # and 22 are 10 % more
MODELS = f"""
from timm.models.vision_transformer import VisionTransformer


def _build(depth):
    return VisionTransformer(img_size=64, patch_size=16, embed_dim=192, num_heads=3, depth=depth, num_classes=10)


def base():
    return _build({BLOCKS})


def more():
    return _build({BLOCKS * 11 // 10})
"""


def disturb(cores: tuple[int, ...], seed: int) -> None:
    """Take a random core for 1 to 200 ms, rest for 1 to 1000 ms, for ever."""
    rng = random.Random(seed)
    while True:
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, {rng.choice(cores)})
        until = time.monotonic() + rng.uniform(0.001, 0.2)
        while time.monotonic() < until:
            pass
        time.sleep(rng.uniform(0.001, 1.0))


def run_trial(server: WorkerServer, path: Path, current: str, seed: int) -> PairedResult:
    """One verdict on `current` against `base`."""
    base, other = (
        Contender(
            source=server,
            workload=Workload(model=f"{path}:{name}", resolution=Resolution(64, 64)),
            is_current=is_current,
        )
        for name, is_current in (("base", False), (current, True))
    )
    terms = Terms(protocol=QUICK, threads=default_threads())
    return judge_paired(PairDealer(base, other, terms), rng=random.Random(seed), tolerance=TOLERANCE)


def main() -> None:
    """Run the trials and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--equal", type=int, default=50, help="trials with equal sides")
    parser.add_argument("--more", type=int, default=20, help="trials with 10 %% more work on the current side")
    arguments = parser.parse_args()
    thief = multiprocessing.get_context("spawn").Process(target=disturb, args=(usable_cores(), 1), daemon=True)
    thief.start()
    print(
        "| current side | trials | slower | same | cannot tell | faster | pairs, median | change, lowest to highest |"
    )
    print("|:---|---:|---:|---:|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as folder, WorkerServer() as server:
        path = Path(folder) / "trial_models.py"
        path.write_text(MODELS, encoding="utf-8")
        for title, current, trials in (
            ("the same", "base", arguments.equal),
            ("10 % more work", "more", arguments.more),
        ):
            results = []
            for trial in range(trials):
                result = run_trial(server, path, current, seed=trial)
                results.append(result)
                print(
                    f"{title} {trial + 1}/{trials}: {result.verdict} {result.change:+.1%}", file=sys.stderr, flush=True
                )
            print(_row(title, results), flush=True)
    thief.kill()


def _row(title: str, results: list[PairedResult]) -> str:
    verdicts = Counter(result.verdict.value for result in results)
    pairs = sorted(_pairs(result) for result in results)[len(results) // 2]
    changes = sorted(result.change for result in results)
    counts = " | ".join(str(verdicts[name]) for name in ("slower", "same", "cannot tell", "faster"))
    return f"| {title} | {len(results)} | {counts} | {pairs} | {changes[0]:+.1%} to {changes[-1]:+.1%} |"


def _pairs(result: PairedResult) -> int:
    again = result.confirmation
    return len(result.first.differences) + (len(again.differences) if again else 0)


if __name__ == "__main__":
    main()
