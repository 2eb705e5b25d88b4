import pytest

from atlasbench.core.errors import InvalidWorkloadError
from atlasbench.core.protocol import QUICK, Protocol


def test_only_constants_that_differ_from_the_defaults_are_named() -> None:
    assert Protocol().changes() == {}
    assert Protocol(min_samples=60, cold=True).changes() == {"min_samples": 60, "cold": True}


def test_the_quick_preset_allows_wider_intervals() -> None:
    assert QUICK.changes()["half_width"] > Protocol().half_width
    assert QUICK.hard_stop_s < Protocol().hard_stop_s


@pytest.mark.parametrize(
    ("name", "value"), [("growth", 1.0), ("floor_samples", 0), ("half_width", 0), ("batches", 9), ("timeout_s", -1)]
)
def test_constants_without_sense_are_refused_by_name(name: str, value: float) -> None:
    with pytest.raises(InvalidWorkloadError, match=name):
        Protocol(**{name: value})
