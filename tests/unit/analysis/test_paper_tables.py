from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hand_made import make_workload

from atlasbench.analysis.paper_tables import Configuration, PaperTable, load_paper_tables
from atlasbench.core.resolution import Resolution
from atlasbench.core.workload import Mode
from atlasbench.recipes import load_recipe
from atlasbench.sweep.grid import expand_request

TABLES = {table.name: table for table in load_paper_tables()}
RECIPES = Path(__file__).parents[3] / "recipes"


def relative_times(table: PaperTable) -> dict[tuple[str, int], float | None]:
    return {
        (row.label, row.configuration.resolution.height): None if ratio is None else round(ratio, 3)
        for row in table.rows
        for ratio in [table.relative_time(row)]
    }


def test_every_table_says_its_source() -> None:
    assert list(TABLES) == [f"Table {number}" for number in range(1, 7)]
    assert {table.paper for table in TABLES.values()} == {"arXiv:2503.12355"}
    assert all(table.title for table in TABLES.values())


def test_the_papers_own_relative_column_stands_as_it_is_printed() -> None:
    assert relative_times(TABLES["Table 1"]) == {
        ("ViT-B", 1024): 1.15,
        ("Swin-B", 1024): 1.6,
        ("FasterViT-4", 1024): 2.9,
        ("LongViT-B", 1024): 2.2,
        ("ConvNeXt-B", 1024): 4.3,
        ("MambaVision-B", 1024): 0.98,
        ("Atlas-B", 1024): 1.0,
    }
    assert relative_times(TABLES["Table 3"])["Dilated attention", 384] == 2.39


def test_without_such_a_column_times_are_over_the_baseline_of_the_same_size() -> None:
    assert relative_times(TABLES["Table 2"]) == {
        ("MambaVision-S", 1024): round(4.56 / 3.64, 3),
        ("MambaVision-S", 2048): round(14.73 / 14.23, 3),
        ("MambaVision-S", 4096): round(55.5 / 54.72, 3),
        ("Atlas-S", 1024): 1.0,
        ("Atlas-S", 2048): 1.0,
        ("Atlas-S", 4096): 1.0,
    }
    assert relative_times(TABLES["Table 5"]) == {
        ("Stack", 512): round(75 / 38, 3),
        ("Convolutions", 512): round(40 / 38, 3),
        ("Atlas, D 2-10", 512): 1.0,
    }
    assert relative_times(TABLES["Table 6"])["ViT-B", 2048] == round(3480 / 786, 3)


def test_a_table_without_times_has_no_relative_ones() -> None:
    assert set(relative_times(TABLES["Table 4"]).values()) == {None}


@pytest.mark.parametrize("name", TABLES)
def test_the_recipe_of_a_table_measures_each_of_its_rows_once(name: str) -> None:
    recipe = load_recipe(RECIPES / f"{name.lower().replace(' ', '')}.toml")
    workloads = [item for item in expand_request(recipe.request) if item.mode is Mode.TRAIN]

    found = [[row.configuration.matches(item) for item in workloads].count(True) for row in TABLES[name].rows]

    assert found == [1] * len(TABLES[name].rows)
    assert len(workloads) == len(found)


CONFIGURATION: dict[str, Any] = {"model": "atlas_s", "resolution": Resolution(512, 512)}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, True),
        ({"scale_drop": "2-10"}, True),
        ({"scale_drop": "2-2-8"}, True),  # two blocks at every scale but the last
        ({"scale_drop": "none"}, False),
        ({"scale_drop": "4-8"}, False),
        ({"model": "atlas_b"}, False),
        ({"resolution": 1024}, False),
        ({"options": {"num_classes": 7}}, True),
        ({"options": {"patch_size": 8}}, False),
        ({"options": {"timm_name": "vit_base_patch16_224", "dynamic_img_size": True}}, True),
        ({"batch_size": 8, "mode": Mode.TRAIN}, True),
    ],
)
def test_a_workload_is_of_a_row_if_the_model_and_the_size_are(fields: dict[str, Any], expected: bool) -> None:
    workload = make_workload(**{"model": "atlas_s", "resolution": 512, **fields})

    assert Configuration(**CONFIGURATION).matches(workload) is expected


def test_options_are_equal_whatever_their_order_and_writing() -> None:
    configuration = Configuration(**CONFIGURATION, options_json='{"patch_size": 4, "depths":[4]}', scale_drop="none")

    workload = make_workload("atlas_s", 512, options={"depths": (4,), "patch_size": 4}, scale_drop="none")

    assert configuration.matches(workload)
    assert not configuration.matches(make_workload("atlas_s", 512, options={"depths": (4,)}, scale_drop="none"))
