"""What a gate found, in words: headline, changes, reasons."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from atlasbench.analysis.gate.constants import LOOKS
from atlasbench.analysis.gate.verdicts import BUDGET, CountedChange, GateResult, GateVerdict, WorkloadVerdict
from atlasbench.core.units import format_bytes, format_quantity

_QUANTITIES = {
    "params": "parameters",
    "flops": "FLOPs",
    "predicted_peak_bytes": "predicted peak memory",
    "peak_allocated_bytes": "peak allocated memory",
}
_METHODS = {
    "paired turns": (
        "measured time of a step beside the base: median of pairs of turns in one run, with an interval of at least "
        "95 % for these workers"
    ),
    "stored ratio": (
        "measured ratio of the times of a step beside the stored one: median of pairs of turns, with an interval of at "
        "least 95 % for these workers"
    ),
    "record files": (
        "measured time of a step beside the base: means of the launches' medians, on a logarithmic scale, with an "
        "interval of 95 %"
    ),
}

_NOT_COMPARED = "Not compared"


def write_headline(result: GateResult) -> str:
    """One sentence: whether anything got worse, and how many workloads ended how."""
    if any(item.is_worse for item in result.workloads):
        start = "Regression"
    elif result.verdict is GateVerdict.CANNOT_TELL:
        start = "No regression found, but not everything can be told"
    else:
        start = "No regression"
    counts = {
        "slower": sum(item.verdict is GateVerdict.SLOWER for item in result.workloads),
        "needing more": sum(any(change.is_worse for change in item.counted) for item in result.workloads),
        "no longer running": sum(item.is_broken for item in result.workloads),
        "cannot tell": sum(item.verdict is GateVerdict.CANNOT_TELL and not item.is_broken for item in result.workloads),
        "faster": sum(item.verdict is GateVerdict.FASTER for item in result.workloads),
        "same": sum(item.verdict is GateVerdict.SAME and not item.is_worse for item in result.workloads),
        "gone": len(result.only_base),
        "new": len(result.only_current),
    }
    total = len(result.workloads)
    found = ", ".join(f"{count} {word}" for word, count in counts.items() if count)
    return f"{start}. {total} workload{'' if total == 1 else 's'}: {found or 'nothing to compare'}."


def write_verdict(item: WorkloadVerdict) -> str:
    """The verdict of a workload, with what was found beside its time."""
    if item.is_broken:
        return "no longer runs"
    if item.verdict is not GateVerdict.SLOWER and any(change.is_worse for change in item.counted):
        return "needs more" if item.verdict is GateVerdict.SAME else f"{item.verdict}, needs more"
    return str(item.verdict)


def write_change(change: float | None) -> str:
    """A relative change as a signed percentage: `+5.2 %`."""
    if change is None:
        return "-"
    return "0.0 %" if abs(change) < 0.0005 else f"{100 * change:+.1f} %"


def write_interval(item: WorkloadVerdict) -> str:
    """The interval of a change: `+4.1 to +6.3 %`."""
    if item.low is None or item.high is None:
        return "-"
    return f"{100 * item.low:+.1f} to {100 * item.high:+.1f} %"


def write_counted(change: CountedChange) -> str:
    """A counted quantity that is news: `FLOPs from 2.00 G to 2.10 G (+5.0 %)`."""
    name = change.name.removesuffix(BUDGET)
    write = format_bytes if name.endswith("_bytes") else format_quantity
    before, after = write(change.base), write(change.current)
    growth = write_change(change.change)
    if before == after:
        before, after = f"{change.base:.0f}", f"{change.current:.0f}"
        growth = f"{change.current - change.base:+.0f}"
    words = _QUANTITIES.get(name, name)
    if change.is_budget:
        return f"{words} {after}, over the budget of {before}"
    allowed = f", {100 * change.tolerance:g} % is allowed" if change.is_worse and change.tolerance else ""
    return f"{words} from {before} to {after} ({growth}{allowed})"


def write_details(item: WorkloadVerdict) -> str:
    """What stands behind a verdict: its reason, what would decide, and counted quantities that changed."""
    parts = [item.reason] if item.reason else []
    if item.verdict is GateVerdict.CANNOT_TELL and item.more_samples:
        unit = "launch" if item.method == "record files" else "pair"
        plural = "" if item.more_samples == 1 else "es" if unit == "launch" else "s"
        where = " a side" if unit == "launch" else ""
        parts.append(f"about {item.more_samples} more {unit}{plural}{where} would decide")
        if unit == "pair" and item.pairs >= LOOKS[-1]:
            parts.append(f"a pass takes {LOOKS[-1]} at most: a quieter machine or a wider tolerance would, too")
    parts += [write_counted(change) for change in item.counted if change.is_news]
    return "; ".join(parts)


def write_summary(item: WorkloadVerdict) -> str:
    """Everything about a workload in one line."""
    time = f"time {write_change(item.change)}" if item.change is not None else ""
    if item.low is not None:
        time += f" ({write_interval(item)}, {item.pairs} {'launches' if item.method == 'record files' else 'pairs'})"
    return "; ".join(filter(None, (write_verdict(item), time, write_details(item))))


def write_surroundings(result: GateResult) -> Iterator[str]:
    """Lines about what is not judged: workloads of one side, what differs, what else to know."""
    if result.only_base:
        yield f"Only in the base: {'; '.join(result.only_base)}."
    if result.only_current:
        yield f"New: {'; '.join(item.label for item in result.only_current)}."
    yield from (f"{_NOT_COMPARED}: {line}." for line in result.gaps)
    yield from (f"Differs: {line}." for line in result.differences)
    yield from result.notes


def list_missing(result: GateResult) -> Iterator[tuple[str, str]]:
    """What was not compared: each a name, and what to say of it."""
    yield from ((label, "only in the base: it is not compared") for label in result.only_base)
    yield from ((_NOT_COMPARED, line) for line in result.gaps)


def explain_verdicts(result: GateResult) -> list[str]:
    """How to read the words and numbers, as far as they occur."""
    lines = []
    for method in dict.fromkeys(item.method for item in result.workloads):
        if method in _METHODS:
            tolerances = {item.tolerance for item in result.workloads if item.method == method and item.tolerance}
            allowed = " or ".join(f"{100 * tolerance:g} %" for tolerance in sorted(tolerances))
            lines.append(
                f"Time: change of the {_METHODS[method]}. Slower and faster: by more than {allowed}. "
                "Same: not slower by that much. Cannot tell: the noise allows either."
            )
    if any(item.counted for item in result.workloads):
        lines.append("Counted quantities follow from the shapes or an exact counter, and are compared exactly.")
    return lines


def shorten_labels(labels: Sequence[str]) -> tuple[str, list[str]]:
    """What all labels share, and for each what is left; the model always stays.

    Args:
        labels: Parts joined by `, `, the model first.
    """
    parts = [label.split(", ") for label in labels]
    shared = [part for part in parts[0][1:] if all(part in other[1:] for other in parts)] if parts else []
    return ", ".join(shared), [", ".join([own[0], *(p for p in own[1:] if p not in shared)]) for own in parts]
