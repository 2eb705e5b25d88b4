"""What was found, where and when: the record, and the values it is made of."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from atlasbench.core.compat import StrEnum
from atlasbench.core.errors import RecordsError
from atlasbench.core.workload import Workload

PARTS = ("stem", "projections", "attention", "mlp", "head", "other")


class Status(StrEnum):
    """How measuring a workload ended. Running out of memory is a result, not a failure."""

    OK = "ok"
    OOM = "oom"
    UNSUPPORTED = "unsupported"
    ERROR = "error"
    TIMEOUT = "timeout"

    @property
    def is_final(self) -> bool:
        """Whether trying again on the same machine would find the same."""
        return self in (Status.OK, Status.OOM, Status.UNSUPPORTED)


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerGroup:
    """The layers with weights of one part of a model that run on equally many tokens, in the forward pass.

    What growth laws are evaluated on: the tokens that are really computed, level by level.

    Attributes:
        part: One of `PARTS`.
        tokens: Positions that each of these layers computes for one image, padding included.
        values: Numbers they put out for one image: tokens times channels, summed over the layers.
    """

    part: str
    tokens: int
    values: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Numbers that follow from the shapes alone: counted, or (the memory) predicted.

    Attributes:
        params: Parameters of the model.
        macs: Multiply-accumulates per image of what is run (forward, or forward and backward).
        flops: 2 per multiply-accumulate.
        flops_by_part: `flops` split by `PARTS`.
        activation_bytes: Output bytes of the counted operators, for the whole batch.
        predicted_peak_bytes: Parameters and the largest sum of live tensors of an eager step, for the whole batch.
        tokens: Tokens of the finest token grid of one image; 0 where not known.
        uncounted: Operators that multiply but have no formula; their arithmetic is missing from `flops`.
        params_by_part: `params` split by `PARTS`.
        layers: Layers with weights, by part and number of tokens; empty in records of schema version 1.
    """

    params: int
    macs: int
    flops: int
    flops_by_part: Mapping[str, int]
    activation_bytes: int
    predicted_peak_bytes: int
    tokens: int = 0
    uncounted: tuple[str, ...] = ()
    params_by_part: Mapping[str, int] = field(default_factory=dict)
    layers: tuple[LayerGroup, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Peak memory of a step, with the way it was found.

    Attributes:
        peak_bytes: Peak on the device, with the parameters; None where it could not be told.
        method: `allocated` (CUDA allocator), `resident_growth` (CPU) or `predicted` (meta).
        reserved_bytes: Peak the CUDA allocator held from the driver.
        note: Why the peak is not known, or what it leaves out.
    """

    peak_bytes: int | None
    method: str
    reserved_bytes: int | None = None
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Samples of the time of one step, in seconds, and what follows from them.

    Attributes:
        samples_s: Every sample, in the order taken; nothing dropped.
        latency_s: Median.
        latency_low_s: Lower end of an interval of at least 95 % for the median.
        latency_high_s: Upper end.
        quartiles_s: First and third quartile.
        minimum_s: Smallest sample.
        maximum_s: Largest sample.
        calls_per_sample: Steps timed together; over 1 for very short steps.
        first_call_s: First call of all: compilation, autotuning, lazy initialisation.
        warmup_calls: Calls before the first sample, first call included.
        lag1_autocorrelation: Correlation of neighbouring samples; None below 3 samples.
        cpu_time_s: Median CPU time of the process per step (CPU), or host time to issue a step while the GPU's queue is
            empty (CUDA): where it is as long as the step, the GPU waited for the host, or the step for the GPU.
        flags: What to know before trusting it: `warmup_capped`, `not_converged`, `few_samples`, `drifting`,
            `throttled`, `contended`.
        interval: How the interval was found: `batch_medians` or `range`.
        clocks_mhz: Clock of the device's cores, one reading per chunk of samples, where readable.
        total_samples: Samples taken, when `samples_s` holds the medians of contiguous batches of them.
        foreign_core_share: Share of the cores' time that other programs, or a virtual machine's host, had while samples
            were taken (CPU); None where not known.
    """

    samples_s: tuple[float, ...]
    latency_s: float
    latency_low_s: float
    latency_high_s: float
    quartiles_s: tuple[float, float]
    minimum_s: float
    maximum_s: float
    calls_per_sample: int
    first_call_s: float
    warmup_calls: int
    lag1_autocorrelation: float | None
    cpu_time_s: float | None
    flags: tuple[str, ...] = ()
    interval: str = "batch_medians"
    clocks_mhz: tuple[int, ...] = ()
    total_samples: int | None = None
    foreign_core_share: float | None = None

    @property
    def count(self) -> int:
        """Samples taken."""
        return self.total_samples or len(self.samples_s)

    @property
    def converged(self) -> bool:
        """Whether enough samples were taken for the interval asked for, without drift."""
        return not {"not_converged", "few_samples", "drifting"} & set(self.flags)


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedRatio:
    """How long a workload takes beside the same of a baseline model, measured in turns: drift of the machine cancels.

    Attributes:
        baseline: What took turns with it: another model, options or scale drop; everything else is equal.
        ratio: Time per image over that of the baseline: over 1 is slower. Of the median pair of turns.
        low: Lower end of its exact sign-test interval of at least 95 %.
        high: Upper end.
        pairs: Pairs of turns that it is made of.
        launches: Pairs of fresh processes that took them.
    """

    baseline: Workload
    ratio: float
    low: float
    high: float
    pairs: int
    launches: int

    def __post_init__(self) -> None:
        if not 0 < self.low <= self.ratio <= self.high < math.inf:
            raise RecordsError(f"a ratio of times lies in its interval, got {self.ratio} in {self.low} to {self.high}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """What was found about one workload.

    Attributes:
        status: How it ended.
        message: The reason, when it is not ok.
        notes: What a reader must know, e.g. that the image was padded.
        counts: From shapes; present whenever the model could be counted.
        memory: Measured, or predicted on meta.
        timing: Measured; absent on meta.
        kernels: Kernel backends really used: `attention`, `scan`, `compile`.
        protocol: Constants of the method that differ from its defaults (`--quick`, `--timing`), by name.
        phases_s: Wall time spent in `warmup`, `timing`, `memory`, the rest of the worker, and `turns`.
        ratio: Time relative to a baseline model, measured; None where no turns were taken.
    """

    status: Status
    message: str = ""
    notes: tuple[str, ...] = ()
    counts: Counts | None = None
    memory: Memory | None = None
    timing: Timing | None = None
    kernels: Mapping[str, str] = field(default_factory=dict)
    protocol: Mapping[str, float] = field(default_factory=dict)
    phases_s: Mapping[str, float] = field(default_factory=dict)
    ratio: PairedRatio | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """Where a measurement was taken: absolute times are compared only within one environment.

    Attributes:
        machine: Host name.
        os: Operating system and its version.
        processor: Name of the CPU.
        cpu_count: Cores this process may use.
        memory_bytes: Memory of the machine.
        device: Name of the device measured, e.g. `NVIDIA H200`.
        device_memory_bytes: Memory of that device; 0 for meta.
        driver: Version of its driver; empty for the CPU.
        threads: Threads torch used inside operators.
        versions: `python`, `torch`, `timm`, `atlasbench`, `numpy`, `cuda`, `cudnn`, `mamba_ssm` ...
        clocks: Clock settings where readable.
        git_commit: Commit of the project's source, if it runs from a checkout.
        git_dirty: Whether that checkout had changes; None where not known.
        matmul_flops_per_s: FLOPs a second of a large matrix product on the device, by dtype; measured.
        copy_bytes_per_s: Bytes read and written a second by a large copy on the device; measured.
    """

    machine: str
    os: str
    processor: str
    cpu_count: int
    memory_bytes: int
    device: str
    device_memory_bytes: int
    driver: str
    threads: int
    versions: Mapping[str, str]
    clocks: Mapping[str, str] = field(default_factory=dict)
    git_commit: str = ""
    git_dirty: bool | None = None
    matmul_flops_per_s: Mapping[str, float] = field(default_factory=dict)
    copy_bytes_per_s: float | None = None


# What must agree before two records count as one environment; a refusal names the field that differs.
ENVIRONMENT_IDENTITY = ("machine", "device", "driver", "threads")
VERSION_IDENTITY = ("torch", "timm", "atlasbench")


def environment_key(environment: Environment) -> tuple[str, ...]:
    """What two environments must share for their times to be comparable, and for `--resume` to skip work."""
    fields = [str(getattr(environment, name)) for name in ENVIRONMENT_IDENTITY]
    return (*fields, *(environment.versions.get(name, "") for name in VERSION_IDENTITY))


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A workload, what was found, where and when: one line of a records file.

    Attributes:
        workload: What was measured, after every default was resolved.
        measurement: What was found.
        environment: Where.
        run_id: One id for all records of one run of the program.
        time: When it was stored, UTC, ISO 8601.
        family: Architecture, e.g. `atlas`.
        launch: Which of the run's fresh processes for this workload measured it, from 1 (`profile --launches`).
    """

    workload: Workload
    measurement: Measurement
    environment: Environment
    run_id: str
    time: str
    family: str = ""
    launch: int = 1

    @property
    def key(self) -> tuple[Any, ...]:
        """What makes two records of the same workload in the same environment equal; the newest is shown."""
        return (workload_key(self.workload), environment_key(self.environment))


def workload_key(workload: Workload) -> tuple[Any, ...]:
    """Identity of a workload: all of its fields."""
    return (
        workload.model,
        workload.options_json,
        workload.scale_drop,
        *cell_key(workload),
    )


def cell_key(workload: Workload) -> tuple[Any, ...]:
    """What workloads of different models share when they are compared: the size of the image and the setting."""
    return (str(workload.resolution), *setting_key(workload))


def setting_key(workload: Workload) -> tuple[Any, ...]:
    """What is neither a model's own nor the size of the image; times are compared only where it is the same."""
    return (
        workload.batch_size,
        workload.mode.value,
        workload.dtype.value,
        workload.device,
        workload.compiled,
        workload.memory_format.value,
        workload.attention_backend.value,
    )
