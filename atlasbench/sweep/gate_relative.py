"""`atlasbench gate --relative-to`: models in turns with a baseline model; their ratios hold on other machines."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

from atlasbench.analysis.gate.constants import FILE_TOLERANCE
from atlasbench.analysis.gate.matching import label_workload
from atlasbench.analysis.gate.verdicts import GateResult
from atlasbench.core.errors import InvalidWorkloadError, NothingMeasuredError, RecordsError
from atlasbench.core.recipe import ModelChoice, SweepRequest
from atlasbench.core.record import VERSION_IDENTITY, cell_key
from atlasbench.core.workload import Workload
from atlasbench.sweep.gate import GateOptions, Listener, describe_new, describe_place, judge_all
from atlasbench.sweep.gate_judging import Bench, Match, count_match, take_ratio, undecided_workload
from atlasbench.sweep.gate_ratios import RatioFile, StoredRatio, describe_workload, label_stored
from atlasbench.sweep.gate_sides import Contender, SideError
from atlasbench.sweep.opening import Sweep, open_sweep
from atlasbench.sweep.paired import measure_ratio
from atlasbench.sweep.run import Progress
from atlasbench.sweep.turns import find_baselines


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredRatios:
    """Ratios to a baseline model, and the workloads that have none.

    Attributes:
        file: Ready to be written.
        failures: Why a workload has none, a line each.
    """

    file: RatioFile
    failures: tuple[str, ...]


def measure_ratios(
    baseline: str, request: SweepRequest, options: GateOptions, *, on_progress: Listener = lambda _: None
) -> MeasuredRatios:
    """Measure the throughput of every workload of a request relative to the same with a baseline model.

    Args:
        baseline: The model.
        request: What to measure.
        options: How.
        on_progress: Hears of every step.

    Raises:
        NothingMeasuredError: If no ratio could be measured.
        AtlasBenchError: If the request or the baseline is wrong.
    """
    ratios: list[StoredRatio] = []
    failures: list[str] = []
    with _open_pairs(baseline, request, options) as (sweep, matches):
        bench = options.bench(sweep)
        for index, (asked, match) in enumerate(matches):

            def tell(phase: str, index: int = index, asked: Workload = asked) -> None:
                on_progress(Progress(index=index, total=len(matches), workload=asked, phase=phase))

            try:
                ratios.append(_measure(asked, match, bench, tell))
            except SideError as error:
                failures.append(f"{label_workload(asked) if error.is_current else baseline}: {error}")
        if not ratios:
            raise NothingMeasuredError(f"No ratio could be measured: {failures[0].rstrip('.')}.")
        file = RatioFile(
            baseline=baseline,
            ratios=tuple(ratios),
            seed=options.seed,
            protocol=options.protocol.changes(),
            environment=asdict(sweep.environment),
        )
        return MeasuredRatios(file=file, failures=tuple(failures))


def _measure(asked: Workload, match: Match, bench: Bench, tell: Callable[[str], None]) -> StoredRatio:
    """The ratio of one workload.

    Raises:
        SideError: If it or that of the baseline cannot be run, or there is too little time.
    """
    tell("counting")
    match = count_match(match)
    measure = partial(
        measure_ratio,
        rng=bench.make_rng(label_workload(asked)),
        max_time_s=bench.settings.max_time_s,
        on_progress=tell,
    )
    taken, (low, high) = take_ratio(match, bench.terms, measure, force=bench.force)
    found = StoredRatio(
        workload=describe_workload(asked),
        # Twice the time is half the throughput.
        ratio=1 / (1 + taken.change),
        low=1 / (1 + high),
        high=1 / (1 + low),
        pairs=len(taken.differences),
        counts=match.current.counts,
    )
    if found.doubt > FILE_TOLERANCE:
        raise SideError(
            f"after {found.pairs} pairs it is known to {100 * found.doubt:.0f} % only: give more time (--max-time), or "
            "a quieter machine",
            is_current=True,
        )
    return found


def gate_ratios(
    stored: RatioFile,
    baseline: str,
    request: SweepRequest,
    options: GateOptions,
    *,
    on_progress: Listener = lambda _: None,
) -> GateResult:
    """Compare every workload of a request with its stored ratio to the baseline model, by taking turns here.

    Args:
        stored: The ratios.
        baseline: The model that they are relative to.
        request: What to compare.
        options: How.
        on_progress: Hears of every step.

    Raises:
        RecordsError: If the ratios are relative to another model, or there is none for any of the workloads.
        NothingMeasuredError: If nothing could be run.
        AtlasBenchError: If the request or the baseline is wrong.
    """
    if stored.baseline != baseline:
        raise RecordsError(f"The stored ratios are relative to {stored.baseline}, not to {baseline}.")
    with _open_pairs(baseline, request, options) as (sweep, matches):
        stored.check_protocol(options.protocol)
        found = [(asked, match, stored.find(asked)) for asked, match in matches]
        asked_for = [ratio for *_, ratio in found if ratio is not None]
        if not asked_for:
            there = "; ".join(map(label_stored, stored.ratios))
            raise RecordsError(f"None of these workloads has a stored ratio. There are: {there}.")
        if vague := [label_stored(ratio) for ratio in asked_for if ratio.doubt > FILE_TOLERANCE]:
            raise RecordsError(
                f"The stored ratio of {'; '.join(vague)} is not even known to {100 * FILE_TOLERANCE:.0f} %: store "
                "it again."
            )
        expected = [_expect(match, ratio, options) for _, match, ratio in found if ratio is not None]
        verdicts, missing = judge_all(expected, options.bench(sweep), on_progress)
        undecided = (
            undecided_workload(match.current.workload, (), f"{baseline} cannot run beside it: {reason}")
            for match, reason in missing
        )
        return GateResult(
            workloads=(*verdicts, *undecided),
            only_base=tuple(label_stored(ratio) for ratio in stored.ratios if ratio not in asked_for),
            only_current=tuple(describe_new(match.current) for _, match, ratio in found if ratio is None),
            differences=tuple(_compare_environments(stored.environment, asdict(sweep.environment))),
            notes=(
                f"Throughput relative to {baseline}, here and as it was stored.",
                describe_place(sweep, options),
            ),
        )


def _compare_environments(stored: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """What may move a ratio and is another than when it was stored; a machine of another name is none of it."""
    before, after = ({**side, **side.get("versions", {})} for side in (stored, now))
    for name in ("device", "driver", "threads", *VERSION_IDENTITY):
        if name in before and before[name] != after.get(name):
            yield f"{name}: {before[name] or 'none'} when stored, {after.get(name) or 'none'} now"


def _expect(match: Match, stored: StoredRatio, options: GateOptions) -> Match:
    """The match with what was stored as its base."""
    tolerance = options.settings.tolerance or FILE_TOLERANCE
    # The stored ratio is itself known only within its interval: that is nobody's regression.
    per_mille = math.ceil(round(1000 * ((1 + tolerance) * (1 + stored.doubt) - 1), 6))
    return replace(
        match,
        counts_before=stored.counts,
        expected=1 / stored.ratio,
        tolerance=per_mille / 1000,
        method="stored ratio",
    )


@contextmanager
def _open_pairs(
    baseline: str, request: SweepRequest, options: GateOptions
) -> Iterator[tuple[Sweep, list[tuple[Workload, Match]]]]:
    """A sweep of the models and the baseline; every workload of a model with the one of the baseline beside it."""
    both = replace(request, models=(ModelChoice(name=baseline, label=baseline), *request.models))
    num_bases = len(find_baselines(both, baseline))
    with open_sweep(both, protocol=options.protocol, threads=options.threads, force=options.force) as sweep:
        if sweep.workloads[0].device_type == "meta":
            raise InvalidWorkloadError("--relative-to compares times, and meta only counts: choose another device.")
        # Models are outermost in the order of workloads, and the baseline is the first of them.
        bases = {cell_key(workload): workload for workload in sweep.workloads[:num_bases]}
        others = sweep.workloads[num_bases:]
        yield (
            sweep,
            [
                (
                    workload,
                    Match(
                        base=Contender(source=sweep.session, workload=bases[cell_key(workload)], is_current=False),
                        current=Contender(source=sweep.session, workload=workload, is_current=True),
                        tolerance=FILE_TOLERANCE,
                    ),
                )
                for workload in others
            ],
        )
