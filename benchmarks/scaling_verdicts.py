"""How often `atlasbench scaling` is right about simulated latencies of every law; prints the tables of docs/scaling.md.

    python benchmarks/scaling_verdicts.py [TRIALS]

A model of 16 px patches from 512 px up: a constant (a tenth of the smallest size), layers linear in the tokens, and
attention by the true law, whose share of the largest size is given. Every size deviates by what its interval says, by
what launches of one program differ (1.5 %), and, where the table says so, by kernels that get slower as tensors grow.
Seeded; about five minutes with 1000 trials.
"""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from atlasbench.analysis.scaling.decision import Judgement, decide
from atlasbench.analysis.scaling.quantities import LATENCY_TOLERANCE, RULES, Quantity
from atlasbench.analysis.scaling.samples import Samples
from atlasbench.core.laws import Law

SEED = 20250315
LAUNCHES = 0.015  # relative deviation of launches, docs/measurement.md
SIDES = (512, 1024, 2048, 4096, 8192, 16384)
NOISES = (0.01, 0.03, 0.05, 0.1)
BOUNDS = (Law.LINEAR, Law.MULTI_SCALE)  # claims that can be too slow


@dataclass(frozen=True, kw_only=True)
class Scene:
    """What is simulated.

    Attributes:
        truth: Law of the attention.
        share: Of the largest size, that grows by it.
        noise: Relative standard deviation that the records' intervals say.
        sizes: How many, from 512 px up.
        understated: Real deviation over what the intervals say.
        slowdown: Of the kernels, from the smallest to the largest size: 0.2 makes the largest 1.2 times as slow.
    """

    truth: Law
    share: float
    noise: float
    sizes: int = 6
    understated: float = 1.0
    slowdown: float = 0.0


def simulate(scene: Scene, random: np.random.Generator) -> Samples:
    """One set of records."""
    pixels = np.array([side**2 for side in SIDES[: scene.sizes]], dtype=float)
    tokens = [int(count) // 256 for count in pixels]
    rows = {law: np.array([count * law.per_token(count) for count in tokens]) for law in Law}
    linear = rows.pop(Law.LINEAR)
    own = linear if scene.truth is Law.LINEAR else rows[scene.truth]
    values = scene.share * own / own[-1] + (1 - scene.share) * linear / linear[-1]
    values = values + values[0] / 10
    values *= 1 + scene.slowdown * np.log(pixels / pixels[0]) / math.log(pixels[-1] / pixels[0])
    deviation = scene.understated * math.hypot(scene.noise, LAUNCHES)
    return Samples(
        pixels=pixels,
        values=values * np.exp(random.normal(0, deviation, scene.sizes)),
        errors=np.full(scene.sizes, math.hypot(scene.noise, LATENCY_TOLERANCE)),
        base=np.stack([np.ones(scene.sizes), linear, linear]),
        growth=rows,
    )


def judge(scene: Scene, claim: Law, trials: int) -> Counter[Judgement]:
    """Judgements of a claim on latency."""
    random = np.random.default_rng(SEED)
    rules = RULES[Quantity.LATENCY]
    return Counter(decide(simulate(scene, random), claim, rules).judgement for _ in range(trials))


def table(title: str, scenes: Sequence[tuple[str, Scene, Law, Judgement]], trials: int) -> Iterator[str]:
    """Rows of one kind of scene, a column for each noise: right / wrong / cannot tell, in percent.

    Args:
        title: Above it.
        scenes: Name of the row, scene (its noise is replaced), claim, and the right judgement.
        trials: Of each cell.
    """
    yield f"\n**{title}**\n"
    yield "| truth | claim | sizes | " + " | ".join(f"noise {100 * noise:.0f} %" for noise in NOISES) + " |"
    yield "|:---|:---|---:|" + "---:|" * len(NOISES)
    for name, scene, claim, right in scenes:
        cells = []
        for noise in NOISES:
            counts = judge(replace(scene, noise=noise), claim, trials)
            untold = counts[Judgement.CANNOT_TELL]
            wrong = trials - counts[right] - untold
            cells.append(" / ".join(f"{100 * count / trials:.1f}" for count in (counts[right], wrong, untold)))
        yield f"| {name} | {claim} | {scene.sizes} | {' | '.join(cells)} |"


def true_claims(
    understated: float = 1.0, sizes: Sequence[int] = (4, 5, 6)
) -> Iterator[tuple[str, Scene, Law, Judgement]]:
    """Claims that hold: the law itself."""
    for law in Law:
        for count in sizes:
            scene = Scene(truth=law, share=0.5, noise=0, sizes=count, understated=understated)
            yield f"{law}, 50 %", scene, law, Judgement.CONSISTENT


def false_claims(
    understated: float = 1.0, sizes: Sequence[int] = (4, 5, 6)
) -> Iterator[tuple[str, Scene, Law, Judgement]]:
    """Claims that do not: what grows faster is half or nine tenths of the largest size."""
    for law in (Law.POWER_1_5, Law.QUADRATIC):
        for share in (0.5, 0.9):
            for claim in BOUNDS:
                for count in sizes:
                    scene = Scene(truth=law, share=share, noise=0, sizes=count, understated=understated)
                    yield f"{law}, {100 * share:.0f} %", scene, claim, Judgement.INCONSISTENT


def slow_kernels() -> Iterator[tuple[str, Scene, Law, Judgement]]:
    """Claims that hold, on kernels that lose speed."""
    for slowdown in (0.1, 0.2):
        for law in BOUNDS:
            scene = Scene(truth=law, share=0.5, noise=0, slowdown=slowdown)
            yield f"{law}, kernels {100 * slowdown:.0f} % slower at last", scene, law, Judgement.CONSISTENT


def main() -> None:
    """Print the tables."""
    trials = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    print(f"Right / wrong / cannot tell, in percent of {trials} trials each.")
    tables = (
        ("Claims that hold", true_claims()),
        ("Claims that are too slow", false_claims()),
        ("Kernels that lose speed as tensors grow", slow_kernels()),
        ("Real noise twice what the intervals say: claims that hold", true_claims(2.0, (6,))),
        ("Real noise twice what the intervals say: claims that are too slow", false_claims(2.0, (6,))),
    )
    for title, scenes in tables:
        for line in table(title, list(scenes), trials):
            print(line, flush=True)


if __name__ == "__main__":
    main()
