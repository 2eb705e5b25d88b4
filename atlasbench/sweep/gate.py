"""`atlasbench gate --against`: this source and another revision of it, in turns."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import atlasbench
from atlasbench.analysis.gate.constants import TOLERANCE
from atlasbench.analysis.gate.matching import label_workload
from atlasbench.analysis.gate.verdicts import GateResult, NewWorkload, WorkloadVerdict
from atlasbench.core.errors import InvalidWorkloadError, NothingMeasuredError, RevisionError
from atlasbench.core.protocol import Protocol
from atlasbench.core.recipe import SweepRequest
from atlasbench.core.workload import is_file
from atlasbench.measure.workers import WorkerServer
from atlasbench.measure.worktree import check_out, top_of_checkout
from atlasbench.sweep.gate_dealers import Terms
from atlasbench.sweep.gate_judging import Bench, Match, judge_match
from atlasbench.sweep.gate_settings import GateSettings
from atlasbench.sweep.gate_sides import Contender, SideError, check_serves, count_side
from atlasbench.sweep.opening import Sweep, open_sweep
from atlasbench.sweep.run import Progress

Listener = Callable[[Progress], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class GateOptions:
    """How a gate is run, whatever it compares.

    Attributes:
        settings: Tolerances and budgets.
        protocol: How to warm up, and how long a call may take.
        threads: Cores to use on a CPU; all physical cores when None.
        force: Whether to try what is predicted not to fit in memory.
        seed: Of the order of turns.
    """

    settings: GateSettings
    protocol: Protocol
    threads: int | None = None
    force: bool = False
    seed: int

    def bench(self, sweep: Sweep) -> Bench:
        """What judging the workloads of a sweep needs."""
        terms = Terms(protocol=self.protocol, threads=sweep.environment.threads)
        return Bench(terms=terms, settings=self.settings, force=self.force, seed=self.seed)


def gate_against(
    name: str,
    request: SweepRequest,
    options: GateOptions,
    *,
    python: Path | None = None,
    on_progress: Listener = lambda _: None,
) -> GateResult:
    """Compare every workload of a request with what it is in another revision of the checkout of this folder.

    Args:
        name: The revision, as git understands it.
        request: What to compare.
        options: How.
        python: Interpreter of the revision; this one when None.
        on_progress: Hears of every step.

    Raises:
        NothingMeasuredError: If there is no workload that both could run.
        AtlasBenchError: If the request or the revision is wrong.
    """
    top = top_of_checkout(Path.cwd())
    package = _find_package(request, top)
    with (
        check_out(name, Path.cwd()) as revision,
        WorkerServer(
            sources=[revision.top / folder for folder in _import_folders(top, package)],
            python=python,
            folder=revision.folder,
        ) as base,
        open_sweep(request, protocol=options.protocol, threads=options.threads, force=options.force) as sweep,
    ):
        versions = check_serves(base, revision, revision.top / package if package else None)
        matches = [
            Match(
                base=Contender(source=base, workload=workload, is_current=False, foreign=top, own=revision.top),
                current=Contender(source=sweep.session, workload=workload, is_current=True),
                tolerance=options.settings.tolerance or TOLERANCE,
            )
            for workload in sweep.workloads
        ]
        verdicts, missing = judge_all(matches, options.bench(sweep), on_progress)
        notes = (
            f"Base: {revision}. Current: the working tree{_describe_source(sweep) if package else ''}.",
            describe_place(sweep, options),
            *(f"Not in the base: {label_workload(match.current.workload)}: {reason}" for match, reason in missing),
        )
        return GateResult(
            workloads=tuple(verdicts),
            only_current=tuple(describe_new(match.current) for match, _ in missing),
            differences=tuple(_compare_versions(versions, sweep.environment.versions)),
            notes=notes,
        )


def describe_new(side: Contender) -> NewWorkload:
    """A workload that the base lacks, counted for its budgets."""
    workload, counts = side.workload, side.counts
    with contextlib.suppress(SideError):
        counts = count_side(side).counts
    return NewWorkload(label=label_workload(workload), model=workload.model, counts=counts)


def _compare_versions(base: Mapping[str, str], current: Mapping[str, str]) -> Iterator[str]:
    """Libraries that the sides do not share: what changed may be theirs; our own is what is judged."""
    for name in base:
        if name != "atlasbench" and name in current and base[name] != current[name]:
            yield f"{name}: {base[name]} in the base, {current[name]} now"


def judge_all(
    matches: Sequence[Match], bench: Bench, on_progress: Listener
) -> tuple[list[WorkloadVerdict], list[tuple[Match, str]]]:
    """Judge one match after the other.

    Returns:
        The verdicts; and those whose base cannot run what the current side can, with the reason.

    Raises:
        NothingMeasuredError: If there is nothing that both sides could run.
    """
    verdicts: list[WorkloadVerdict] = []
    missing: list[tuple[Match, str]] = []
    for index, match in enumerate(matches):

        def tell(phase: str, index: int = index, match: Match = match) -> None:
            on_progress(Progress(index=index, total=len(matches), workload=match.current.workload, phase=phase))

        try:
            verdicts.append(judge_match(match, bench, tell))
        except SideError as error:
            missing.append((match, str(error)))
    if not any(item.pairs or item.counted or item.is_broken for item in verdicts):
        reasons = [*(item.reason for item in verdicts), *(f"the base cannot run it: {why}" for _, why in missing)]
        raise NothingMeasuredError(f"Nothing could be compared: {reasons[0].rstrip('.')}.")
    return verdicts, missing


def _describe_source(sweep: Sweep) -> str:
    """The commit that this program runs from, and whether its files differ from it."""
    environment = sweep.environment
    return f" of {environment.git_commit[:10]}{' with changes' if environment.git_dirty else ''}"


def describe_place(sweep: Sweep, options: GateOptions) -> str:
    """Where turns were taken, and how to take them in the same order again."""
    device, threads = sweep.environment.device, sweep.environment.threads
    kind = sweep.workloads[0].device_type
    cores = f", {threads} thread{'' if threads == 1 else 's'}" if kind == "cpu" else ""
    seed = "" if kind == "meta" else f", seed {options.seed}"
    return f"{device}{cores}{seed}."


def _find_package(request: SweepRequest, top: Path) -> str:
    """Name of the folder in a checkout that holds the package that runs; empty if it runs from elsewhere.

    Raises:
        RevisionError: If a revision of the checkout would change nothing.
        InvalidWorkloadError: If a model would be the same in every revision.
    """
    package = Path(atlasbench.__file__).resolve().parent
    files = [choice.name for choice in request.choices if is_file(choice.name)]
    for name in files:
        if Path(name).is_absolute():
            raise InvalidWorkloadError(f"{name} would be the same in every revision: write it relative to this folder.")
    if package.parent == top:
        return package.name
    if len(files) < len(request.models):
        raise RevisionError(
            f"atlasbench runs from {str(package)!r}, which no revision of {str(top)!r} would change: install that "
            "checkout with `pip install -e`."
        )
    return ""


def _import_folders(top: Path, package: str) -> list[Path]:
    """Where imports are looked for in a checkout, relative to its top; that of the package that runs first."""
    folders = [top] if package else []
    folders += (folder for entry in sys.path if (folder := Path(entry).resolve()).is_relative_to(top))
    return [folder.relative_to(top) for folder in dict.fromkeys(folders)]
