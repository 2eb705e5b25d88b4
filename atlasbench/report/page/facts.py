"""What the page says about where its numbers come from: contents in a sentence, environments, versions to install."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from atlasbench.analysis.commands import install_commands
from atlasbench.analysis.series import Machine
from atlasbench.core.record import Environment, Record, Status
from atlasbench.core.units import format_bytes, format_quantity
from atlasbench.report.environment_table import describe_fields


def describe_contents(machines: Sequence[Machine]) -> str:
    """One sentence: which models and sizes, when, and how many workloads on each machine."""
    records = [record for machine in machines for record in machine.records]
    models = {record.workload.model for record in records}
    sizes = sorted({record.workload.resolution for record in records}, key=lambda size: (size.pixels, size.height))
    what = _count(len(models), "model") if len(models) > 1 else next(iter(models))
    span = f"at {sizes[0]} px" if len(sizes) == 1 else f"from {sizes[0]} to {sizes[-1]} px"
    days = sorted({record.time[:10] for record in records})
    when = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
    where = "; ".join(map(_describe_machine, machines))
    return f"{what} {span}, {when}: {where}."


def name_machine(machine: Machine) -> str:
    """Its name as a heading."""
    return machine.name[:1].upper() + machine.name[1:]


def describe_environment_fully(environment: Environment) -> list[tuple[str, str]]:
    """Every field of an environment: what it is, and its value."""
    fields = {row["field"]: row["value"] for row in describe_fields(environment)}
    if environment.git_commit:
        fields["git commit"] = environment.git_commit + _changes(environment)
    fields |= {
        f"matrix product, {dtype}": f"{format_quantity(speed, 'FLOP/s')} (measured)"
        for dtype, speed in environment.matmul_flops_per_s.items()
    }
    if environment.copy_bytes_per_s is not None:
        fields["copy, read and written"] = f"{format_bytes(environment.copy_bytes_per_s)}/s (measured)"
    return list(fields.items())


def describe_installations(records: Sequence[Record]) -> list[tuple[str, list[str]]]:
    """For each set of versions that records were made with: what it was, and the lines that install it."""
    counts = Counter(
        (_describe_installation(record.environment), *install_commands(record.environment)) for record in records
    )
    return [
        (f"{'All records' if len(counts) == 1 else _count(count, 'record')}: {description}.", lines)
        for (description, *lines), count in counts.items()
    ]


def _describe_installation(environment: Environment) -> str:
    versions = environment.versions
    source = f"Python {versions.get('python', '?')}, atlasbench {versions.get('atlasbench', 'of an unknown version')}"
    if environment.git_commit:
        source += f", commit {environment.git_commit[:12]}{_changes(environment)}"
    return source


def _changes(environment: Environment) -> str:
    if environment.git_dirty is None:
        return ""
    return " and changes that were not committed" if environment.git_dirty else ", nothing changed"


def _describe_machine(machine: Machine) -> str:
    done = machine.name if machine.is_counted else f"measured on {machine.name}"
    total = len(machine.records)
    succeeded = sum(record.measurement.status is Status.OK for record in machine.records)
    which = "" if succeeded == total else f", {succeeded or 'none'} of them"
    return f"{_count(total, 'workload')}{which} {done}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
