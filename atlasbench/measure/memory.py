"""Peak memory of one step, in a pass of its own.

All three ways of finding it answer the same question, so that they can be set side by side: parameters, buffers, the
input batch (and labels and optimizer state, in training) count, and so does everything a step holds at once.
CUDA's allocator counts them all by itself; on a CPU the bytes that are there before the step are added to the growth
of the resident set; a prediction adds the same tensors.
"""

from __future__ import annotations

from atlasbench.core.record import Memory
from atlasbench.measure.device import Device
from atlasbench.measure.steps import Step

_UNKNOWN = "unknown: the resident set grew by {grew} bytes, less than the {least} bytes that a step is known to add"


def measure_memory(step: Step, device: Device) -> Memory:
    """Run one step and find its peak memory.

    Args:
        step: Warmed up: its optimizer state exists.
        device: Where it runs.

    Returns:
        The peak; None where the growth of the resident set is less than the bytes that the step is known to have
        held at its end, which happens when the step found its memory in pages that were already resident.
    """
    device.synchronize()
    device.reset_peak_memory()
    step()
    device.synchronize()
    reading = device.read_peak_memory()
    peak: int | None = reading.peak_bytes
    notes = [reading.note] if reading.note else []
    if reading.is_growth:
        if reading.peak_bytes < step.least_growth_bytes:
            notes.insert(0, _UNKNOWN.format(grew=reading.peak_bytes, least=step.least_growth_bytes))
            peak = None
        else:
            peak = reading.peak_bytes + step.resident_bytes
    return Memory(
        peak_bytes=peak,
        method=device.memory_method,
        reserved_bytes=reading.reserved_bytes,
        note="; ".join(notes),
    )
