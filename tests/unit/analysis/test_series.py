from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hand_made import ENVIRONMENT, make_record

from atlasbench.analysis.series import COUNTED, choose_machine, group_series, split_machines
from atlasbench.core.errors import RecordsError
from atlasbench.core.record import Environment, Record
from atlasbench.core.workload import SOURCE_OPTION, Dtype, Mode

GPU = replace(ENVIRONMENT, machine="node7", device="NVIDIA H200", driver="570.1", threads=16)
META = replace(ENVIRONMENT, device="meta (shapes only)", device_memory_bytes=0)


def at(minute: int, *arguments: Any, **fields: Any) -> Record:
    return make_record(*arguments, time=f"2026-11-21T10:{minute:02}:00.000+00:00", **fields)


def labels(*records: Record) -> list[str]:
    (machine,) = split_machines(records)
    return [series.label for series in group_series(machine)]


def test_records_of_different_environments_are_different_machines_the_newest_first() -> None:
    machines = split_machines([at(1), at(2, environment=GPU), at(3, resolution=512)])
    assert [machine.name for machine in machines] == ["Some CPU, 2 threads", "NVIDIA H200"]
    assert [len(machine.records) for machine in machines] == [2, 1]


def test_of_equal_workloads_of_one_environment_the_newest_stays() -> None:
    old, new = at(1), at(2)
    (machine,) = split_machines([old, new])
    assert machine.records == (new,)


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"threads": 4}, ["Some CPU, 4 threads", "Some CPU, 2 threads"]),
        ({"machine": "other"}, ["Some CPU, 2 threads, on other", "Some CPU, 2 threads, on host"]),
        (
            {"versions": {**ENVIRONMENT.versions, "torch": "2.13.0"}},
            ["Some CPU, 2 threads, torch 2.13.0", "Some CPU, 2 threads, torch 2.11.0"],
        ),
    ],
)
def test_machines_are_named_by_what_tells_them_apart(change: dict[str, Any], names: list[str]) -> None:
    machines = split_machines([at(1), at(2, environment=replace(ENVIRONMENT, **change))])
    assert [machine.name for machine in machines] == names


@pytest.mark.parametrize(("environment", "name"), [(GPU, "NVIDIA H200"), (META, COUNTED)], ids=["on a GPU", "on meta"])
def test_threads_tell_machines_apart_where_nothing_else_does(environment: Environment, name: str) -> None:
    machines = split_machines([at(1, environment=environment), at(2, environment=replace(environment, threads=4))])
    assert [machine.name for machine in machines] == [f"{name}, 4 threads", f"{name}, {environment.threads} threads"]
    assert choose_machine(machines, "4 threads") is machines[0]


def test_counted_records_are_a_machine_of_their_own() -> None:
    counted, measured = split_machines([at(1), at(2, environment=META, device="meta")])
    assert (counted.name, counted.is_counted) == (COUNTED, True)
    assert not measured.is_counted


def test_a_machine_is_chosen_by_name_host_or_device_or_a_part_of_them() -> None:
    machines = split_machines([at(1), at(2, environment=GPU)])
    for text in ("NVIDIA H200", "h200", "node7"):
        assert choose_machine(machines, text).environment is GPU
    assert choose_machine(machines, "some cpu").environment is ENVIRONMENT


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("TPU", "--machine: 'TPU' names none of the machines: NVIDIA H200; Some CPU, 2 threads."),
        ("2", "--machine: '2' names several of the machines: NVIDIA H200; Some CPU, 2 threads."),
    ],
)
def test_a_text_that_names_no_machine_or_several_is_refused_with_the_names(text: str, message: str) -> None:
    machines = split_machines([at(1), at(2, environment=GPU)])
    with pytest.raises(RecordsError) as caught:
        choose_machine(machines, text)
    assert str(caught.value) == message


def test_a_series_goes_from_the_smallest_image_to_the_largest() -> None:
    (machine,) = split_machines([at(1, resolution=2048), at(2, resolution="512x768"), at(3, resolution=512)])
    (series,) = group_series(machine)
    assert [str(record.workload.resolution) for record in series.records] == ["512", "512x768", "2048"]
    assert series.label == "vit_b"


def test_default_scale_drops_are_one_series_however_many_scales_there_are() -> None:
    drops = {256: "12", 1024: "2-10", 2048: "2-2-8"}
    records = [at(1, "atlas_s", size, scale_drop=drop) for size, drop in drops.items()]
    assert labels(*records) == ["atlas_s"]
    assert labels(*records, at(2, "atlas_s", 1024, scale_drop="6-6"), at(3, "atlas_s", 1024, scale_drop="none")) == [
        "atlas_s",
        "atlas_s, D 6-6",
        "atlas_s, D none",
    ]


def test_more_scales_than_there_is_a_default_for_are_a_series() -> None:
    assert labels(at(1, "atlas_s", 1024, scale_drop="1-1-1-1-1-1-1-1")) == ["atlas_s, D 1-1-1-1-1-1-1-1"]


def test_labels_name_what_differs_among_the_series_of_a_model() -> None:
    assert labels(
        at(1, batch_size=8),
        at(2, batch_size=8, mode=Mode.TRAIN, dtype=Dtype.BFLOAT16),
        at(3, "swin_b", batch_size=2, options={"window_size": 8}),
    ) == ["vit_b, infer, float32", "vit_b, train, bfloat16", "swin_b, window_size=8"]
    assert labels(at(1, "swin_b"), at(2, "swin_b", options={"window_size": 8})) == ["swin_b", "swin_b, window_size=8"]


def test_versions_of_a_users_file_are_series_with_labels_of_their_own() -> None:
    model = "net.py:build"
    assert labels(
        at(1, model, options={SOURCE_OPTION: "aa"}),
        at(2, model, options={SOURCE_OPTION: "bb"}),
        at(3, model, options={SOURCE_OPTION: "bb", "width": 8}),
    ) == [f"{model}, version 1", f"{model}, version 2", f"{model}, width=8"]


def test_options_that_only_say_the_size_of_the_image_do_not_split_a_series() -> None:
    assert labels(*(at(1, "volo", size, options={"img_size": [size, size]}) for size in (512, 1024))) == ["volo"]


def test_what_makes_a_model_another_one_is_named_even_where_it_stands_alone() -> None:
    assert labels(at(1, "atlas_s", options={"window_size": 1024})) == ["atlas_s, window_size=1024"]
    assert labels(at(1, "atlas_s", scale_drop="none", batch_size=8)) == ["atlas_s, D none"]
