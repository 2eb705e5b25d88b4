"""Numbers for people: three significant digits with the unit that suits them."""

from __future__ import annotations


def format_quantity(value: float, unit: str = "") -> str:
    """Write 205262303232 as `205 G`, 31126700 as `31.1 M` (decimal prefixes)."""
    for factor, prefix in ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= factor * 0.9995:
            return f"{three_digits(value / factor)} {prefix}{unit}"
    return f"{three_digits(value)} {unit}".rstrip()


def format_bytes(value: float) -> str:
    """Write bytes with decimal prefixes: 3221225472 as `3.22 GB`."""
    return format_quantity(value, "B")


def format_seconds(value: float) -> str:
    """Write a duration as `850 us`, `12.3 ms`, `4.56 s` or `12 min`."""
    if value < 0.9995e-3:
        return f"{three_digits(value * 1e6)} us"
    if value < 0.9995:
        return f"{three_digits(value * 1e3)} ms"
    if value < 120:
        return f"{three_digits(value)} s"
    if value < 2 * 3600:
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
    return f"{value:.3g}"
