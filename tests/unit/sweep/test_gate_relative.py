"""Ratios to a baseline model, with sides that take exactly as long as they are told to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from hand_made import ENVIRONMENT, make_workload
from test_gate_judging import COUNTS, FakeSource

from atlasbench.core.errors import NothingMeasuredError, RecordsError
from atlasbench.core.protocol import QUICK, Protocol
from atlasbench.core.recipe import ModelChoice, SweepRequest
from atlasbench.core.resolution import Resolution
from atlasbench.sweep import gate_relative
from atlasbench.sweep.gate import GateOptions
from atlasbench.sweep.gate_ratios import RatioFile
from atlasbench.sweep.gate_relative import gate_ratios, measure_ratios
from atlasbench.sweep.gate_settings import GateSettings

REQUEST = SweepRequest(models=(ModelChoice(name="atlas_s", label="atlas_s"),), resolutions=(Resolution(64, 64),))


def make_options(**fields: Any) -> GateOptions:
    return GateOptions(**{"settings": GateSettings(), "protocol": Protocol(), "seed": 1, **fields})


@pytest.fixture
def source(monkeypatch: pytest.MonkeyPatch) -> FakeSource:
    """What both sides run on."""
    source = FakeSource()

    @contextmanager
    def open_sweep(request: SweepRequest, **_: Any) -> Iterator[Any]:
        workloads = [make_workload(choice.name, 64) for choice in request.models]
        yield SimpleNamespace(workloads=workloads, session=source, environment=ENVIRONMENT)

    monkeypatch.setattr(gate_relative, "open_sweep", open_sweep)
    return source


def store(**fields: Any) -> RatioFile:
    found = measure_ratios("vit_b", REQUEST, make_options())
    (ratio,) = found.file.ratios
    return replace(found.file, ratios=(replace(ratio, **fields),))


def test_what_was_stored_is_the_same_again_and_allows_ten_percent(source: FakeSource) -> None:
    result = gate_ratios(store(), "vit_b", REQUEST, make_options())

    (found,) = result.workloads
    assert (found.verdict, found.method, found.tolerance) == ("same", "stored ratio", 0.1)
    assert found.change == pytest.approx(0)
    assert result.differences == ()


def test_another_ratio_than_the_stored_one_is_slower(source: FakeSource) -> None:
    (found,) = gate_ratios(store(ratio=1.5, low=1.5, high=1.5), "vit_b", REQUEST, make_options()).workloads

    assert found.verdict == "slower"
    assert found.change == pytest.approx(0.5)


def test_what_a_stored_ratio_leaves_open_is_allowed_beside_the_tolerance(source: FakeSource) -> None:
    (found,) = gate_ratios(store(ratio=1.0, low=0.98, high=1.05), "vit_b", REQUEST, make_options()).workloads

    assert found.tolerance == pytest.approx(1.1 * 1.05 - 1, abs=0.001)


def test_a_ratio_that_is_hardly_known_is_refused(source: FakeSource) -> None:
    with pytest.raises(RecordsError, match=r"of atlas_s, 64 px, .* is not even known to 10 %: store it again"):
        gate_ratios(store(low=0.5), "vit_b", REQUEST, make_options())


def test_a_ratio_that_is_hardly_known_is_not_stored(source: FakeSource, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = SimpleNamespace(differences=[0.0] * 24, change=0.0)
    monkeypatch.setattr(gate_relative, "take_ratio", lambda *_, **__: (taken, (-0.3, 0.5)))

    with pytest.raises(NothingMeasuredError, match="after 24 pairs it is known to 50 % only: give more time"):
        measure_ratios("vit_b", REQUEST, make_options())


def test_ratios_with_other_constants_of_the_method_are_refused(source: FakeSource) -> None:
    with pytest.raises(RecordsError, match=r"other constants of the method: .*min_samples"):
        gate_ratios(store(), "vit_b", REQUEST, make_options(protocol=QUICK))


def test_an_environment_that_may_move_a_ratio_is_listed(source: FakeSource) -> None:
    stored = store()
    versions = {**ENVIRONMENT.versions, "torch": "1.0"}
    stored = replace(stored, environment={**stored.environment, "machine": "other", "threads": 9, "versions": versions})

    result = gate_ratios(stored, "vit_b", REQUEST, make_options())

    assert result.differences == ("threads: 9 when stored, 2 now", "torch: 1.0 when stored, 2.11.0 now")


def test_counts_are_compared_with_the_stored_ones_and_memory_of_other_models_is_not(source: FakeSource) -> None:
    source.allocated_bytes = 10**9

    (found,) = gate_ratios(store(counts={**COUNTS, "flops": 1}), "vit_b", REQUEST, make_options()).workloads

    assert [item.name for item in found.counted if item.is_worse] == ["flops"]


def test_a_workload_without_a_stored_ratio_is_new_and_one_that_was_not_asked_for_is_gone(source: FakeSource) -> None:
    both = replace(REQUEST, models=(*REQUEST.models, ModelChoice(name="swin_t", label="swin_t")))

    result = gate_ratios(store(), "vit_b", both, make_options())
    assert [item.label for item in result.only_current] == ["swin_t, 64 px, batch 1, infer, float32"]

    stored = measure_ratios("vit_b", both, make_options()).file
    result = gate_ratios(stored, "vit_b", REQUEST, make_options())
    assert result.only_base == ("swin_t, 64 px, batch 1, infer, float32",)
