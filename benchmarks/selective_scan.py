"""What our selective scan takes beside a plain loop over time: ratios of times taken in turns, in one run.

    python benchmarks/selective_scan.py
    python benchmarks/selective_scan.py --shape 1x384x4096 --rounds 15 --threads 1

The loop is `selective_scan_reference`: time first, unbound, one fused operator a step. Both get the same float32
tensors on the CPU, laid out as (B, I, L); 8 states. A shape is batch x channels x length. A round times several calls
of each and takes their median. A ratio is the loop's time over ours, the median of all rounds with an interval of at
least 95 % for it; the backward pass alone is the difference of two times of one round.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from itertools import accumulate
from math import comb
from statistics import median

import torch
from torch import Tensor

from atlasbench.models.layers.scan.reference import selective_scan_reference
from atlasbench.models.layers.selective_scan import selective_scan

STATES = 8
SHAPES = (
    *((1, channels, length) for channels in (192, 384) for length in (196, 1024, 4096)),
    *((25, channels, 196) for channels in (192, 320, 384)),  # 25 windows of 14 x 14: MambaVision at 1024 px
)
Shape = tuple[int, int, int]
Scan = Callable[..., Tensor]


def make_inputs(shape: Shape) -> list[Tensor]:
    """u, delta, A, B, C, D and delta_bias as a mixer at initialisation gives them."""
    torch.manual_seed(0)
    batch, channels, length = shape
    decay_rates = -torch.arange(1.0, STATES + 1).repeat(channels, 1)
    weights = [torch.randn(batch, STATES, length) for _ in range(2)]
    inputs = [torch.randn(shape), 0.5 * torch.randn(shape), decay_rates, *weights]
    return [*inputs, torch.ones(channels), torch.zeros(channels)]


def time_forward(scan: Scan, inputs: Sequence[Tensor]) -> float:
    """Seconds of one call without gradients."""
    with torch.no_grad():
        started = time.perf_counter()
        scan(*inputs)
        return time.perf_counter() - started


def time_training(scan: Scan, inputs: Sequence[Tensor]) -> float:
    """Seconds of one call and the gradients to all inputs."""
    leaves = [tensor.clone().requires_grad_() for tensor in inputs]
    grad_y = torch.ones_like(inputs[0])
    started = time.perf_counter()
    scan(*leaves).backward(grad_y)
    return time.perf_counter() - started


def repeat(times: Callable[[Scan, Sequence[Tensor]], float], scan: Scan, inputs: Sequence[Tensor]) -> float:
    """Median of several calls, more of them where one is short."""
    calls = max(1, min(9, 2**20 // inputs[0].numel()))
    return median(times(scan, inputs) for _ in range(calls))


def measure(shape: Shape, rounds: int) -> dict[str, list[tuple[float, float]]]:
    """Times of the loop and of ours, in pairs, for each pass; a first round warms up."""
    inputs = make_inputs(shape)
    pairs: dict[str, list[tuple[float, float]]] = {"forward": [], "forward + backward": [], "backward": []}
    for number in range(1 + rounds):
        order = (selective_scan_reference, selective_scan) if number % 2 else (selective_scan, selective_scan_reference)
        forward = {scan: repeat(time_forward, scan, inputs) for scan in order}
        training = {scan: repeat(time_training, scan, inputs) for scan in order}
        if number:
            loop, ours = selective_scan_reference, selective_scan
            pairs["forward"].append((forward[loop], forward[ours]))
            pairs["forward + backward"].append((training[loop], training[ours]))
            pairs["backward"].append((training[loop] - forward[loop], training[ours] - forward[ours]))
    return pairs


def interval_of_median(values: Sequence[float]) -> tuple[float, float]:
    """Interval of at least 95 % for the median: order statistics, or the range of fewer than 6 values."""
    ordered = sorted(values)
    # The chance that so few values, and no more, lie below the median.
    chances = accumulate(comb(len(ordered), few) / 2 ** len(ordered) for few in range(len(ordered)))
    skip = max(0, sum(chance <= 0.025 for chance in chances) - 1)
    return ordered[skip], ordered[-1 - skip]


def parse_shape(text: str) -> Shape:
    """`1x384x4096` as batch, channels, length."""
    batch, channels, length = (int(number) for number in text.split("x"))
    return batch, channels, length


def main() -> None:
    """Measure and print a line for each shape and pass."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--shape", nargs="+", type=parse_shape, default=SHAPES, metavar="BxIxL")
    parser.add_argument("--rounds", type=int, default=11, help="pairs for each shape and pass")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"torch {torch.__version__}, {options.threads} thread(s), {options.rounds} rounds, {STATES} states")
    print(f"{'batch x channels x length':<26}{'pass':<20}{'loop ms':>9}{'ours ms':>9}{'ratio':>8}  interval")
    for shape in options.shape:
        for name, pairs in measure(shape, options.rounds).items():
            ratios = [loop / ours for loop, ours in pairs]
            low, high = interval_of_median(ratios)
            loop_ms, ours_ms = (1e3 * median(pair[side] for pair in pairs) for side in (0, 1))
            label = "x".join(map(str, shape))
            print(
                f"{label:<26}{name:<20}{loop_ms:>9.2f}{ours_ms:>9.2f}{median(ratios):>8.2f}  {low:.2f} to {high:.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
