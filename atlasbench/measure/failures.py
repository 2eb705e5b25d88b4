"""What an exception means for a workload: out of memory, unsupported, or an error."""

from __future__ import annotations

from collections.abc import Iterator

from atlasbench.core.errors import AtlasBenchError, UnsupportedError
from atlasbench.core.record import Status
from atlasbench.measure.device import Device

# torch has the operator, but not for this dtype, device or size.
_NO_KERNEL = (
    "not implemented for '",
    "Could not run '",
    "No available kernel",
    "No viable backend for scaled_dot_product_attention",
    "canUse32BitIndexMath",
    "is not currently implemented for the",
)


def explain_failure(error: BaseException, device: Device | None) -> tuple[Status, str]:
    """Status and reason of a workload that ended with this exception.

    Args:
        error: What was raised; its causes are looked at too, because compilers wrap what their kernels raise.
        device: Knows what running out of memory looks like; None if it never came that far.
    """
    for cause in _causes(error):
        if device.is_out_of_memory(cause) if device else isinstance(cause, MemoryError):
            return Status.OOM, f"out of memory: {_first_line(cause)}"
        if isinstance(cause, UnsupportedError):
            return Status.UNSUPPORTED, _first_line(cause)
        if isinstance(cause, (RuntimeError, NotImplementedError)) and _lacks_kernel(cause):
            return Status.UNSUPPORTED, _first_line(cause)
    if isinstance(error, AtlasBenchError):
        return Status.ERROR, _first_line(error)  # written for the user already
    return Status.ERROR, describe_error(error)


def describe_error(error: BaseException) -> str:
    """`Type: first line` of an exception."""
    line = _first_line(error)
    name = type(error).__name__
    return name if line == name else f"{name}: {line}"


def _lacks_kernel(error: BaseException) -> bool:
    return any(text in str(error) for text in _NO_KERNEL)


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].strip() if lines else type(error).__name__


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The exception, what it was raised from, and so on; each once."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or getattr(current, "inner_exception", None)
