"""Judges a workload on two sides: counts exactly, times in turns. Knows nothing of revisions and files."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from atlasbench.analysis.gate.constants import LOOKS, PASS_PAIRS
from atlasbench.analysis.gate.counted import compare_counted, doubt_what_is_lost
from atlasbench.analysis.gate.matching import label_workload
from atlasbench.analysis.gate.pairs import PairedPass
from atlasbench.analysis.gate.room import fit_together
from atlasbench.analysis.gate.verdicts import CountedChange, GateVerdict, WorkloadVerdict
from atlasbench.core.units import format_bytes
from atlasbench.core.workload import Workload
from atlasbench.sweep.gate_dealers import (
    LaunchDealer,
    PairDealer,
    ScaledDealer,
    Terms,
    find_peak_memory,
    why_not,
)
from atlasbench.sweep.gate_settings import GateSettings
from atlasbench.sweep.gate_sides import Contender, SideError, ask, blaming, count_side
from atlasbench.sweep.paired import Dealer, judge_paired


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """A workload, and what it is compared with.

    Attributes:
        base: What the time is compared with.
        current: What is judged.
        counts_before: What the current counts are compared with; the counts of the base when None.
        expected: Time of the current side relative to the base that counts as no change.
        tolerance: Change of the time that is still the same, relative.
        method: How times are compared, as a verdict says it.
    """

    base: Contender
    current: Contender
    counts_before: Mapping[str, int] | None = None
    expected: float = 1.0
    tolerance: float
    method: str = "paired turns"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What judging needs beside the match.

    Attributes:
        terms: What both sides share.
        settings: Tolerances and budgets.
        force: Whether to try what is predicted not to fit in memory.
        seed: Of the order of turns.
    """

    terms: Terms
    settings: GateSettings
    force: bool = False
    seed: int

    def make_rng(self, label: str) -> random.Random:
        """Decides which side goes first: for a workload always alike, whatever was judged before it."""
        return random.Random(f"{self.seed} {label}")


def judge_match(match: Match, bench: Bench, on_phase: Callable[[str], None]) -> WorkloadVerdict:
    """Compare what is counted; and the times, but on meta.

    Raises:
        SideError: If the current side can run it and the base cannot.
    """
    label, model = label_workload(match.current.workload), match.current.workload.model
    counted: tuple[CountedChange, ...] = ()
    try:
        on_phase("counting")
        match = count_match(match)
        before = dict(match.base.counts if match.counts_before is None else match.counts_before)
        now = dict(match.current.counts)
        counted = compare_counted(before, now, bench.settings.counted)
        uncounted = "" if counted or before else "parameters and FLOPs are not compared: they cannot be counted"
        if match.current.workload.device_type == "meta":
            if uncounted:
                return undecided_workload(match.current.workload, (), uncounted)
            item = WorkloadVerdict(
                label=label, model=model, verdict=GateVerdict.SAME, method="counted", counted=counted, counts=now
            )
            return doubt_what_is_lost(item, before)
        if not bench.force and (reason := why_too_large(match)):
            return replace(undecided_workload(match.current.workload, counted, reason), counts=now)
        if _has_comparable_allocators(match):
            for counts, side in ((before, match.base), (now, match.current)):
                if (peak := find_peak_memory(side, bench.terms)) is not None:
                    counts["peak_allocated_bytes"] = peak
        counted = compare_counted(before, now, bench.settings.counted)
        dealer, min_pairs = choose_dealer(match, bench.terms)
        result = judge_paired(
            ScaledDealer(dealer, match.expected),
            rng=bench.make_rng(label),
            tolerance=match.tolerance,
            min_pairs=min_pairs,
            max_time_s=bench.settings.max_time_s,
            on_progress=on_phase,
        )
    except SideError as error:
        return _explain_failure(error, match, bench, counted)
    item = WorkloadVerdict(
        label=label,
        model=model,
        verdict=result.verdict,
        method=match.method,
        change=result.change,
        low=result.low,
        high=result.high,
        pairs=result.pairs,
        more_samples=result.more_pairs,
        tolerance=match.tolerance,
        reason="; ".join(filter(None, (result.reason, uncounted))),
        counted=counted,
        counts=now,
    )
    return doubt_what_is_lost(item, before)


def count_match(match: Match) -> Match:
    """The match with both sides counted.

    Raises:
        SideError: If one side cannot run it.
    """
    return replace(match, current=count_side(match.current), base=count_side(match.base))


def _explain_failure(
    error: SideError, match: Match, bench: Bench, counted: tuple[CountedChange, ...]
) -> WorkloadVerdict:
    """What it means that one side cannot run a workload: that depends on the other.

    Raises:
        SideError: The same, if the current side can run it and the base cannot.
    """
    workload = match.current.workload
    failed, other = (match.current, match.base) if error.is_current else (match.base, match.current)
    if not why_not(failed, bench.terms):
        return undecided_workload(workload, counted, f"it failed once, and ran when it was tried again: {error}")
    if why_not(other, bench.terms):
        return undecided_workload(workload, counted, f"neither side can run it: {error}")
    if not error.is_current:
        raise error
    return replace(undecided_workload(workload, counted, f"it runs no longer: {error}"), is_broken=True)


def undecided_workload(workload: Workload, counted: tuple[CountedChange, ...], reason: str) -> WorkloadVerdict:
    """A workload whose time cannot be told for a reason other than noise."""
    return WorkloadVerdict(
        label=label_workload(workload),
        model=workload.model,
        verdict=GateVerdict.CANNOT_TELL,
        method="counted",
        reason=reason,
        counted=counted,
    )


def take_ratio(
    match: Match, terms: Terms, measure: Callable[[Dealer], PairedPass], *, force: bool
) -> tuple[PairedPass, tuple[float, float]]:
    """Find how long the current side takes beside the base; judges nothing.

    Args:
        match: Both sides, counted.
        terms: What both sides share.
        measure: Takes the pairs: `measure_ratio` with its limits.
        force: Whether to try what is predicted not to fit in memory.

    Returns:
        The pairs, and the interval of the change.

    Raises:
        SideError: If one of both cannot be run, or there was too little time.
    """
    if not force and (reason := why_too_large(match)):
        raise SideError(reason, is_current=match.current.peak_bytes >= match.base.peak_bytes)
    dealer, _ = choose_dealer(match, terms)
    taken = measure(dealer)
    if taken.interval is None:
        few = f"{len(taken.differences)} pairs in {taken.seconds:.0f} s are too few for an interval"
        few += ": give more time (--max-time of the gate, hard_stop_s of a sweep)"
        raise SideError(few, is_current=True)
    return taken, taken.interval


def choose_dealer(match: Match, terms: Terms) -> tuple[Dealer, int]:
    """Where workers come from, and the least number of pairs before a look: side by side, or where memory is short."""
    peaks = match.base.peak_bytes, match.current.peak_bytes
    fits = fit_together(peaks, match.current.workload.device_type, _free_bytes(match))
    dealer = (PairDealer if fits else LaunchDealer)(match.base, match.current, terms)
    return dealer, LOOKS[0] if fits else PASS_PAIRS


def _has_comparable_allocators(match: Match) -> bool:
    """Whether both sides are one model, on a device whose allocator knows its peak exactly."""
    is_other_model = match.counts_before is not None
    return match.current.workload.device_type == "cuda" and not is_other_model


def why_too_large(match: Match) -> str:
    """Why nothing is tried; empty if both sides fit in memory alone."""
    peak, free = max(match.base.peak_bytes, match.current.peak_bytes), _free_bytes(match)
    if peak <= free:
        return ""
    return f"not tried: predicted peak {format_bytes(peak)}, free {format_bytes(free)} (--force tries)"


def _free_bytes(match: Match) -> int:
    with blaming(match.current):
        free: int = ask(match.current.source, "free_memory", match.current.workload.device)
    return free
