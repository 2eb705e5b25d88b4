"""The table of `--by-module`: where the parameters and FLOPs of a model are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from atlasbench.core.plan import ModuleCount, Plan, SecondOpinion
from atlasbench.core.units import format_quantity, three_digits
from atlasbench.report.layout import Column, TextTable


def build_module_table(plan: Plan, depth: int, opinion: SecondOpinion | str = "") -> TextTable:
    """Where the parameters and FLOPs of one model are, by module down to a depth.

    Args:
        plan: With its counts by module.
        depth: Levels of names to show; what lies deeper is added to its ancestor.
        opinion: What fvcore counts for the same model at a small size, or why it cannot; empty if it was not asked.
    """
    rows: dict[str, list[int]] = {}
    for module in plan.modules:
        names = module.path.split(".") if module.path else []
        for level in range(min(len(names), depth) + 1):
            row = rows.setdefault(".".join(names[:level]), [0, 0])
            row[0] += module.params
            row[1] += module.macs
    total = max(sum(module.macs for module in plan.modules), 1)
    paths = _in_model_order(rows, plan.modules)
    names = ["  " * (path.count(".") + 1) + path if path else "(model)" for path in paths]
    return TextTable(
        title=f"{plan.workload.label}: parameters, MACs and FLOPs by module, per image, counted",
        columns=[
            Column(title="Module", cells=names, is_identity=True, is_text=True),
            Column(title="Params", cells=[format_quantity(rows[path][0]) for path in paths]),
            Column(title="GMACs", cells=[three_digits(rows[path][1] / 1e9) for path in paths]),
            Column(title="GFLOPs", cells=[three_digits(2 * rows[path][1] / 1e9) for path in paths]),
            Column(title="Share", cells=[f"{rows[path][1] / total:.1%}" for path in paths]),
        ],
        footnotes=[_describe_opinion(opinion)] if opinion else [],
    )


def _describe_opinion(opinion: SecondOpinion | str) -> str:
    if isinstance(opinion, str):
        return f"Second opinion: none by fvcore, {opinion}"
    if opinion.agrees:
        return f"Second opinion: fvcore counts the same {opinion.macs:,} MACs at {opinion.resolution} px, infer."
    return (
        f"Second opinion: fvcore counts {opinion.fvcore_macs:,} MACs at {opinion.resolution} px, infer, "
        f"this counter {opinion.macs:,}: trust neither before you know why."
    )


def module_rows(plan: Plan) -> Iterator[dict[str, object]]:
    """A row for each module, its children left out, for JSON and CSV."""
    workload = plan.workload
    for module in plan.modules:
        yield {
            "model": workload.model,
            "scale_drop": workload.scale_drop,
            "height": workload.resolution.height,
            "width": workload.resolution.width,
            "batch_size": workload.batch_size,
            "mode": workload.mode.value,
            "dtype": workload.dtype.value,
            "module": module.path,
            "part": module.part,
            "params": module.params,
            "macs": module.macs,
            "flops": 2 * module.macs,
        }


def _in_model_order(rows: dict[str, list[int]], modules: Sequence[ModuleCount]) -> list[str]:
    def natural(path: str) -> list[tuple[int, str]]:
        return [(int(name), "") if name.isdigit() else (0, name) for name in path.split(".")] if path else []

    order: dict[str, int] = {}
    for index, module in enumerate(modules):
        order.setdefault(module.path.split(".")[0], index)
    return sorted(rows, key=lambda path: (order.get(path.split(".")[0], -1) if path else -1, natural(path)))
