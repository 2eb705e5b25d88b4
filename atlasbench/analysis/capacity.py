"""Peak memory against what a device has: measured, predicted, and where it was not enough."""

from __future__ import annotations

from dataclasses import dataclass

from atlasbench.analysis.panels import Panel
from atlasbench.analysis.points import Curve, image_side, read_curves, read_measured_peak, read_predicted_peak
from atlasbench.core.record import Status


@dataclass(frozen=True, slots=True, kw_only=True)
class CapacityPanel:
    """One machine.

    Attributes:
        title: Its name, and the arithmetic.
        limit_bytes: Memory of the device; None where nothing is run (meta).
        measured: A curve for each series with measured peaks.
        predicted: The predictions of all series.
        out_of_memory: Model and side of the image of every workload that did not fit.
    """

    title: str
    limit_bytes: int | None
    measured: tuple[Curve, ...]
    predicted: tuple[Curve, ...]
    out_of_memory: tuple[tuple[str, float], ...]

    @property
    def named(self) -> list[Curve]:
        """One curve for each series: the measured one, or else the predicted."""
        labels = {curve.label for curve in self.measured}
        return [*self.measured, *(curve for curve in self.predicted if curve.label not in labels)]


def find_capacity(panel: Panel) -> CapacityPanel | None:
    """The memory of a panel's records; None where nothing is known of any."""
    measured = tuple(read_curves(panel.series, read_measured_peak))
    predicted = tuple(read_curves(panel.series, read_predicted_peak))
    if not measured and not predicted:
        return None
    (environment,) = panel.environments
    return CapacityPanel(
        title=panel.title,
        limit_bytes=environment.device_memory_bytes or None,
        measured=measured,
        predicted=predicted,
        out_of_memory=tuple(
            (record.workload.model, image_side(record.workload.resolution))
            for record in panel.records
            if record.measurement.status is Status.OOM
        ),
    )
