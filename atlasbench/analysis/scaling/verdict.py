"""The verdict on one quantity of one series, and all of them in a sentence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from atlasbench.analysis.exponent import Exponent
from atlasbench.analysis.scaling.decision import Judgement
from atlasbench.analysis.scaling.quantities import Quantity
from atlasbench.core.kinds import Kind
from atlasbench.core.laws import Law
from atlasbench.core.resolution import Resolution


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalingVerdict:
    """Whether a claim about growth holds.

    Attributes:
        label: The series.
        model: Its model.
        machine: Where it was measured; empty for what is counted, which is the same on every machine.
        quantity: What grows.
        kind: Counted, predicted or measured.
        claim: The law that is claimed; None where nothing is.
        judgement: In one word.
        reason: In a few; empty where there is nothing to add.
        law: The slowest law that fits, where faster ones are ruled out; None where there is none.
        also: Faster laws that are not ruled out and decide nothing: a logarithm beyond N.
        resolutions: Sizes judged, smallest first.
        by_tokens: Exponent against the tokens really computed.
        by_pixels: Exponent against the pixels of the image.
        fit_error: Largest relative difference between values and the law's curve; None where nothing was fitted.
        held_out: Largest relative difference between the largest sizes and what the smaller ones foretell.
        add_resolutions: Sizes that would help to decide.
    """

    label: str
    model: str
    machine: str
    quantity: Quantity
    kind: Kind
    claim: Law | None
    judgement: Judgement
    reason: str = ""
    law: Law | None = None
    also: tuple[Law, ...] = ()
    resolutions: tuple[Resolution, ...] = ()
    by_tokens: Exponent | None = None
    by_pixels: Exponent | None = None
    fit_error: float | None = None
    held_out: float | None = None
    add_resolutions: tuple[Resolution, ...] = ()

    @property
    def law_words(self) -> str:
        """The law, and what it cannot be told from; empty where there is none."""
        return " or ".join([self.law, *self.also]) if self.law is not None else ""

    @property
    def words(self) -> str:
        """The judgement with its reason, and what to do."""
        advice = f"; add --res {' '.join(map(str, self.add_resolutions))}" if self.add_resolutions else ""
        return f"{self.judgement}{': ' if self.reason or advice else ''}{self.reason}{advice}"


def has_failed(verdicts: Sequence[ScalingVerdict]) -> bool:
    """Whether a claim does not hold."""
    return any(verdict.judgement is Judgement.INCONSISTENT for verdict in verdicts)


def summarize_verdicts(verdicts: Sequence[ScalingVerdict]) -> str:
    """One sentence: which claims fail, or that all hold, and how many cannot be told."""
    if not verdicts:
        return "Nothing to judge: no record has counts, memory or times."
    failed = [_say_failure(item) for item in verdicts if item.judgement is Judgement.INCONSISTENT]
    counts = Counter(item.judgement for item in verdicts if item.claim is not None)
    holding, untold = counts[Judgement.CONSISTENT], counts[Judgement.CANNOT_TELL]
    sentences = []
    if failed:
        sentences.append(f"{_count(len(failed), 'claim fails', 'claims fail')}: {'; '.join(failed)}.")
    if holding or untold:
        told = [_count(holding, "claim holds", "claims hold")] if holding else []
        sentences.append(f"{', '.join([*told, *([f'{untold} cannot be told'] if untold else [])])}.")
    return " ".join(sentences) or "No model here makes a claim."


def _say_failure(verdict: ScalingVerdict) -> str:
    where = f" on {verdict.machine}" if verdict.machine else ""
    found = f"grows like {verdict.law}" if verdict.law is not None else verdict.reason
    return f"{verdict.label} {verdict.quantity}{where} is claimed {verdict.claim}, {found}"


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"
