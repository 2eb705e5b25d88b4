from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from atlasbench.measure.contention import CoreReading, foreign_share, read_cores


def reading(wall_s: float, own_s: float, busy_s: float) -> CoreReading:
    return CoreReading(wall_s=wall_s, own_s=own_s, busy_s=busy_s)


@pytest.mark.parametrize(
    ("own_s", "busy_s", "share"),
    [
        (20.0, 20.0, 0.0),  # all of two cores for ten seconds
        (10.0, 10.0, 0.0),  # one core idle: nobody else's time
        (10.0, 20.0, 0.5),
        (15.0, 20.0, 0.25),
        (20.1, 20.0, 0.0),  # clocks are read one after the other
        (0.0, 20.5, 1.0),
    ],
)
def test_what_the_cores_did_and_this_process_did_not_was_others(own_s: float, busy_s: float, share: float) -> None:
    before = reading(100.0, 3.0, 50.0)
    assert foreign_share(before, reading(110.0, 3.0 + own_s, 50.0 + busy_s), cores=2) == pytest.approx(share)


def test_too_short_a_time_or_a_system_that_does_not_tell_says_nothing() -> None:
    before = reading(100.0, 3.0, 50.0)
    assert foreign_share(before, reading(100.1, 3.1, 50.1), cores=1) is None
    assert foreign_share(None, before, cores=1) is None
    assert foreign_share(before, None, cores=1) is None
    assert read_cores([10**6]) is None


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="programs cannot be pinned here")
def test_a_program_on_the_same_core_is_seen() -> None:
    core = min(os.sched_getaffinity(0))
    code = f"import os; os.sched_setaffinity(0, {{{core}}}); print(flush=True)\nwhile True: pass"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        before = read_cores([core])
        time.sleep(0.6)
        share = foreign_share(before, read_cores([core]), cores=1)
        other.kill()
    assert share is not None
    assert share > 0.2  # all of it on a quiet machine; this process slept
