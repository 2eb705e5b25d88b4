from __future__ import annotations

from hand_made import failed, make_counts, make_measurement, make_record

from atlasbench.analysis.series import Series
from atlasbench.analysis.shares import split_by_part
from atlasbench.core.record import Status
from atlasbench.core.resolution import parse_resolution


def series(model: str, *sizes: int) -> Series:
    counts = make_counts(flops=400, flops_by_part={"stem": 100, "attention": 300})
    records = tuple(make_record(model, size, measurement=make_measurement(counts=counts)) for size in sizes)
    return Series(label=model, machine="host", records=records)


def test_the_size_is_the_largest_that_all_share() -> None:
    shared = split_by_part([series("vit_b", 512, 1024), series("swin_b", 512, 1024, 2048)])

    assert shared is not None
    assert shared.resolution == parse_resolution(1024)
    assert [row.label for row in shared.rows] == ["vit_b", "swin_b"]
    assert shared.left_out == ()


def test_without_a_size_that_all_share_the_one_that_most_have_is_taken_and_the_others_are_named() -> None:
    shared = split_by_part([series("vit_b", 512), series("swin_b", 1024), series("atlas_b", 1024, 2048)])

    assert shared is not None
    assert shared.resolution == parse_resolution(1024)
    assert [row.label for row in shared.rows] == ["swin_b", "atlas_b"]
    assert shared.left_out == ("vit_b",)


def test_shares_are_of_the_whole() -> None:
    shared = split_by_part([series("vit_b", 512)])

    assert shared is not None
    (row,) = shared.rows
    assert row.flops == 400
    assert row.by_part["stem"] == 0.25
    assert row.by_part["attention"] == 0.75
    assert sum(row.by_part.values()) == 1


def test_nothing_counted_has_no_shares() -> None:
    record = make_record(measurement=failed(Status.ERROR, "reason", counts=None))

    assert split_by_part([Series(label="vit_b", machine="host", records=(record,))]) is None
