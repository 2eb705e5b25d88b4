from __future__ import annotations

from typing import Any

import pytest
from hand_made import make_measurement, make_record, timed

from atlasbench.analysis.accuracy import AccuracyPoint
from atlasbench.analysis.points import read_flops, read_time_per_image
from atlasbench.analysis.trade import accuracy_curves, find_trade, is_known, split_tables
from atlasbench.core.kinds import Kind
from atlasbench.core.record import Record
from atlasbench.core.resolution import parse_resolution


def accuracy(model: str, size: int, top1: float, **fields: Any) -> AccuracyPoint:
    values: dict[str, Any] = {
        "label": model.upper(),
        "source": "Table 6 of a paper",
        "kind": Kind.PAPER,
        "table": "Table 6",
    }
    return AccuracyPoint(model=model, resolution=parse_resolution(size), top1_percent=top1, **values | fields)


def costing(model: str, size: int, flops: int) -> Record:
    return make_record(model, size, measurement=timed(flops / 1e9, flops=flops))


def test_accuracies_of_different_tables_and_files_are_never_together() -> None:
    tables = split_tables(
        [
            accuracy("vit_b", 512, 72.6),
            accuracy("vit_b", 1024, 90.7, table="Table 1", source="Table 1 of a paper"),
            accuracy("swin_b", 512, 70.0),
            accuracy("vit_b", 224, 81.0, table="", source="timm.csv", kind=Kind.FILE),
        ]
    )

    assert [(table.name, table.title, len(table.points)) for table in tables] == [
        ("Table 6", "Table 6 of a paper", 2),
        ("Table 1", "Table 1 of a paper", 1),
        ("timm.csv", "timm.csv", 1),
    ]


def test_a_trade_joins_accuracy_to_the_cost_of_the_same_model_and_size() -> None:
    (table,) = split_tables(
        [accuracy("vit_b", 512, 70.0), accuracy("vit_b", 1024, 75.0), accuracy("swin_b", 1024, 74.0)]
    )
    records = [costing("vit_b", 512, 10**9), costing("vit_b", 1024, 5 * 10**9), costing("swin_b", 1024, 3 * 10**9)]

    trade = find_trade(table, records, read_flops)

    assert trade is not None
    assert [(curve.label, [(point.x, point.y) for point in curve.points]) for curve in trade.curves] == [
        ("vit_b", [(10**9, 70.0), (5 * 10**9, 75.0)]),
        ("swin_b", [(3 * 10**9, 74.0)]),
    ]
    assert [point.y for point in trade.front] == [70.0, 74.0, 75.0]
    assert {point.kind for curve in trade.curves for point in curve.points} == {Kind.PAPER}


def test_another_configuration_of_a_model_does_not_have_its_accuracy() -> None:
    (table,) = split_tables([accuracy("vit_b", 512, 70.0), accuracy("swin_b", 512, 74.0)])
    other = make_record("swin_b", 512, options={"window_size": 16})

    assert find_trade(table, [costing("vit_b", 512, 10**9), other], read_flops) is None
    assert find_trade(table, [costing("vit_b", 512, 10**9), costing("swin_b", 512, 1)], read_flops) is not None


def test_the_newest_record_gives_the_cost() -> None:
    (table,) = split_tables([accuracy("vit_b", 512, 70.0), accuracy("swin_b", 512, 74.0)])
    records = [costing("vit_b", 512, 10**9), costing("swin_b", 512, 10**9), costing("vit_b", 512, 4 * 10**9)]

    trade = find_trade(table, records, read_time_per_image)

    assert trade is not None
    assert [point.x for curve in trade.curves for point in curve.points] == pytest.approx([4.0, 1.0])


def test_a_cost_without_the_fast_kernel_is_marked() -> None:
    (table,) = split_tables([accuracy("vit_b", 512, 70.0), accuracy("mambavision_b", 512, 69.9)])
    slow = make_record("mambavision_b", 512, measurement=make_measurement(kernels={"scan": "pytorch"}))

    trade = find_trade(table, [make_record("vit_b", 512), slow], read_time_per_image)

    assert trade is not None
    assert [curve.is_fallback for curve in trade.curves] == [False, True]


def test_rows_of_one_model_in_several_configurations_keep_the_names_of_their_table() -> None:
    (table,) = split_tables(
        [
            accuracy("atlas_s", 512, 56.1, label="Convolutions", options_json='{"composition":"conv"}'),
            accuracy("atlas_s", 512, 70.1, label="D 2-10"),
        ]
    )
    records = [make_record("atlas_s", 512), make_record("atlas_s", 512, options={"composition": "conv"})]

    trade = find_trade(table, records, read_flops)

    assert trade is not None
    assert [curve.label for curve in trade.curves] == ["Convolutions", "D 2-10"]


def test_accuracy_against_the_size_needs_two_sizes() -> None:
    (table,) = split_tables(
        [accuracy("vit_b", 1024, 69.4), accuracy("vit_b", 512, 72.6), accuracy("swin_b", 512, 70.0)]
    )

    (curve,) = accuracy_curves(table)

    assert [(point.x, point.y) for point in curve.points] == [(512, 72.6), (1024, 69.4)]


def test_a_table_is_known_by_any_of_its_models() -> None:
    (table,) = split_tables([accuracy("vit_b", 512, 72.6), accuracy("swin_b", 512, 70.0)])

    assert is_known(table, ["swin_b", "other"])
    assert not is_known(table, ["other"])
