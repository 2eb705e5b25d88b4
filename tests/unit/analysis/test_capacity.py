from __future__ import annotations

from dataclasses import replace

from hand_made import ENVIRONMENT, failed, make_measurement, make_record

from atlasbench.analysis.capacity import CapacityPanel, find_capacity
from atlasbench.analysis.panels import has_memory, split_settings
from atlasbench.analysis.series import split_machines
from atlasbench.core.record import Memory, Record, Status

META = replace(ENVIRONMENT, device="meta (shapes only)", device_memory_bytes=0)


def capacity(*records: Record) -> CapacityPanel | None:
    (setting,) = split_settings(split_machines(records), has_memory)
    (panel,) = setting.panels
    return find_capacity(panel)


def test_measured_and_predicted_peaks_stand_beside_what_the_device_has() -> None:
    found = capacity(make_record("vit_b", 512), make_record("vit_b", 1024))

    assert found is not None
    assert found.title == "Some CPU, 2 threads, float32"
    assert found.limit_bytes == 24_000_000_000
    assert [[point.y for point in curve.points] for curve in found.measured] == [[412_000_000, 412_000_000]]
    assert [[point.y for point in curve.points] for curve in found.predicted] == [[205_000_000, 205_000_000]]
    assert found.named == list(found.measured)


def test_what_did_not_fit_is_remembered_with_its_size_and_keeps_its_prediction() -> None:
    found = capacity(make_record("vit_b", 512), make_record("vit_b", 4096, measurement=failed(Status.OOM, "too large")))

    assert found is not None
    assert found.out_of_memory == (("vit_b", 4096.0),)
    assert [len(curve.points) for curve in found.measured] == [1]
    assert [len(curve.points) for curve in found.predicted] == [2]


def test_on_meta_the_predictions_are_named_and_there_is_no_limit() -> None:
    memory = Memory(peak_bytes=205_000_000, method="predicted")
    found = capacity(
        make_record(environment=META, device="meta", measurement=make_measurement(memory=memory, timing=None))
    )

    assert found is not None
    assert found.limit_bytes is None
    assert found.measured == ()
    assert found.named == list(found.predicted)


def test_only_failures_without_counts_have_no_capacity() -> None:
    assert capacity(make_record(measurement=failed(Status.OOM, "too large", counts=None))) is None
