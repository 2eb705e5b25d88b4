from __future__ import annotations

import json
from typing import Any

import pytest
from hand_made import make_measurement, make_ratio, make_record

from atlasbench.core.columns import flatten_record
from atlasbench.core.errors import RecordsError
from atlasbench.core.record import Record
from atlasbench.store.codec import decode_record, encode_record


def paired(**fields: Any) -> Record:
    return make_record("vit_b", "768x1536", measurement=make_measurement(ratio=make_ratio(**fields), timing=None))


def test_a_ratio_and_all_of_its_baseline_come_back_as_they_were_written() -> None:
    record = paired()

    assert decode_record(encode_record(record)) == record


def test_a_line_without_a_ratio_is_a_record_without_one() -> None:
    line = json.loads(encode_record(paired()))
    del line["measurement"]["ratio"]

    assert decode_record(json.dumps(line)).measurement.ratio is None


@pytest.mark.parametrize(
    "damage",
    [
        {"ratio": None},
        {"ratio": 0.0},
        {"low": "1.4"},
        {"low": 1.7},
        {"high": 1.45},
        {"pairs": 1.5},
        {"baseline": None},
        {"baseline": {"model": "atlas_b"}},
    ],
    ids=str,
)
def test_a_line_whose_ratio_makes_no_sense_is_no_record(damage: dict[str, Any]) -> None:
    line = json.loads(encode_record(paired()))
    line["measurement"]["ratio"] |= damage

    with pytest.raises(RecordsError, match="not a record"):
        decode_record(json.dumps(line))


def test_a_ratio_lies_in_its_interval() -> None:
    with pytest.raises(RecordsError) as caught:
        make_ratio(ratio=1.7)

    assert str(caught.value) == "a ratio of times lies in its interval, got 1.7 in 1.4 to 1.6"


def test_a_row_has_the_ratio_its_interval_and_the_model_that_it_is_relative_to() -> None:
    names = ("relative_time", "relative_low", "relative_high", "relative_to")

    with_ratio, without = flatten_record(paired()), flatten_record(make_record())

    assert [with_ratio[name] for name in names] == [1.5, 1.4, 1.6, "atlas_b"]
    assert [without[name] for name in names] == [None] * 4
    assert tuple(with_ratio)[-4:] == names
