"""Files of stored ratios: the throughput of models relative to one baseline model, measured in turns."""

from __future__ import annotations

import json
import math
import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from atlasbench.analysis.gate.matching import label_workload
from atlasbench.core.errors import InvalidWorkloadError, OutputError, RecordsError
from atlasbench.core.protocol import Protocol, differing_constants
from atlasbench.core.workload import Workload, canonical_json
from atlasbench.store.codec import decode_workload

_KIND = "atlasbench ratios"
_SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRatio:
    """How much faster one workload is than the same with the baseline model.

    Attributes:
        workload: The workload as it was asked for: fields of a `Workload`, by name.
        ratio: Throughput relative to the baseline's: over 1 is faster. Measured in turns.
        low: Lower end of its interval.
        high: Upper end.
        pairs: Pairs of turns that it is made of.
        counts: `params`, `flops`, `predicted_peak_bytes` of the workload; counted.
    """

    workload: Mapping[str, Any]
    ratio: float
    low: float
    high: float
    pairs: int
    counts: Mapping[str, int] = field(default_factory=dict)

    @property
    def doubt(self) -> float:
        """How far its interval reaches to either side, relative."""
        return max(self.ratio / self.low, self.high / self.ratio) - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class RatioFile:
    """What a file of ratios holds.

    Attributes:
        baseline: The model that they are relative to.
        ratios: One for each workload.
        seed: Of the order in which turns were taken.
        protocol: Constants of the method that were not the default.
        environment: Where they were measured: fields of an `Environment`, by name.
    """

    baseline: str
    ratios: Sequence[StoredRatio]
    seed: int = 0
    protocol: Mapping[str, float] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)

    def find(self, workload: Workload) -> StoredRatio | None:
        """The ratio of a workload, on any device of its type."""
        key = canonical_json(describe_workload(workload))
        return next((item for item in self.ratios if canonical_json(item.workload) == key), None)

    def check_protocol(self, protocol: Protocol) -> None:
        """Refuse constants of the method that are not those of the ratios.

        Raises:
            RecordsError: Says which differ.
        """
        if differing := differing_constants([self.protocol, protocol.changes()]):
            raise RecordsError(
                f"The stored ratios were measured with other constants of the method: {', '.join(differing)}. "
                "Measure with the same, or store new ratios."
            )


def describe_workload(workload: Workload) -> dict[str, Any]:
    """What makes a workload the same on another machine: all of it but which of the devices it ran on."""
    return {**asdict(workload), "resolution": str(workload.resolution), "device": workload.device_type}


def label_stored(stored: StoredRatio) -> str:
    """What tells a stored workload from the others, in words."""
    return label_workload(decode_workload(stored.workload))


def write_ratios(path: Path, ratios: RatioFile) -> None:
    """Write a file of ratios, whole or not at all.

    Raises:
        OutputError: If it cannot be written.
    """
    data = {
        "kind": _KIND,
        "schema_version": _SCHEMA_VERSION,
        "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        **asdict(ratios),
    }
    part = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
    try:
        part.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise OutputError(f"Cannot write {str(path)!r}: {error.strerror or error}.") from error


def check_writable_file(path: Path) -> None:
    """Refuse a file that could not be written, before there is anything to write.

    Raises:
        OutputError: If its folder is not there or may not be written to, or it is a folder itself.
    """
    if path.is_dir():
        raise OutputError(f"Cannot write {str(path)!r}: it is a folder.")
    if not os.access(path.parent, os.W_OK):
        missing = "may not be written to" if path.parent.is_dir() else "is not there"
        raise OutputError(f"Cannot write {str(path)!r}: its folder {missing}.")


def load_ratios(path: Path) -> RatioFile:
    """Read a file of ratios.

    Raises:
        RecordsError: If it is not there, is no file of ratios, or a newer version wrote it.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        kind, version = data["kind"], data["schema_version"]
        if kind != _KIND:
            raise ValueError("another kind")
        if version > _SCHEMA_VERSION:
            raise RecordsError(f"{path} was written by a newer version of atlasbench: update it.")
        names = StoredRatio.__dataclass_fields__
        ratios = tuple(StoredRatio(**{name: item[name] for name in names}) for item in data["ratios"])
        if not ratios or not all(0 < item.low <= item.ratio <= item.high < math.inf for item in ratios):
            raise ValueError("no ratios, or not numbers over 0")
        list(map(label_stored, ratios))  # a workload that cannot be named is none
        return RatioFile(
            baseline=data["baseline"],
            ratios=ratios,
            seed=data["seed"],
            protocol=dict(data.get("protocol", {})),
            environment=dict(data["environment"]),
        )
    except OSError as error:
        raise RecordsError(f"Cannot read {str(path)!r}: {error.strerror or error}.") from None
    except (AttributeError, InvalidWorkloadError, LookupError, RecursionError, TypeError, ValueError):
        raise RecordsError(
            f"{str(path)!r} is no file of ratios, or damaged: make one with `atlasbench gate --relative-to MODEL ... "
            "--write FILE`."
        ) from None
