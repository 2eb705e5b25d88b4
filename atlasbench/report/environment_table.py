"""The environment as rows of field and value."""

from __future__ import annotations

from atlasbench.core.record import Environment
from atlasbench.core.units import format_bytes


def describe_fields(environment: Environment) -> list[dict[str, str]]:
    """What records will carry, a row a field."""
    git = environment.git_commit[:12]
    rows = {
        "machine": environment.machine,
        "os": environment.os,
        "processor": f"{environment.processor}, {environment.cpu_count} cores",
        "memory": format_bytes(environment.memory_bytes),
        "device": environment.device,
        "device memory": format_bytes(environment.device_memory_bytes) if environment.device_memory_bytes else "",
        "driver": environment.driver,
        "threads": str(environment.threads),
        **environment.versions,
        **environment.clocks,
        "git commit": f"{git}{' with changes' if environment.git_dirty else ''}" if git else "",
    }
    return [{"field": name, "value": value} for name, value in rows.items() if value]
