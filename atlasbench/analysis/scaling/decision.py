"""From samples and a claim to a judgement: consistent, inconsistent, cannot tell, and why."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from atlasbench.analysis.scaling.exclusion import larger_sizes_needed, mean_error, outgrowing, possible_laws
from atlasbench.analysis.scaling.fits import LawFit, fit_laws
from atlasbench.analysis.scaling.samples import Samples
from atlasbench.core.compat import StrEnum
from atlasbench.core.laws import Law

_TRACE = 1e-3  # of the largest size: what exact values have less of is not there
LEAST_RANGE = 16  # times the pixels, from the smallest to the largest size: below, all laws look alike


class Judgement(StrEnum):
    """What can be said of a claim."""

    CONSISTENT = "consistent"
    INCONSISTENT = "inconsistent"
    CANNOT_TELL = "cannot tell"
    NO_CLAIM = "no claim"
    NOT_APPLICABLE = "not applicable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How strictly a quantity is judged.

    Attributes:
        is_exact: Whether values follow from shapes, so that what no law fits is not noise.
        is_strict: Whether the claimed law itself must hold, and not only nothing faster.
        ruled_out: Share of the largest value that faster growth must be shown not to have, before a claim holds.
        failing: Share of the largest value that must grow faster, before a claim fails.
        least_sizes: Sizes below which no law can be tested.
    """

    is_exact: bool
    is_strict: bool
    ruled_out: float
    failing: float
    least_sizes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """A judgement and what it rests on.

    Attributes:
        judgement: In one word.
        reason: In a few; empty where there is nothing to add.
        law: The slowest law that fits, where one does and faster ones are ruled out.
        also: Faster laws that are not ruled out and decide nothing: a logarithm beyond N.
        larger_sizes: More sizes, each of twice the side of the one before, that would decide; 0 where not known.
        fits: Of every law; empty where nothing could be fitted.
    """

    judgement: Judgement
    reason: str = ""
    law: Law | None = None
    also: tuple[Law, ...] = ()
    larger_sizes: int = 0
    fits: Mapping[Law, LawFit] = field(default_factory=dict)


def decide(samples: Samples, claim: Law | None, rules: Rules) -> Decision:
    """Judge a claim by samples; without one, find the law that holds.

    A claim is a bound. It holds if a law no faster than the claim fits and faster growth is ruled out. It fails if
    no such law fits, a faster one does, and what grows by it is more than a trace. Between N and a logarithm only
    exact values decide.
    """
    if shortage := find_shortage(samples, rules):
        return shortage
    fits = fit_laws(samples)
    holding = next((law for law, fit in fits.items() if fit.is_acceptable), None)
    if holding is None:
        return _decide_without_law(claim, fits, rules)
    if claim is not None and holding.growth > claim.growth:
        return _decide_too_fast(holding, fits, rules)
    if claim is not None and rules.is_strict and holding.growth < claim.growth:
        return _decide_too_slow(claim, holding, fits)
    return _decide_by_exclusion(samples, claim, holding, fits, rules)


def find_shortage(samples: Samples, rules: Rules) -> Decision | None:
    """Too few sizes, or too close to each other; None where neither. Sizes of equally many pixels count as one."""
    count = len(set(samples.pixels.tolist()))
    span = float(samples.pixels[-1] / samples.pixels[0])
    if count >= rules.least_sizes and span >= LEAST_RANGE:
        return None
    more = max(rules.least_sizes - count, math.ceil(math.log(LEAST_RANGE / span, 4)))
    reason = (
        f"too few sizes: {count}, at least {rules.least_sizes} are needed"
        if count < rules.least_sizes
        else f"too narrow: {span:.1f} times the pixels, at least {LEAST_RANGE} are needed"
    )
    return Decision(judgement=Judgement.CANNOT_TELL, reason=reason, larger_sizes=more)


def _decide_without_law(claim: Law | None, fits: Mapping[Law, LawFit], rules: Rules) -> Decision:
    """No law fits: for exact values growth beyond the claim still shows, in what the smaller sizes foretold."""
    last = fits[claim or Law.QUADRATIC]
    if not last.freedom:
        reason = f"too few sizes: {last.law} and its linear part pass through all of them"
        return Decision(judgement=Judgement.CANNOT_TELL, reason=reason, larger_sizes=1, fits=fits)
    if claim is not None and rules.is_exact and last.held_out > rules.ruled_out:
        times = 1 / max(1 - last.held_out, 1e-6)
        reason = f"no law fits; the largest sizes are up to {times:.1f} times what {claim} foretells"
        return Decision(judgement=Judgement.INCONSISTENT, reason=reason, fits=fits)
    judgement = Judgement.NO_CLAIM if claim is None and rules.is_exact else Judgement.CANNOT_TELL
    return Decision(
        judgement=judgement, reason=f"no law fits: {last.law} misses by {100 * abs(last.worst):.0f} %", fits=fits
    )


def _decide_too_fast(holding: Law, fits: Mapping[Law, LawFit], rules: Rules) -> Decision:
    """Only a faster law than the claim fits: the claim fails by what nothing else can explain."""
    share = fits[holding].share
    if not rules.is_exact and holding.growth <= Law.LINEAR_LOG.growth:
        excuse = "kernels that lose speed look the same"
    elif share < rules.failing:
        what = "maps smaller than windows" if rules.is_exact else "kernels that lose speed"
        excuse = f"too little to tell from {what}"
    else:
        reason = f"grows like {holding}: {100 * share:.0f} % of the largest size"
        return Decision(judgement=Judgement.INCONSISTENT, reason=reason, law=holding, fits=fits)
    reason = f"{100 * share:.0f} % of the largest size may grow like {holding}: {excuse}"
    return Decision(judgement=Judgement.CANNOT_TELL, reason=reason, larger_sizes=1, fits=fits)


def _decide_too_slow(claim: Law, holding: Law, fits: Mapping[Law, LawFit]) -> Decision:
    """A slower law than the claim fits: the claim fails if nothing grows like it, and a small part cannot be told."""
    share = fits[claim].share
    if share < _TRACE:
        reason = f"grows like {holding}, slower than claimed"
        return Decision(judgement=Judgement.INCONSISTENT, reason=reason, law=holding, fits=fits)
    reason = f"{holding} fits, and {claim} in {100 * share:.1f} % of the largest size, too"
    return Decision(judgement=Judgement.CANNOT_TELL, reason=reason, larger_sizes=1, fits=fits)


def _decide_by_exclusion(
    samples: Samples, claim: Law | None, holding: Law, fits: Mapping[Law, LawFit], rules: Rules
) -> Decision:
    """A law fits that the claim allows: is faster growth ruled out?"""
    bound = claim or holding
    allowed = [law for law in fits if law.growth <= bound.growth]
    possible = list(possible_laws(samples, fits, allowed, rules.ruled_out))
    faster = outgrowing(possible)
    if not faster:
        judgement = Judgement.NO_CLAIM if claim is None else Judgement.CONSISTENT
        also = tuple(law for law in possible if law is Law.LINEAR_LOG)
        law = bound if holding.growth == bound.growth and fits[bound].is_acceptable else holding
        return Decision(judgement=judgement, law=law, also=also, fits=fits)
    more = larger_sizes_needed(samples, fits, allowed, rules.ruled_out)
    more = max(more, 1) if rules.is_exact else more  # counts have no noise: larger sizes decide sooner or later
    reason = f"{faster[0]} in {100 * rules.ruled_out:.0f} % of the largest size is not ruled out"
    if not more:
        reason = f"too noisy, about {100 * mean_error(samples):.1f} % a size: {reason}"
    return Decision(judgement=Judgement.CANNOT_TELL, reason=reason, larger_sizes=more, fits=fits)
