"""What pictures are made from."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from atlasbench.analysis.accuracy import AccuracyPoint
from atlasbench.analysis.reproduction import Reproduction
from atlasbench.analysis.series import Machine
from atlasbench.core.workload import Workload
from atlasbench.report.figures.theme import Palette


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """Everything that a set of pictures may show.

    Attributes:
        machines: Their records; the newest machine first.
        accuracy: Published or given.
        reproductions: Our ratios beside the paper's.
        palette: A colour for every model in all of these.
    """

    machines: Sequence[Machine]
    accuracy: Sequence[AccuracyPoint]
    reproductions: Sequence[Reproduction]
    palette: Palette

    @property
    def workloads(self) -> list[Workload]:
        """Those that something is known of: what failed before it was counted is not."""
        records = [record for machine in self.machines for record in machine.records]
        return [record.workload for record in records if record.measurement.counts is not None]


def slug(text: str) -> str:
    """Words as a part of a file's name: `Table 1` is `table-1`."""
    return "-".join(re.findall(r"[a-z0-9]+", text.casefold())[:6])
