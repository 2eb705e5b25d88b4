from __future__ import annotations

from pathlib import Path

import pytest
from running import Run

import atlasbench

HASTY = (
    "--timing warmup_window=1 warmup_min_s=0 warmup_max_s=0.05 min_samples=3 floor_samples=3 min_time_s=0.001 "
    "give_up_s=0.002 hard_stop_s=0.003"
)


@pytest.mark.slow
def test_every_workload_is_measured_as_often_as_asked_in_turn_with_the_others(run: Run, tmp_path: Path) -> None:
    ended = run(f"profile vit_ti --res 32 48 --device cpu --launches 2 {HASTY}")

    assert ended.code == 0, ended.err
    frame = atlasbench.load_results(tmp_path / "results")
    assert frame[["height", "launch"]].to_numpy().tolist() == [[32, 1], [48, 1], [32, 2], [48, 2]]

    again = run(f"profile vit_ti --res 32 48 --device cpu --launches 3 --resume {HASTY}")
    assert again.code == 0, again.err
    assert len(atlasbench.load_results(tmp_path / "results")) == 6


def test_launches_of_what_is_only_counted_are_refused(run: Run) -> None:
    assert run("profile vit_ti --res 32 --device meta --launches 5").error == (
        "--launches measures again and again, and meta only counts: leave one of them out."
    )
