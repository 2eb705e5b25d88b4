"""Runs a checked sweep with progress on stderr, and shows what came of it."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import typer

from atlasbench.cli.output import INTERRUPTED, page_width, say, show_rows, show_table
from atlasbench.cli.progress import SweepProgress
from atlasbench.core.errors import NothingMeasuredError
from atlasbench.core.plan import Plan
from atlasbench.core.recipe import Recipe
from atlasbench.core.record import Measurement, Record, Status
from atlasbench.core.units import format_duration
from atlasbench.core.workload import Workload
from atlasbench.store.jsonl import describe_unreadable
from atlasbench.sweep.grid import find_label
from atlasbench.sweep.opening import Sweep
from atlasbench.sweep.run import counted, make_record

if TYPE_CHECKING:
    from atlasbench.report.layout import TextTable


def show_sweep(sweep: Sweep, output_format: str, recipe: Recipe | None = None) -> None:
    """Measure everything, show the table, and say what was learned.

    Args:
        sweep: What to measure.
        output_format: One of `FORMATS`.
        recipe: Where it comes from: its words name the rows.

    Raises:
        NothingMeasuredError: If no workload ended ok.
    """
    if sweep.unreadable:
        say(f"warning: {describe_unreadable(sweep.unreadable)}")
    plans, seconds = _look_ahead(sweep)
    _announce(sweep, plans, seconds)
    records: list[Record] = []
    with SweepProgress(sweep.workloads, seconds) as progress:
        try:
            for record in sweep.run(plans=plans, on_progress=progress.show):
                records.append(record)
                progress.finish(record, is_new=_is_new(record, sweep))
        except KeyboardInterrupt:
            progress.stop()
            _show_records(records, output_format, sweep, recipe)
            kept = f", kept in {sweep.out}; --resume goes on" if records and sweep.out is not None else ""
            say(f"interrupted: {len(records)} of {len(sweep.workloads)} workloads done{kept}")
            raise typer.Exit(INTERRUPTED) from None
    _show_records(records, output_format, sweep, recipe)
    new = [record for record in records if _is_new(record, sweep)]
    if new and sweep.out is not None:
        say(f"Records: {sweep.out / sweep.run_id}.jsonl")
    ends = Counter(record.measurement.status for record in records)
    if new and Status.OK not in ends:
        raise NothingMeasuredError(
            f"Nothing could be measured: {', '.join(f'{count} {status}' for status, count in ends.items())}."
        )


def _is_new(record: Record, sweep: Sweep) -> bool:
    return record.run_id == sweep.run_id


def _show_records(records: Sequence[Record], output_format: str, sweep: Sweep, recipe: Recipe | None) -> None:
    from atlasbench.analysis.findings import suggest_command, summarize_records
    from atlasbench.report.export import export_csv, export_json
    from atlasbench.report.layout import wrap_words
    from atlasbench.report.profile_table import build_profile_table

    if output_format == "json":
        typer.echo(export_json(records))
    elif output_format == "csv":
        typer.echo(export_csv(records))
    elif records:
        show_table(_in_words_of(recipe, build_profile_table(records), sweep), output_format)
        if output_format == "table":
            if summary := summarize_records(records):
                typer.echo(f"\n{wrap_words(summary, page_width())}")
            is_for_plots = recipe is not None and sweep.out is not None
            next_command = (
                f"atlasbench plot {shlex.quote(str(sweep.out))}" if is_for_plots else suggest_command(records)
            )
            typer.echo(f"\nNext: {next_command}")


def _in_words_of(recipe: Recipe | None, table: TextTable, sweep: Sweep) -> TextTable:
    """The table as a recipe names it and its rows."""
    from atlasbench.report.row_names import name_rows

    if recipe is None:
        return table
    return name_rows(table, recipe.title, [find_label(recipe.request, workload) for workload in sweep.workloads])


def _look_ahead(sweep: Sweep) -> tuple[list[Plan | Measurement] | None, list[float]]:
    """Counts of everything and about how long each takes; nothing ahead where counting is the measurement."""
    if sweep.workloads[0].device_type == "meta":
        return None, [0.0] * len(sweep.workloads)
    return _plan(sweep)


def _plan(sweep: Sweep) -> tuple[list[Plan | Measurement], list[float]]:
    with SweepProgress(sweep.workloads, [0.0] * len(sweep.workloads), is_planning=True) as progress:
        plans = sweep.plan(progress.show)
    return plans, sweep.estimate(plans)


def _announce(sweep: Sweep, plans: Sequence[Plan | Measurement] | None, seconds: Sequence[float]) -> None:
    count = len(sweep.workloads)
    text = f"{count} workload{'' if count == 1 else 's'} on {sweep.workloads[0].device}"
    if plans is not None and sweep.finished:
        before = sum(map(sweep.is_finished, sweep.workloads, plans))
        text += f", {before} measured before, {count - before} left"
    say(text + (f", about {format_duration(sum(seconds))}" if any(seconds) else ""))


def show_plans(sweep: Sweep, output_format: str, recipe: Recipe | None = None) -> None:
    """List the workloads with counts and predicted memory, and measure nothing."""
    from atlasbench.report.profile_table import build_plan_table

    plans, seconds = _plan(sweep)
    if output_format in ("json", "csv"):
        records = [
            make_record(
                workload,
                plan,
                plan if isinstance(plan, Measurement) else counted(plan),
                sweep.environment,
                sweep.run_id,
            )
            for workload, plan in zip(sweep.workloads, plans, strict=True)
        ]
        _show_records(records, output_format, sweep, recipe)
    else:
        table = build_plan_table(sweep.workloads, plans, seconds, sweep.environment)
        show_table(_in_words_of(recipe, table, sweep), output_format)
    _announce(sweep, plans, seconds)


def show_modules(sweep: Sweep, depth: int, output_format: str) -> None:
    """Show where the parameters and FLOPs of each workload are.

    Raises:
        NothingMeasuredError: If none could be counted.
    """
    from atlasbench.report.module_table import build_module_table, module_rows

    plans = list(_countable(sweep))
    if not plans:
        raise NothingMeasuredError("Nothing could be counted.")
    if output_format in ("json", "csv"):
        show_rows([row for _, plan in plans for row in module_rows(plan)], output_format, title="")
        return
    for index, (workload, plan) in enumerate(plans):
        typer.echo("\n" if index else "", nl=False)
        show_table(build_module_table(plan, depth, sweep.session.second_opinion(workload)), output_format)


def _countable(sweep: Sweep) -> Iterator[tuple[Workload, Plan]]:
    for workload, plan in zip(sweep.workloads, sweep.plan(), strict=True):
        if isinstance(plan, Plan) and plan.counts:
            yield workload, plan
        else:
            reason = "; ".join(plan.notes) if isinstance(plan, Plan) else f"{plan.status}: {plan.message}"
            say(f"{workload.label}: {reason}")
