"""Records to verdicts: one for each series and quantity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from atlasbench.analysis.exponent import fit_exponent
from atlasbench.analysis.scaling.closed_form import ClosedForm, closed_form
from atlasbench.analysis.scaling.curves import Curve, find_curves
from atlasbench.analysis.scaling.decision import Decision, Judgement, decide, find_shortage
from atlasbench.analysis.scaling.fits import fit_laws
from atlasbench.analysis.scaling.quantities import RULES, Quantity, find_claim_on, read_value
from atlasbench.analysis.scaling.regressors import TokenSource, build_samples, find_token_source, finest_tokens
from atlasbench.analysis.scaling.samples import Samples
from atlasbench.analysis.scaling.verdict import ScalingVerdict
from atlasbench.core.kinds import Kind
from atlasbench.core.laws import WINDOW_TOKENS
from atlasbench.core.record import Record
from atlasbench.core.resolution import Resolution

_LARGEST_ADVISED = 16384  # pixels of a side; beyond, smaller sizes are advised
_SMALLEST_ADVISED = 64
_SOURCE_WORDS = {
    TokenSource.LAYERS: "",
    TokenSource.STEM: "tokens as the stem gives them, padding not known",
    TokenSource.PIXELS: "tokens not known, judged by pixels",
}


def judge_scaling(records: Sequence[Record]) -> list[ScalingVerdict]:
    """Judge every series: FLOPs once, since they are the same everywhere; memory and latency machine by machine.

    Args:
        records: Oldest first.

    Returns:
        Series in the order of their first records; quantities that no record has are left out.
    """
    return [_judge(curve) for curve in find_curves(records)]


def _judge(curve: Curve) -> ScalingVerdict:
    quantity, first = curve.quantity, curve.records[0]
    verdict = ScalingVerdict(
        label=curve.label,
        model=first.workload.model,
        machine=curve.machine,
        quantity=quantity,
        kind=_kind(first, quantity),
        claim=find_claim_on(curve.records, quantity),
        judgement=Judgement.CANNOT_TELL,
    )
    without = [str(record.workload.resolution) for record in curve.records if not read_value(record, quantity)]
    if len(without) == len(curve.records):
        return replace(verdict, judgement=Judgement.NOT_APPLICABLE, reason="there is none")
    if without:
        return replace(verdict, reason=f"there is none at {' '.join(without)} px, and some at other sizes")
    forms = [closed_form(record) for record in curve.records]
    if quantity is Quantity.ATTENTION and (difference := _first_difference(curve.records, forms)):
        return replace(verdict, judgement=Judgement.INCONSISTENT, reason=difference)
    records = _inside_claim(curve.records, forms) if quantity.is_counted else curve.records
    if not records:
        return replace(verdict, reason="every size fits one window, where the claim says nothing")
    return _judge_growth(verdict, records, forms if quantity is Quantity.ATTENTION else ())


def _judge_growth(
    verdict: ScalingVerdict, records: Sequence[Record], equal_forms: Sequence[ClosedForm | None]
) -> ScalingVerdict:
    """Judge by the records of sizes that the claim is about.

    Args:
        verdict: What is known before.
        records: Smallest first.
        equal_forms: Closed forms, one for each size of the series, that the values were found equal to; None where
            there is none.
    """
    source = find_token_source(records)
    samples = build_samples(records, verdict.quantity, source)
    forms = [form for form in equal_forms if form is not None]
    decision = _decide(samples, verdict, is_proven=any(form.num_scales > 1 for form in forms))
    resolutions = tuple(record.workload.resolution for record in records)
    law = decision.law or verdict.claim
    fit = decision.fits.get(law) if law is not None else None
    tokens, values = [finest_tokens(record, source) for record in records], samples.values.tolist()
    return replace(
        verdict,
        judgement=decision.judgement,
        reason="; ".join(filter(None, (decision.reason, _say_equal(forms), _SOURCE_WORDS[source]))),
        law=decision.law,
        also=decision.also,
        resolutions=resolutions,
        by_tokens=fit_exponent(tokens, values),
        by_pixels=fit_exponent([resolution.pixels for resolution in resolutions], values),
        fit_error=fit.worst if fit is not None else None,
        held_out=fit.held_out if fit is not None else None,
        add_resolutions=_advise(resolutions, decision.larger_sizes),
    )


def _decide(samples: Samples, verdict: ScalingVerdict, *, is_proven: bool) -> Decision:
    """Decide by fits, unless values equal to a closed form with a constant window prove the claim at their sizes."""
    rules = RULES[verdict.quantity]
    if is_proven and find_shortage(samples, rules) is None:
        return Decision(judgement=Judgement.CONSISTENT, law=verdict.claim, fits=fit_laws(samples))
    return decide(samples, verdict.claim, rules)


def _first_difference(records: Sequence[Record], forms: Sequence[ClosedForm | None]) -> str:
    """The first size at which counted attention is not that of the closed form; empty where all are equal."""
    for record, form in zip(records, forms, strict=True):
        counted = read_value(record, Quantity.ATTENTION)
        if form is not None and counted and counted != form.flops:
            return (
                f"at {record.workload.resolution} px {counted:,} FLOPs are counted, the closed form has {form.flops:,} "
                f"({100 * (counted / form.flops - 1):+.3g} %)"
            )
    return ""


def _say_equal(forms: Sequence[ClosedForm]) -> str:
    if not forms:
        return ""
    sizes = "1 size" if len(forms) == 1 else f"all {len(forms)} sizes"
    has_scales = any(form.num_scales > 1 for form in forms)
    window = "" if has_scales else ", where one window takes the whole grid"
    return f"equal to the closed form at {sizes}{window}"


def _inside_claim(records: Sequence[Record], forms: Sequence[ClosedForm | None]) -> Sequence[Record]:
    """Sizes that the claim is about: of an Atlas those with more than one window, if there are any.

    Without any, those larger than a window of the paper: a window that always takes the whole grid is no constant.
    """
    pairs = list(zip(records, forms, strict=True))
    with_scales = [record for record, form in pairs if form is None or form.num_scales > 1]
    return with_scales or [record for record, form in pairs if form is not None and form.tokens > WINDOW_TOKENS]


def _advise(resolutions: Sequence[Resolution], count: int) -> tuple[Resolution, ...]:
    """Sizes to add: each of twice the side of the largest so far, or of half the smallest where that gets too large."""
    largest, smallest = resolutions[-1], min(resolutions, key=lambda resolution: resolution.pixels)
    added: list[Resolution] = []
    for _ in range(count):
        if 2 * max(largest.height, largest.width) <= _LARGEST_ADVISED:
            largest = Resolution(height=2 * largest.height, width=2 * largest.width)
            added.append(largest)
        elif min(smallest.height, smallest.width) >= 2 * _SMALLEST_ADVISED:
            smallest = Resolution(height=smallest.height // 2, width=smallest.width // 2)
            added.append(smallest)
    return tuple(added)


def _kind(record: Record, quantity: Quantity) -> Kind:
    if quantity.is_counted:
        return Kind.COUNTED
    memory = record.measurement.memory
    is_predicted = quantity is Quantity.MEMORY and memory is not None and memory.method == "predicted"
    return Kind.PREDICTED if is_predicted else Kind.MEASURED
