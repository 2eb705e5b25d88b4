"""The CUDA kernel of mamba-ssm, where it is installed."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import import_module

import torch
from torch import Tensor

_Scan = Callable[..., Tensor]


@cache
def find_mamba_scan() -> tuple[_Scan | None, str]:
    """mamba-ssm's `selective_scan_fn`, or why there is none, in words that follow "mamba-ssm"."""
    try:
        interface = import_module("mamba_ssm.ops.selective_scan_interface")
        return interface.selective_scan_fn, ""
    except ModuleNotFoundError as error:
        found = error.name != "mamba_ssm"  # else what it imports is missing, its compiled extension for one
        return None, f"cannot be imported: {_first_line(error)}" if found else "is not installed"
    except Exception as error:  # an extension built for another torch or CUDA can fail in any way
        return None, f"cannot be imported: {_first_line(error)}"


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def has_mamba_scan() -> bool:
    """Whether mamba-ssm's kernel can be called."""
    return find_mamba_scan()[0] is not None


@torch.compiler.disable  # type: ignore[untyped-decorator]
def run_mamba_scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    delta_bias: Tensor | None,
    delta_softplus: bool,
) -> Tensor:
    """Call mamba-ssm's kernel with the dtypes that it takes: one for all that is long, float32 for the rest."""
    scan, _ = find_mamba_scan()
    assert scan is not None
    return scan(
        u,
        delta.to(u.dtype),
        A.float(),
        B.to(u.dtype),
        C.to(u.dtype),
        None if D is None else D.float(),
        delta_bias=None if delta_bias is None else delta_bias.float(),
        delta_softplus=delta_softplus,
    )


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
