"""Which kernels a step really ran: torch chooses per call, by shapes, dtype and device, so it is watched."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import torch

# Operators that torch's scaled_dot_product_attention hands its work to.
ATTENTION_KERNELS = {
    "aten::_scaled_dot_product_flash_attention": "flash",
    "aten::_scaled_dot_product_flash_attention_for_cpu": "flash",
    "aten::_scaled_dot_product_efficient_attention": "efficient",
    "aten::_scaled_dot_product_cudnn_attention": "cudnn",
    "aten::_scaled_dot_product_fused_attention_overrideable": "fused",
    "aten::_scaled_dot_product_attention_math": "math",
}

# Our own selective scan is an operator; those of mamba-ssm are known by the name of their autograd function.
SCAN_KERNELS = {
    "atlasbench::selective_scan": "pytorch",
    "SelectiveScanFn": "mamba_ssm",
    "MambaInnerFn": "mamba_ssm",
}


def watch_operators(step: Callable[[], object]) -> frozenset[str]:
    """Run a step once and collect the names of the operators that ran, backward pass included.

    The profiler without Kineto costs about a microsecond an operator; with it, starting alone costs a second.
    """
    legacy = getattr(torch.autograd, "profiler_legacy", None)  # deprecated: some later torch will lack it
    if legacy is None:
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as with_kineto:
            step()
        return frozenset(event.name for event in with_kineto.events() or ())
    with legacy.profile() as profile:
        step()
    return frozenset(event.name for event in profile.function_events or ())


def name_kernels(operators: Iterable[str], *, compiled: bool) -> Mapping[str, str]:
    """Kernel backends in words: `attention`, `scan`, `compile`.

    `attention` is `none` where nothing went through scaled_dot_product_attention: the model has no attention, or
    writes it out as matrix products. Under a compiler it is `unknown` then, because the compiler may have taken the
    operator apart. Several are joined by `+`.
    """
    operators = set(operators)
    attention = {kernel for operator, kernel in ATTENTION_KERNELS.items() if operator in operators}
    scans = {kernel for operator, kernel in SCAN_KERNELS.items() if operator in operators}
    missing = "unknown" if compiled else "none"
    return {
        "attention": "+".join(sorted(attention)) or missing,
        "scan": "+".join(sorted(scans)) or "none",
        "compile": "inductor" if compiled else "eager",
    }
