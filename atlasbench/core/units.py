"""Numbers for people: three significant digits with the unit that suits them."""

from __future__ import annotations

import math


def format_quantity(value: float, unit: str = "") -> str:
    """Write 205262303232 as `205 G`, 31126700 as `31.1 M` (decimal prefixes)."""
    for factor, prefix in ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= factor * 0.9995:
            return f"{three_digits(value / factor)} {prefix}{unit}"
    return f"{three_digits(value)} {unit}".rstrip()


def format_bytes(value: float) -> str:
    """Write bytes with decimal prefixes: 3221225472 as `3.22 GB`."""
    return format_quantity(value, "B")


def format_duration(value: float) -> str:
    """Write about how long something takes: `3 s`, `12 min`, `4.5 h`; no finer than such a guess is worth."""
    if value < 99.5:
        return f"{max(value, 1):.0f} s"
    if value < 99.5 * 60:
        return f"{value / 60:.0f} min"
    return f"{value / 3600:.1f} h"


def three_digits(value: float) -> str:
    """Write a number with three significant digits and no exponent."""
    if value == 0:
        return "0"
    if abs(value) >= 99.95:
        return f"{value:.0f}"
    if abs(value) >= 9.995:
        return f"{value:.1f}"
    if abs(value) >= 0.9995:
        return f"{value:.2f}"
    digits = 2 - math.floor(math.log10(abs(value)))
    return f"{value:.{digits}f}".rstrip("0")
