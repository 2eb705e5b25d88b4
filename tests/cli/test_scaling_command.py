from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hand_made import ENVIRONMENT, failed, make_counts, make_measurement, make_record
from running import Run

from atlasbench.core.record import LayerGroup, Record, Status
from atlasbench.store.jsonl import RecordFile

VERSION_1 = Path(__file__).parents[1] / "fixtures" / "records_version_1.jsonl"


def make_vits(*sides: int, environment: object = ENVIRONMENT) -> list[Record]:
    records = []
    for side in sides:
        tokens = (side // 16) ** 2
        counts = make_counts(
            1000 * tokens + tokens**2,
            flops_by_part={"projections": 1000 * tokens, "attention": tokens**2},
            uncounted=(),
            layers=(LayerGroup(part="projections", tokens=tokens, values=tokens),),
        )
        measurement = make_measurement(counts=counts, memory=None, timing=None)
        records.append(make_record("vit_b", side, measurement=measurement, environment=environment))
    return records


def write(folder: Path, records: list[Record], name: str = "run") -> Path:
    with RecordFile(folder, name) as file:
        for record in records:
            file.append(record)
    return folder


def test_claims_that_hold_end_with_0_and_one_sentence(run: Run, tmp_path: Path) -> None:
    ended = run(f"scaling {write(tmp_path / 'some', make_vits(512, 1024, 2048))}")

    assert ended.code == 0
    lines = ended.out.splitlines()
    assert lines[0] == "Growth laws, 3 sizes, 512 to 2048 px"
    assert lines[3].split()[:7] == ["vit_b", "attention", "N^2", "N^2", "consistent", "0.0", "%"]
    assert lines[-1] == "2 claims hold."
    assert max(map(len, lines)) <= 80
    assert ended.err == ""


def test_a_quadratic_atlas_ends_with_1(run: Run) -> None:
    sizes = "512 1024 2048 4096 8192 16384"
    run(f"profile atlas_s --res {sizes} --set window_size=1024 --device meta --out quadratic")

    ended = run("scaling quadratic")

    assert ended.code == 1
    words = " ".join(ended.out.split())  # lines break where the width ends
    assert "2 claims fail: atlas_s, window_size=1024 attention is claimed N K log_S N, grows like N^2;" in words


def test_meta_counts_of_an_atlas_and_a_vit_are_what_they_claim(run: Run) -> None:
    run("profile atlas_ti vit_ti --res 512 1024 2048 4096 8192 --device meta --out counted")

    ended = run("scaling counted --format json")

    assert ended.code == 0
    rows = json.loads(ended.out)
    assert [(row["series"], row["quantity"], row["law"], row["verdict"]) for row in rows] == [
        ("atlas_ti", "attention", "N K log_S N", "consistent"),
        ("atlas_ti", "total", "N K log_S N", "consistent"),
        ("atlas_ti", "memory", "N", "consistent"),
        ("vit_ti", "attention", "N^2", "consistent"),
        ("vit_ti", "total", "N^2", "consistent"),
        ("vit_ti", "memory", "N", "consistent"),
    ]
    assert rows[0]["reason"] == "equal to the closed form at all 5 sizes"
    assert ended.err == "6 claims hold.\n"


@pytest.mark.slow
def test_meta_counts_of_the_base_models_up_to_16384_px_are_what_they_claim(run: Run) -> None:
    models = "atlas_b vit_b swin_b convnext_b mambavision_b"
    run(f"profile {models} --res 512 1024 2048 4096 8192 16384 --device meta --out counted")

    ended = run("scaling counted --format json")

    assert ended.code == 0
    verdicts = {(row["series"], row["quantity"]): (row["law"], row["verdict"]) for row in json.loads(ended.out)}
    assert {name: law for (name, quantity), (law, _) in verdicts.items() if quantity == "attention"} == {
        "atlas_b": "N K log_S N",
        "vit_b": "N^2",
        "swin_b": "N",
        "convnext_b": None,
        "mambavision_b": "N",
    }
    others = set(verdicts) - {("convnext_b", "attention")}
    assert {verdicts[key][1] for key in others} == {"consistent"}
    assert verdicts["convnext_b", "attention"][1] == "not applicable"


def test_one_point_cannot_tell_and_ends_with_0(run: Run, tmp_path: Path) -> None:
    ended = run(f"scaling {write(tmp_path / 'some', make_vits(1024))}")

    assert ended.code == 0
    assert ended.out.splitlines()[-1] == "2 cannot be told."
    assert "too few sizes: 1, at least 3 are needed; add --res 2048 4096." in " ".join(ended.out.split())


def test_broken_lines_are_named_and_the_rest_is_judged(run: Run, tmp_path: Path) -> None:
    folder = write(tmp_path / "some", make_vits(512, 1024, 2048))
    (folder / "broken.jsonl").write_text('{"schema_version": 2, "run')

    ended = run(f"scaling {folder}")

    assert ended.code == 0
    assert ended.err.startswith("warning: 1 unreadable line skipped: ")
    assert ended.out.endswith("2 claims hold.\n")


def test_records_of_version_1_are_judged_and_say_what_they_lack(run: Run) -> None:
    ended = run(f"scaling {VERSION_1}")

    assert ended.code == 0
    assert "padding not known" in " ".join(ended.out.split())


def test_one_machine_of_several_can_be_chosen(run: Run, tmp_path: Path) -> None:
    gpu = replace(ENVIRONMENT, device="NVIDIA H200", driver="570.1")
    folder = write(tmp_path / "some", make_vits(512, 1024, 2048), "a")
    write(folder, make_vits(512, 1024, environment=gpu), "b")

    assert run(f"scaling {folder}").out.endswith("2 claims hold.\n")
    assert run(f"scaling {folder} --machine H200").out.endswith("2 cannot be told.\n")
    ended = run(f"scaling {folder} --machine A100")
    assert ended.code == 2
    assert ended.error.startswith("--machine: 'A100' names none of the machines: ")


def test_only_failures_give_a_sentence(run: Run, tmp_path: Path) -> None:
    record = make_record("vit_b", measurement=failed(Status.ERROR, "broken", counts=None))

    ended = run(f"scaling {write(tmp_path / 'some', [record])}")

    assert (ended.code, ended.out) == (0, "\nNothing to judge: no record has counts, memory or times.\n")


def test_a_folder_that_is_not_there_or_has_nothing_readable_ends_with_2(run: Run, tmp_path: Path) -> None:
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "run.jsonl").write_text("nonsense\n")

    assert run("scaling").error == "There is no file or folder 'results'."
    assert run("scaling bad").code == 2
    assert run("scaling bad").error.startswith("No record can be read from 'bad': 1 unreadable line skipped: ")
    assert run("scaling bad --format pdf").error == "--format: 'pdf' is not one of table, json, csv, markdown."


@pytest.mark.parametrize("output_format", ["csv", "markdown"])
def test_other_formats_hold_the_same_verdicts(run: Run, tmp_path: Path, output_format: str) -> None:
    ended = run(f"scaling {write(tmp_path / 'some', make_vits(512, 1024, 2048))} --format {output_format}")

    assert ended.code == 0
    assert "consistent" in ended.out
    assert "2 claims hold." in ended.out + ended.err
