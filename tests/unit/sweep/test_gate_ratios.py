from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hand_made import make_workload

from atlasbench.core.errors import OutputError, RecordsError
from atlasbench.core.protocol import Protocol
from atlasbench.sweep.gate_ratios import (
    RatioFile,
    StoredRatio,
    check_writable_file,
    describe_workload,
    label_stored,
    load_ratios,
    write_ratios,
)

WORKLOAD = make_workload("atlas_s", "768x1536", scale_drop="2-10", device="cuda:1")


def make_ratios(**fields: Any) -> RatioFile:
    values: dict[str, Any] = {
        "workload": describe_workload(WORKLOAD),
        "ratio": 1.5,
        "low": 1.45,
        "high": 1.55,
        "pairs": 54,
        "counts": {"params": 7},
    }
    return RatioFile(
        baseline="vit_b",
        ratios=(StoredRatio(**values | fields),),
        seed=3,
        protocol={"cold": True},
        environment={"device": "Some GPU"},
    )


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "ratios.json"
    write_ratios(path, make_ratios())

    assert load_ratios(path) == make_ratios()
    assert [item.name for item in tmp_path.iterdir()] == ["ratios.json"]


def test_a_ratio_is_found_for_the_same_workload_on_any_device_of_its_type() -> None:
    ratios = make_ratios()

    other_gpu = make_workload("atlas_s", "768x1536", scale_drop="2-10", device="cuda:0")
    assert ratios.find(other_gpu) == ratios.ratios[0]
    for other in (
        make_workload("atlas_s", "768x1536", scale_drop="2-10", device="cpu"),
        make_workload("atlas_s", "768x1536", scale_drop="2-10", device="cuda", batch_size=2),
        make_workload("atlas_s", "768x1536", scale_drop="2-10", device="cuda", options={"x": 1}),
    ):
        assert ratios.find(other) is None


def test_ratios_that_were_measured_in_another_way_are_refused() -> None:
    make_ratios().check_protocol(Protocol(cold=True, timeout_s=60))
    with pytest.raises(RecordsError) as caught:
        make_ratios().check_protocol(Protocol(warmup_window=3))

    assert str(caught.value) == (
        "The stored ratios were measured with other constants of the method: cold, warmup_window. Measure with the "
        "same, or store new ratios."
    )


def test_a_stored_workload_has_a_label() -> None:
    assert label_stored(make_ratios().ratios[0]) == "atlas_s, D 2-10, 768x1536 px, batch 1, infer, float32, cuda"


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[]", "3", '{"kind": "another", "schema_version": 1}', "\x00"],
)
def test_a_file_that_holds_no_ratios_is_refused_with_the_way_to_make_one(tmp_path: Path, text: str) -> None:
    path = tmp_path / "ratios.json"
    path.write_text(text)

    with pytest.raises(RecordsError) as caught:
        load_ratios(path)

    assert str(caught.value).startswith(f"{str(path)!r} is no file of ratios, or damaged: ")
    assert str(caught.value).endswith(": make one with `atlasbench gate --relative-to MODEL ... --write FILE`.")


@pytest.mark.parametrize("fields", [{"ratio": "fast"}, {"low": -1}, {"workload": {}}, {"ratio": 2.0}])
def test_damaged_ratios_are_refused(tmp_path: Path, fields: dict[str, Any]) -> None:
    path = tmp_path / "ratios.json"
    write_ratios(path, make_ratios())
    data = json.loads(path.read_text())
    data["ratios"][0] |= fields
    path.write_text(json.dumps(data))

    with pytest.raises(RecordsError, match="is no file of ratios"):
        load_ratios(path)


def test_ratios_of_a_newer_version_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "ratios.json"
    write_ratios(path, make_ratios())
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema_version": 2}))

    with pytest.raises(RecordsError) as caught:
        load_ratios(path)

    assert str(caught.value) == f"{path} was written by a newer version of atlasbench: update it."


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(RecordsError) as caught:
        load_ratios(tmp_path / "none.json")

    assert str(caught.value) == f"Cannot read {str(tmp_path / 'none.json')!r}: No such file or directory."


def test_a_file_that_could_not_be_written_is_refused_before_anything_is_measured(tmp_path: Path) -> None:
    check_writable_file(tmp_path / "new.json")
    with pytest.raises(OutputError, match="it is a folder"):
        check_writable_file(tmp_path)
    with pytest.raises(OutputError, match="its folder is not there"):
        check_writable_file(tmp_path / "none" / "new.json")
    assert list(tmp_path.iterdir()) == []
