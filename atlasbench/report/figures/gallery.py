"""Which pictures a set of records allows, and a sentence for each that it does not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

from atlasbench.analysis.accuracy import AccuracyPoint
from atlasbench.analysis.reproduction import Reproduction
from atlasbench.analysis.series import split_machines
from atlasbench.analysis.trade import is_known, split_tables
from atlasbench.core.record import Record, Status
from atlasbench.report.figures.accuracy_cost import trade_pictures
from atlasbench.report.figures.accuracy_resolution import accuracy_pictures
from atlasbench.report.figures.complexity import complexity_pictures
from atlasbench.report.figures.growth import latency_pictures, throughput_pictures
from atlasbench.report.figures.material import Material
from atlasbench.report.figures.memory import memory_pictures
from atlasbench.report.figures.paper_rows import paper_pictures
from atlasbench.report.figures.parts import parts_pictures
from atlasbench.report.figures.picture import Picture
from atlasbench.report.figures.roofline import roofline_pictures
from atlasbench.report.figures.theme import Palette

# Every kind of picture, and what to say when there is none.
_KINDS: tuple[tuple[Callable[[Material], list[Picture]], str], ...] = (
    (complexity_pictures, "No complexity: nothing was counted."),
    (latency_pictures, "No latency and no throughput: nothing was timed; run `atlasbench profile` on a device."),
    (throughput_pictures, ""),
    (memory_pictures, "No memory: no record has a measured or predicted peak."),
    (parts_pictures, "No parts: no FLOPs were counted."),
    (
        trade_pictures,
        "No accuracy against cost: accuracy is known for fewer than two of these models, options and sizes; "
        "give more with --accuracy FILE.csv.",
    ),
    (
        accuracy_pictures,
        "No accuracy against resolution: no table of several sizes has one of these models, options and sizes.",
    ),
    (roofline_pictures, "No roofline: no timed record has the measured limits of its device; newer runs have."),
    (paper_pictures, "No comparison with the paper: no machine has a table's baseline and another of its rows."),
)


def choose_pictures(
    records: Sequence[Record],
    accuracy: Sequence[AccuracyPoint],
    reproductions: Sequence[Reproduction] = (),
) -> tuple[list[Picture], list[str]]:
    """Every picture that the records allow.

    Args:
        records: Oldest first; of equal workloads in one environment the newest is drawn.
        accuracy: Published or given; drawn where it is of these models.
        reproductions: Our ratios beside the paper's.

    Returns:
        The pictures, and one sentence for each kind that there is none of and for what is in no picture.
    """
    material = Material(
        machines=split_machines(records),
        accuracy=accuracy,
        reproductions=reproductions,
        palette=_choose_palette(records, accuracy),
    )
    pictures: list[Picture] = []
    sentences = []
    for make, missing in _KINDS:
        made = make(material)
        for picture in made:
            pictures.append(_with_own_name(picture, pictures))
        if not made and missing:
            sentences.append(missing)
    return pictures, [*sentences, *_count_failures(material)]


def _with_own_name(picture: Picture, others: Sequence[Picture]) -> Picture:
    """The picture, numbered where there is one of its name already: two files never share a name."""
    taken = {other.name for other in others}
    names = (picture.name, *(f"{picture.name}-{number}" for number in range(2, len(others) + 3)))
    return replace(picture, name=next(name for name in names if name not in taken))


def _choose_palette(records: Sequence[Record], accuracy: Sequence[AccuracyPoint]) -> Palette:
    """Colours for the models of the records first, in the order of their names."""
    measured = sorted({record.workload.model for record in records})
    tables = [table for table in split_tables(accuracy) if is_known(table, measured)]
    others = sorted({point.model for table in tables for point in table.points} - set(measured))
    return Palette(models=(*measured, *others))


def _count_failures(material: Material) -> list[str]:
    """One sentence on what was tried and gave no numbers; out of memory is drawn and does not count."""
    failed = Counter(
        record.measurement.status
        for machine in material.machines
        for record in machine.records
        if record.measurement.status not in (Status.OK, Status.OOM)
    )
    if not failed:
        return []
    counts = ", ".join(f"{count} {status.value}" for status, count in failed.items())
    return [f"Without numbers and in no picture of times: {counts}."]
