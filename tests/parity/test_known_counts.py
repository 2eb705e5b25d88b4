"""Counts of timm models that are known from torch's own counter, at the sizes the toolkit is for."""

import csv
from pathlib import Path

import pytest

from atlasbench.core.resolution import Resolution
from atlasbench.core.workload import Workload
from atlasbench.measure.count import plan_workload

TOLERANCE = 0.005  # of the table, which has four digits
SIZES = (1024, 2048, 4096)
QUICK = {"vit_small_patch16_224", "convnext_small", "resnet50", "vit_base_patch16_siglip_512", "sam2_hiera_base_plus"}


def known_rows() -> list[dict[str, str]]:
    path = Path(__file__).parents[1] / "fixtures" / "known_counts.csv"
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(line for line in file if not line.startswith("#")))


def known_counts() -> list[object]:
    cases = []
    for row in known_rows():
        params = [float(value) * 1e6 for value in row["params_millions"].split("/")]
        for index, size in enumerate(SIZES):
            flops = float(row[f"gflop_{size}"]) * 1e9
            is_quick = row["model"] in QUICK and size == 1024
            cases.append(
                pytest.param(
                    row["model"],
                    size,
                    flops,
                    params[min(index, len(params) - 1)],
                    id=f"{row['model']}-{size}",
                    marks=() if is_quick else pytest.mark.slow,
                )
            )
    return cases


@pytest.mark.parametrize(("name", "size", "flops", "params"), known_counts())
def test_a_timm_model_counts_what_is_known_of_it(name: str, size: int, flops: float, params: float) -> None:
    counts = plan_workload(Workload(model=name, resolution=Resolution(size, size), device="meta")).counts
    assert counts is not None
    assert counts.flops == pytest.approx(flops, rel=TOLERANCE)
    assert counts.params == pytest.approx(params, rel=TOLERANCE)
    assert sum(counts.flops_by_part.values()) == counts.flops == 2 * counts.macs
    assert not counts.uncounted


def test_all_rows_are_held_to() -> None:
    assert len(known_rows()) == 44
