"""Runs a checked sweep with progress on stderr, and shows what came of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from atlasbench.api import Sweep, existing_records
from atlasbench.cli.output import say, show_table
from atlasbench.cli.progress import SweepProgress
from atlasbench.core.errors import NothingMeasuredError
from atlasbench.core.plan import Plan
from atlasbench.core.record import Measurement, Record, Status
from atlasbench.core.units import format_seconds
from atlasbench.sweep.estimate import estimate_sweep

if TYPE_CHECKING:
    from collections.abc import Iterator


def show_sweep(sweep: Sweep, folder: Path | None, output_format: str, *, resume: bool) -> None:
    """Measure everything, show the table, and say what was learned.

    Raises:
        NothingMeasuredError: If no workload ended ok.
    """
    if resume and folder is not None:
        _say_unreadable(folder)
    plans, seconds = _plan(sweep)
    _announce(sweep, seconds)
    records: list[Record] = []
    with SweepProgress(sweep.workloads, seconds) as progress:
        try:
            for record in sweep.run(folder, plans=plans, resume=resume, on_progress=progress.show):
                records.append(record)
                progress.finish(record)
        except KeyboardInterrupt:
            progress.stop()
            _show_records(records, output_format)
            kept = f" in {folder}" if folder is not None else ""
            say(f"interrupted: {len(records)} of {len(sweep.workloads)} workloads done{kept}; --resume goes on")
            raise typer.Exit(130) from None
    skipped = len(sweep.workloads) - len(records)
    if skipped:
        say(f"{skipped} of {len(sweep.workloads)} workloads were measured here before: skipped.")
    _show_records(records, output_format)
    if records and folder is not None:
        say(f"records: {folder / sweep.run_id}.jsonl")
    if records and not any(record.measurement.status is Status.OK for record in records):
        ends = Counter(record.measurement.status.value for record in records)
        raise NothingMeasuredError(
            "Nothing could be measured: " + ", ".join(f"{count} {status}" for status, count in ends.items()) + "."
        )


def _show_records(records: Sequence[Record], output_format: str) -> None:
    from atlasbench.analysis.findings import suggest_command, summarize_records
    from atlasbench.report.export import export_csv, export_json
    from atlasbench.report.profile_table import build_profile_table, describe_environment

    if output_format == "json":
        typer.echo(export_json(records))
    elif output_format == "csv":
        typer.echo(export_csv(records))
    elif records:
        show_table(build_profile_table(records), output_format)
        if output_format == "table":
            typer.echo(f"Environment: {describe_environment(records[0].environment)}")
            summary = summarize_records(records)
            typer.echo(f"\n{summary}" if summary else "")
            typer.echo(f"Next: {suggest_command(records)}")


def _plan(sweep: Sweep) -> tuple[list[Plan | Measurement] | None, list[float]]:
    """Counts of everything and about how long each takes; nothing ahead where counting is the measurement."""
    if sweep.workloads[0].device_type == "meta":
        return None, [0.0] * len(sweep.workloads)
    with SweepProgress(sweep.workloads, None) as progress:
        plans = sweep.plan(progress.show)
    return plans, _estimate(sweep, plans)


def _estimate(sweep: Sweep, plans: Sequence[Plan | Measurement]) -> list[float]:
    first = sweep.workloads[0]
    if first.device_type == "meta":
        return [0.0] * len(plans)
    speed = sweep.session.measure_speed(first.device, first.dtype.value)
    return estimate_sweep(plans, sweep.protocol, speed)


def _announce(sweep: Sweep, seconds: Sequence[float]) -> None:
    count = len(sweep.workloads)
    duration = f", about {format_seconds(sum(seconds))}" if any(seconds) else ""
    say(f"{count} workload{'' if count == 1 else 's'} on {sweep.workloads[0].device}{duration}")


def _say_unreadable(folder: Path) -> None:
    _, unreadable = existing_records(folder)
    if unreadable:
        say(f"warning: {len(unreadable)} unreadable lines skipped, the first: {unreadable[0]}")


def show_plans(sweep: Sweep, output_format: str) -> None:
    """List the workloads with counts and predicted memory, and measure nothing."""
    from atlasbench.report.profile_table import build_plan_table

    with SweepProgress(sweep.workloads, None) as progress:
        plans = sweep.plan(progress.show)
    seconds = _estimate(sweep, plans)
    if output_format in ("json", "csv"):
        _show_records([_as_record(sweep, index, plan) for index, plan in enumerate(plans)], output_format)
        return
    show_table(build_plan_table(sweep.workloads, plans, seconds), output_format)
    _announce(sweep, seconds)


def _as_record(sweep: Sweep, index: int, plan: Plan | Measurement) -> Record:
    if isinstance(plan, Measurement):
        workload, measurement = sweep.workloads[index], plan
    else:
        workload = plan.workload
        measurement = Measurement(status=Status.OK, notes=plan.notes, counts=plan.counts)
    return Record(
        workload=workload,
        measurement=measurement,
        environment=sweep.environment,
        run_id=sweep.run_id,
        time="",
    )


def show_modules(sweep: Sweep, depth: int, output_format: str) -> None:
    """Show where the parameters and FLOPs of each workload are."""
    from atlasbench.cli.output import show_rows
    from atlasbench.report.profile_table import build_module_table

    rows: list[dict[str, object]] = []
    for plan in _plans_or_reasons(sweep):
        if output_format in ("json", "csv"):
            rows += [
                {
                    "model": plan.workload.model,
                    "resolution": str(plan.workload.resolution),
                    "module": module.path,
                    "part": module.part,
                    "params": module.params,
                    "macs": module.macs,
                    "flops": 2 * module.macs,
                }
                for module in plan.modules
            ]
        else:
            show_table(build_module_table(plan, depth), output_format)
    if rows:
        show_rows(rows, output_format, title="")


def _plans_or_reasons(sweep: Sweep) -> Iterator[Plan]:
    found = False
    for workload, plan in zip(sweep.workloads, sweep.plan(), strict=True):
        if isinstance(plan, Measurement):
            say(f"{workload.label}: {plan.status.value}: {plan.message}")
        else:
            found = True
            yield plan
    if not found:
        raise NothingMeasuredError("Nothing could be counted.")
