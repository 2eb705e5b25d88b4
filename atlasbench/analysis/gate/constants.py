"""The one place of the gate's constants, each with its origin; `docs/gate.md` shows what they promise."""

from __future__ import annotations

from collections.abc import Mapping

# Turns, taken in a worker.
TURN_S = 0.010  # counted iterations: long beside the clock's cost, short beside bursts of other programs' work
DISCARDED_S = 0.005  # iterations before them, in which caches and clocks come back from the other side's turn
NO_DISCARD_ABOVE_S = 0.250  # an iteration this long hides its own start, which was seen to take 7 ms longer
LIKE_PACE = 2.0  # up to this ratio of their paces both sides take the same turns; beyond it, a start decides nothing

# Looks: numbers of pairs after which the sign test is made. Each is about 1.5 times the one before: fewer would take
# pairs that are not needed, more would cost level. The test rejects at ten if all of them agree.
LOOKS = (10, 16, 24, 36, 54, 80, 120, 180, 270, 400, 600)
FIRST_LEVEL = 0.05 / len(LOOKS)  # of each look: 5 % of equal workloads at most are suspected (Bonferroni)
CONFIRMATION_LEVEL = 0.01 / len(LOOKS)  # 20 workloads x 0.05 x 0.01: 1 % false alarms a run at most
LAUNCHES = 3  # pairs of workers of a pass: a launch can be slow by itself, its memory lies as it lies until it ends
TOLERANCE = 0.03  # of the time, relative: smaller changes are within what a launch changes by itself
HEADROOM = 1.3  # of the predicted peaks of workers side by side: allocators hold up to 28 % more than tensors
CONTEXT_BYTES = 600_000_000  # that CUDA and its libraries hold for each process, beside what the allocator knows
LAUNCH_EFFECT = 0.5  # of the tolerance, on the logarithmic scale, that every launch of a confirmation has to show
RATIO_HALF_WIDTH = 0.01  # of a stored ratio's interval: a tenth of the tolerance that is applied to it

# How long a pass may take, unless the user says.
PASS_TIME_S = 120.0  # 600 pairs of the shortest turns take 30 s
PASS_PAIRS = 24  # a slow model has at least these, however long they take
MAX_TIME_S = 1800.0  # but no longer than this

# Relative times of a sweep; how narrow and how long is the protocol's to say: `half_width`, `hard_stop_s`.
RATIO_PAIRS = 6  # a slow model has at least these: two of each launch, the fewest that give an interval
RATIO_SLOW_ITERATION_S = 1.0  # beside an iteration this long, what a start costs is nothing: no further warm-up

# Files of records: separate runs, so a machine's drift is in the difference.
FILE_LAUNCHES = 5  # fewer say too little about how much launches differ
FILE_LEVEL = 0.01  # one-sided, once
FILE_TOLERANCE = 0.10  # two runs of one program differed by up to this much

CONFIDENCE = 0.95  # of the interval that stands beside a change

# Growth of counted quantities that still is the same, relative, by name.
COUNTED_TOLERANCES: Mapping[str, float] = {
    "params": 0.0,
    "flops": 0.0,
    "predicted_peak_bytes": 0.01,  # follows from shapes, but other versions of torch keep other tensors
    "peak_allocated_bytes": 0.02,  # the allocator rounds, and libraries choose other workspaces
}
