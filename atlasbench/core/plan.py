"""What can be said of a workload before it is measured."""

from __future__ import annotations

from dataclasses import dataclass

from atlasbench.core.record import Counts
from atlasbench.core.resolution import Resolution
from atlasbench.core.workload import Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class ModuleCount:
    """What one module holds and computes, its children left out.

    Attributes:
        path: Qualified name; empty for the model itself.
        part: Part its arithmetic belongs to.
        params: Parameters that are its own.
        macs: Multiply-accumulates per image.
    """

    path: str
    part: str
    params: int
    macs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A workload with every default resolved, and what it will compute.

    Attributes:
        workload: With the options as they belong in a record.
        family: Architecture.
        notes: What a reader of the record must know.
        counts: From the shapes; None for a model that cannot be run without data (a note says why).
        modules: The counts by module, children left out.
    """

    workload: Workload
    family: str
    notes: tuple[str, ...]
    counts: Counts | None
    modules: tuple[ModuleCount, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SecondOpinion:
    """What both counters say of one forward pass of one image.

    Attributes:
        resolution: Size it was counted at: the smallest that the model takes.
        macs: Ours.
        fvcore_macs: fvcore's.
    """

    resolution: Resolution
    macs: int
    fvcore_macs: int

    @property
    def agrees(self) -> bool:
        """Whether they are equal, to the last multiply-accumulate."""
        return self.macs == self.fvcore_macs
