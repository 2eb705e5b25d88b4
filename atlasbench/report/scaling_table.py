"""The table that `scaling` shows: claims, the laws that hold, verdicts, exponents."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from atlasbench.analysis.exponent import Exponent
from atlasbench.analysis.scaling.decision import Judgement
from atlasbench.analysis.scaling.quantities import Quantity
from atlasbench.analysis.scaling.verdict import ScalingVerdict
from atlasbench.core.kinds import Kind
from atlasbench.report.layout import Column, TextTable

_METHOD = (
    "Law: the slowest that fits. Held out: the largest sizes against what the smaller ones foretell. Exponents: of a "
    "straight line in log-log with its 95 % interval, against tokens as computed (padding included) and against "
    "pixels. What is decided and how: docs/scaling.md."
)
_NO_SIZES = "-"


def build_scaling_table(verdicts: Sequence[ScalingVerdict]) -> TextTable:
    """Every verdict a row, in order; the reasons stand below."""
    machines = {item.machine for item in verdicts if item.kind is Kind.MEASURED}
    columns = [
        _words("Model", verdicts, lambda item: item.label),
        Column(title="Quantity", cells=_quantities(verdicts), is_identity=True, is_text=True),
    ]
    if len(machines) > 1:
        columns.append(_words("On", verdicts, _where))
    columns += [
        _words("Claim", verdicts, lambda item: item.claim or "-", is_identity=False),
        _words("Law", verdicts, lambda item: item.law_words or "-", is_identity=False),
        _words("Verdict", verdicts, lambda item: item.judgement, is_identity=False),
        Column(title="Held out", cells=[_percent(item.held_out) for item in verdicts]),
        Column(title="Exponent, tokens", cells=[_exponent(item.by_tokens) for item in verdicts]),
        Column(title="pixels", cells=[_exponent(item.by_pixels) for item in verdicts]),
    ]
    sizes = [_sizes(item) for item in verdicts]
    shared = set(sizes) - {_NO_SIZES}
    if len(shared) > 1:
        columns.append(Column(title="Sizes", cells=sizes, is_text=True))
    return TextTable(
        title=f"Growth laws, {shared.pop()} px" if len(shared) == 1 else "Growth laws",
        columns=columns,
        footnotes=[_explain(verdicts), *_reasons(verdicts, says_where=len(machines) > 1)],
    )


def _explain(verdicts: Sequence[ScalingVerdict]) -> str:
    """How the numbers were found, of the quantities that are there."""
    kinds = {quantity: [item.kind for item in verdicts if item.quantity is quantity] for quantity in Quantity}
    sentences = ["Attention and total: FLOPs, counted"]
    if kinds[Quantity.MEMORY]:
        sentences.append(f"Memory: peak, {' or '.join(dict.fromkeys(kinds[Quantity.MEMORY]))}")
    if kinds[Quantity.LATENCY]:
        sentences.append("Latency: of one step, measured")
    return ". ".join([*sentences, _METHOD])


def scaling_rows(verdicts: Sequence[ScalingVerdict]) -> list[dict[str, Any]]:
    """Every verdict a flat row, for JSON and CSV; None where a value is not known."""
    return [
        {
            "series": item.label,
            "model": item.model,
            "machine": item.machine or None,
            "quantity": item.quantity.value,
            "kind": item.kind.value,
            "claim": item.claim.value if item.claim is not None else None,
            "law": item.law.value if item.law is not None else None,
            "not_ruled_out": " ".join(law.value for law in item.also) or None,
            "verdict": item.judgement.value,
            "reason": item.reason or None,
            "add_resolutions": " ".join(map(str, item.add_resolutions)) or None,
            "resolutions": " ".join(map(str, item.resolutions)) or None,
            **_exponent_fields("tokens_exponent", item.by_tokens),
            **_exponent_fields("pixels_exponent", item.by_pixels),
            "fit_error": item.fit_error,
            "held_out_error": item.held_out,
        }
        for item in verdicts
    ]


def _words(
    title: str,
    verdicts: Sequence[ScalingVerdict],
    read: Callable[[ScalingVerdict], str],
    *,
    is_identity: bool = True,
) -> Column:
    cells = [str(read(item)) for item in verdicts]
    return Column(title=title, cells=cells, is_identity=is_identity, is_text=True)


def _quantities(verdicts: Sequence[ScalingVerdict]) -> list[str]:
    """Names of the quantities; predicted ones say so where others of the name are measured."""
    kinds = {(item.quantity, item.kind) for item in verdicts}
    return [
        f"{item.quantity}, predicted"
        if item.kind is Kind.PREDICTED and (item.quantity, Kind.MEASURED) in kinds
        else item.quantity.value
        for item in verdicts
    ]


def _where(verdict: ScalingVerdict) -> str:
    return verdict.machine if verdict.kind is Kind.MEASURED else "-"


def _sizes(verdict: ScalingVerdict) -> str:
    if not verdict.resolutions:
        return _NO_SIZES
    first, last = verdict.resolutions[0], verdict.resolutions[-1]
    return str(first) if first == last else f"{len(verdict.resolutions)} sizes, {first} to {last}"


def _percent(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{100 * value:+.1f} %" if abs(value) >= 0.0005 else "0.0 %"


def _exponent(exponent: Exponent | None) -> str:
    if exponent is None:
        return "-"
    if exponent.low is None or exponent.high is None:
        return f"{exponent.value:.2f}"
    return f"{exponent.value:.2f} ({exponent.low:.2f} to {exponent.high:.2f})"


def _exponent_fields(name: str, exponent: Exponent | None) -> dict[str, float | None]:
    values = (None, None, None) if exponent is None else (exponent.value, exponent.low, exponent.high)
    return dict(zip((name, f"{name}_low", f"{name}_high"), values, strict=True))


def _reasons(verdicts: Sequence[ScalingVerdict], *, says_where: bool) -> list[str]:
    """Why, where there is something to say: what fails first, and what is the same of several rows together."""
    rows: dict[tuple[str, str], list[str]] = {}
    for item in sorted(verdicts, key=lambda item: item.judgement is not Judgement.INCONSISTENT):
        if item.reason and item.judgement is not Judgement.NOT_APPLICABLE:
            where = f" on {item.machine}" if says_where and item.kind is Kind.MEASURED else ""
            rows.setdefault((item.words, where), []).append(f"{item.label} {item.quantity}")
    return [f"{', '.join(names)}{where}: {words}." for (words, where), names in rows.items()]
