from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

from atlasbench.analysis.scaling.decision import Decision, Judgement, Rules, decide
from atlasbench.analysis.scaling.fits import fit_law, fit_laws
from atlasbench.analysis.scaling.samples import Samples
from atlasbench.core.laws import Law

SIDES = (512, 1024, 2048, 4096, 8192, 16384)
MEASURED = Rules(is_exact=False, is_strict=False, ruled_out=1 / 2, failing=1 / 3, least_sizes=4)
COUNTED = Rules(is_exact=True, is_strict=True, ruled_out=0.2, failing=0.2, least_sizes=3)
TRIALS = 100


def make_samples(truth: Law, *, share: float = 0.5, sides: Any = SIDES, error: float = 0.03) -> Samples:
    """A constant, a linear part, and at the largest size so much that grows by the law."""
    pixels = np.array([side**2 for side in sides], dtype=float)
    rows = {law: np.array([n * law.per_token(int(n)) for n in pixels / 256]) for law in Law}
    linear, own = rows[Law.LINEAR], rows[truth]
    values = share * own / own[-1] + (1 - share) * linear / linear[-1]
    del rows[Law.LINEAR]
    return Samples(
        pixels=pixels,
        values=values + values[0] / 10,
        errors=np.full(len(sides), error),
        base=np.stack([np.ones(len(sides)), linear]),
        growth=rows,
    )


def judge(claim: Law | None, rules: Rules = MEASURED, **scene: Any) -> Decision:
    return decide(make_samples(**scene), claim, rules)


def judge_noisy(truth: Law, claim: Law, noise: float, share: float = 0.5) -> Counter[Judgement]:
    random = np.random.default_rng(7)
    samples = make_samples(truth, share=share, error=float(np.hypot(noise, 0.03)))
    trials = (samples.with_values(samples.values * np.exp(random.normal(0, noise, 6))) for _ in range(TRIALS))
    return Counter(decide(trial, claim, MEASURED).judgement for trial in trials)


@pytest.mark.parametrize("law", Law)
def test_without_noise_every_law_is_found_and_its_claim_holds(law: Law) -> None:
    decision = judge(law, truth=law)

    assert (decision.judgement, decision.law) == (Judgement.CONSISTENT, law)


@pytest.mark.parametrize("law", [law for law in Law if law is not Law.POWER_1_5])
def test_with_noise_a_true_claim_is_never_refused_and_nearly_always_held(law: Law) -> None:
    counts = judge_noisy(law, law, 0.02)

    assert counts[Judgement.INCONSISTENT] == 0
    assert counts[Judgement.CONSISTENT] >= 0.95 * TRIALS


@pytest.mark.parametrize("truth", [Law.POWER_1_5, Law.QUADRATIC])
@pytest.mark.parametrize("claim", [Law.LINEAR, Law.LINEAR_LOG, Law.MULTI_SCALE])
def test_with_noise_a_claim_that_is_too_slow_never_holds_and_nearly_always_fails(truth: Law, claim: Law) -> None:
    counts = judge_noisy(truth, claim, 0.02, share=0.8)

    assert counts[Judgement.CONSISTENT] == 0
    assert counts[Judgement.INCONSISTENT] >= 0.95 * TRIALS


def test_noise_beyond_what_the_sizes_can_tell_is_named() -> None:
    decision = decide(make_samples(Law.LINEAR, error=0.4), Law.LINEAR, MEASURED)

    assert decision.judgement is Judgement.CANNOT_TELL
    assert decision.reason == ("too noisy, about 40.0 % a size: N^1.5 in 50 % of the largest size is not ruled out")
    assert decision.larger_sizes == 0


def test_sizes_that_would_rule_faster_growth_out_are_counted() -> None:
    decision = judge(Law.LINEAR, truth=Law.LINEAR, sides=SIDES[:4], error=0.095)

    assert decision.judgement is Judgement.CANNOT_TELL
    assert decision.reason == "N^1.5 in 50 % of the largest size is not ruled out"
    more = SIDES[: 4 + decision.larger_sizes]
    assert decision.larger_sizes > 0
    assert judge(Law.LINEAR, truth=Law.LINEAR, sides=more, error=0.095).judgement is Judgement.CONSISTENT


def test_too_few_sizes_are_refused_with_how_many_are_needed() -> None:
    decision = judge(Law.LINEAR, truth=Law.LINEAR, sides=(512, 4096))

    assert decision == Decision(
        judgement=Judgement.CANNOT_TELL, reason="too few sizes: 2, at least 4 are needed", larger_sizes=2
    )


def test_sizes_close_to_each_other_are_refused_with_how_far_apart_they_must_be() -> None:
    decision = judge(Law.LINEAR, truth=Law.LINEAR, sides=(512, 640, 768, 1024))

    assert decision == Decision(
        judgement=Judgement.CANNOT_TELL,
        reason="too narrow: 4.0 times the pixels, at least 16 are needed",
        larger_sizes=1,
    )


def test_a_claim_fails_with_the_law_that_holds_and_its_share() -> None:
    decision = judge(Law.LINEAR, truth=Law.QUADRATIC, share=0.75)

    assert (decision.judgement, decision.law) == (Judgement.INCONSISTENT, Law.QUADRATIC)
    assert decision.reason == "grows like N^2: 75 % of the largest size"


def test_a_part_of_faster_growth_fails_a_claim_on_exact_values_before_measured_ones() -> None:
    measured = judge(Law.LINEAR, truth=Law.QUADRATIC, share=0.22)
    exact = judge(Law.LINEAR, COUNTED, truth=Law.QUADRATIC, share=0.22, error=0.01)
    trace = judge(Law.LINEAR, COUNTED, truth=Law.QUADRATIC, share=0.15, error=0.01)

    assert measured.judgement is Judgement.CANNOT_TELL
    assert measured.reason == (
        "24 % of the largest size may grow like N^1.5: too little to tell from kernels that lose speed"
    )
    assert exact.judgement is Judgement.INCONSISTENT
    assert trace.judgement is Judgement.CANNOT_TELL
    assert trace.reason.endswith("may grow like N^2: too little to tell from maps smaller than windows")


def test_a_logarithm_beyond_n_is_not_held_against_what_is_measured() -> None:
    measured = judge(Law.LINEAR, truth=Law.LINEAR_LOG, share=1)
    exact = judge(Law.LINEAR, COUNTED, truth=Law.LINEAR_LOG, share=1, error=0.01)

    assert measured.judgement is Judgement.CANNOT_TELL
    assert measured.reason == "100 % of the largest size may grow like N log N: kernels that lose speed look the same"
    assert exact.judgement is Judgement.INCONSISTENT


def test_a_claim_is_a_bound_unless_it_is_strict() -> None:
    bound = judge(Law.QUADRATIC, truth=Law.LINEAR)
    strict = judge(Law.QUADRATIC, COUNTED, truth=Law.LINEAR, error=0.01)

    assert (bound.judgement, bound.law) == (Judgement.CONSISTENT, Law.LINEAR)
    assert (strict.judgement, strict.reason) == (Judgement.INCONSISTENT, "grows like N, slower than claimed")


def test_a_claimed_law_that_is_a_small_part_is_not_told_from_a_slower_one() -> None:
    decision = judge(Law.QUADRATIC, COUNTED, truth=Law.QUADRATIC, share=0.015, error=0.01)

    assert decision.judgement is Judgement.CANNOT_TELL
    assert decision.reason == "N fits, and N^2 in 1.5 % of the largest size, too"


def test_sizes_of_equally_many_pixels_count_as_one() -> None:
    decision = judge(Law.LINEAR, truth=Law.LINEAR, sides=(512, 512, 512, 2048))

    assert decision.reason == "too few sizes: 2, at least 4 are needed"


def test_a_law_with_as_many_rows_as_sizes_is_not_said_to_miss() -> None:
    samples = make_samples(Law.QUADRATIC, sides=(512, 1024, 4096), error=0.01)

    decision = decide(samples, Law.QUADRATIC, COUNTED)

    assert decision.reason == "too few sizes: N^2 and its linear part pass through all of them"
    assert decision.larger_sizes == 1


def test_without_a_claim_the_law_is_found_and_nothing_is_judged() -> None:
    decision = judge(None, COUNTED, truth=Law.QUADRATIC, error=0.01)

    assert (decision.judgement, decision.law) == (Judgement.NO_CLAIM, Law.QUADRATIC)


def test_exact_values_that_no_law_fits_fail_a_claim_only_where_they_lie_above_it() -> None:
    samples = make_samples(Law.LINEAR, error=0.01)
    jumps = np.array([1, 1, 1, 9, 9, 9.0])

    above = decide(samples.with_values(samples.values * jumps), Law.LINEAR, COUNTED)
    below = decide(samples.with_values(samples.values / jumps), Law.LINEAR, COUNTED)

    assert above.judgement is Judgement.INCONSISTENT
    assert above.reason == "no law fits; the largest sizes are up to 8.4 times what N foretells"
    assert below.judgement is Judgement.CANNOT_TELL


def test_the_largest_sizes_are_held_out_and_foretold_by_the_smaller_ones() -> None:
    samples = make_samples(Law.LINEAR, share=1)
    values = samples.values.copy()
    values[-1] *= 2

    fit = fit_law(samples.with_values(values), Law.LINEAR)

    assert fit.held_out == pytest.approx(0.5)
    assert not fit.is_acceptable


def test_every_law_beyond_n_takes_what_n_fits() -> None:
    fits = fit_laws(make_samples(Law.LINEAR))

    assert [fit.is_acceptable for fit in fits.values()] == [True] * len(Law)
    assert max(fit.share for fit in fits.values()) == pytest.approx(0, abs=1e-6)
