"""What the tool itself costs: wall time of a sweep over the time inside its warm-up, timing and memory passes.

    python benchmarks/overhead.py

Runs 12 small workloads on the CPU (about a minute). Start-up, planning, forking, building and storing are the rest.
"""

from __future__ import annotations

import tempfile
import time

import atlasbench

PASSES = ("warmup", "timing", "memory")


def main() -> None:
    """Run the sweep and print the ratio."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        records = atlasbench.profile(
            ["vit_ti", "atlas_ti", "convnext_t"], resolutions=[128, 256], batch_sizes=[1, 2], device="cpu", out=folder
        )
        wall_s = time.perf_counter() - started
    inside_s = sum(record.measurement.phases_s[name] for record in records for name in PASSES)
    print(
        f"{len(records)} workloads: {wall_s:.1f} s wall, {inside_s:.1f} s inside passes, ratio {wall_s / inside_s:.2f}"
    )


if __name__ == "__main__":
    main()
