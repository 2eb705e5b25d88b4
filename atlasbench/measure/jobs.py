"""The functions that a worker is asked to call; each runs in a process where no device has been touched yet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from atlasbench.core.errors import AtlasBenchError
from atlasbench.core.plan import Plan, SecondOpinion
from atlasbench.core.protocol import Protocol
from atlasbench.core.record import Environment, Measurement, Status
from atlasbench.core.resolution import Resolution
from atlasbench.core.units import format_bytes
from atlasbench.core.workload import Dtype, Workload
from atlasbench.measure import count, limits
from atlasbench.measure import second_opinion as fvcore_opinion
from atlasbench.measure.dataless import build_without_data
from atlasbench.measure.devices import open_device, resolve_dtype
from atlasbench.measure.environment import default_threads, probe_environment
from atlasbench.measure.limits import DeviceLimits
from atlasbench.measure.observe import measure_workload
from atlasbench.models.factory import build_model


def probe_environment_of(device: str, threads: int | None) -> Environment:
    """What this machine and device are; `threads` as torch will use them."""
    return probe_environment(device, threads or default_threads())


def choose_device(device: str, dtypes: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """Resolve `auto`, as a device and as a dtype, and check that the device can do these dtypes.

    Raises:
        DeviceError: If it is not there, or cannot.
    """
    opened = open_device(device)
    for dtype in dtypes:
        open_device(opened.name, Dtype(dtype))
    return opened.name, tuple(resolve_dtype(Dtype(dtype), opened).value for dtype in dtypes)


def list_timm_models(pattern: str) -> list[str]:
    """Names of timm models that match a pattern."""
    import timm

    return list(timm.list_models(pattern))


def count_params(names: Sequence[str], resolution: Resolution) -> list[int | None]:
    """Parameters of backbones built for a resolution; None for one that cannot be built for it."""
    return [_count_params(name, resolution) for name in names]


def _count_params(name: str, resolution: Resolution) -> int | None:
    try:
        built = build_without_data(partial(build_model, name, resolution=resolution, options={}, probe=False))
    except AtlasBenchError:
        return None
    return sum(parameter.numel() for parameter in built.model.parameters())


def measure_limits(device: str, dtypes: tuple[str, ...], threads: int | None) -> DeviceLimits:
    """What the device can do at best, with as many threads as workloads get."""
    import torch

    opened = open_device(device)
    opened.start()
    torch.set_num_threads(threads or default_threads())
    return limits.measure_limits(opened, [Dtype(dtype) for dtype in dtypes])


def plan_workload(workload: Workload) -> Plan:
    """Resolve a workload's options, check that the model stays itself at this size, and count it."""
    return count.plan_workload(workload)


def second_opinion(workload: Workload) -> SecondOpinion:
    """Count a model by fvcore and by ourselves, at the smallest size that it takes."""
    return fvcore_opinion.second_opinion(workload)


def check_model(workload: Workload) -> None:
    """Build a model without data, to hear whether its name and options are right.

    With the probe, because only at its native size can a wrong option of a timm model be told from a wrong size.
    """
    build_without_data(
        lambda: build_model(
            workload.model,
            resolution=workload.resolution,
            options=workload.options,
            scale_drop=workload.scale_drop,
        )
    )


def measure_if_it_fits(
    plan: Plan,
    protocol: Protocol,
    threads: int | None,
    force: bool,
    on_phase: Callable[[str], None] | None = None,
) -> Measurement:
    """Measure a workload, unless its predicted peak exceeds the memory that is free."""
    workload = plan.workload
    device = open_device(workload.device)
    free_bytes = device.memory().free_bytes
    predicted_bytes = plan.counts.predicted_peak_bytes if plan.counts else 0
    if predicted_bytes > free_bytes and not force:
        return Measurement(
            status=Status.OOM,
            message=(
                f"not tried: predicted peak {format_bytes(predicted_bytes)}, "
                f"free {format_bytes(free_bytes)} (--force tries)"
            ),
        )
    return measure_workload(workload, protocol, threads=threads or default_threads(), on_phase=on_phase or _ignore)


def _ignore(_: str) -> None:
    return
