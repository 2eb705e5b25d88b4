from __future__ import annotations

import pytest

from atlasbench.core.units import format_bytes, format_duration, format_quantity, three_digits


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, "0"),
        (1, "1.00"),
        (0.99949, "0.999"),
        (0.9995, "1.00"),
        (9.994, "9.99"),
        (9.996, "10.0"),
        (99.94, "99.9"),
        (99.96, "100"),
        (123456.7, "123457"),
        (0.28, "0.28"),
        (0.0123456, "0.0123"),
        (1.92e-5, "0.0000192"),
        (-2.5, "-2.50"),
    ],
)
def test_numbers_have_three_significant_digits_and_no_exponent(value: float, expected: str) -> None:
    assert three_digits(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, "0"),
        (999, "999"),
        (999.6, "1.00 k"),
        (31_126_700, "31.1 M"),
        (205_262_303_232, "205 G"),
        (1.5e13, "15.0 T"),
        (2.5e16, "25.0 P"),
        (2**70, "1181 E"),
    ],
)
def test_quantities_have_the_prefix_that_suits_them(value: float, expected: str) -> None:
    assert format_quantity(value) == expected


def test_bytes_have_decimal_prefixes() -> None:
    assert format_bytes(3221225472) == "3.22 GB"
    assert format_bytes(12) == "12.0 B"


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0.2, "1 s"), (2.82, "3 s"), (99.4, "99 s"), (100, "2 min"), (3600, "60 min"), (7200, "2.0 h"), (16000, "4.4 h")],
)
def test_durations_are_as_coarse_as_a_guess(value: float, expected: str) -> None:
    assert format_duration(value) == expected
