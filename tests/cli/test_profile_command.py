from __future__ import annotations

import io
import json
from pathlib import Path

import pandas as pd
import pytest
from running import Run

import atlasbench
from atlasbench.core.columns import COLUMNS
from atlasbench.core.record import PARTS

HASTY = (
    "--device cpu --timing warmup_window=1 warmup_min_s=0 warmup_max_s=0.05 min_samples=3 floor_samples=3 "
    "min_time_s=0.001 give_up_s=0.002 hard_stop_s=0.003"
)
META = "--device meta --no-save"


def rows_of(text: str) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = json.loads(text)
    return rows


def test_counting_shows_a_table_what_was_learned_and_the_next_command(run: Run) -> None:
    ended = run(f"profile atlas_s --res 1024 4096 {META}")

    assert ended.code == 0
    lines = ended.out.splitlines()
    assert lines[0] == "atlas_s, batch 1, infer, float32, on meta"
    assert lines[1].split() == ["px", "D", "Params", "GMACs", "GFLOPs", "Memory"]
    assert [line.split()[:2] for line in lines[3:5]] == [["1024", "2-10"], ["4096", "2-2-8"]]
    assert "From 1024 to 4096 px (16.0x the pixels, D 2-10 to 2-2-8), atlas_s needs" in ended.out
    assert lines[-1] == "Next: atlasbench profile atlas_s --res 4096 --device meta --by-module"
    assert max(map(len, lines)) <= 80
    assert ended.err.startswith("2 workloads on meta\n[1/2] atlas_s, D 2-10, 1024 px")


def test_a_cpu_is_measured_and_the_records_are_kept(run: Run, tmp_path: Path) -> None:
    ended = run(f"profile atlas_ti --res 64 --batch 1 2 {HASTY}")

    assert ended.code == 0, ended.err
    assert "Images/s" in ended.out
    frame = atlasbench.load_results(tmp_path / "results")
    assert list(frame["batch_size"]) == [1, 2]
    assert set(frame["status"]) == {"ok"}
    assert (frame["images_per_s"] > 0).all()
    assert "about " in ended.err.splitlines()[0]
    assert "Records: results/" in ended.err


@pytest.mark.parametrize("flags", ["--res 64 128", "--res 64 --res 128", "--res=64 128", "--res=64 --res=128"])
def test_several_values_come_after_one_flag_or_each_after_its_own(run: Run, flags: str) -> None:
    ended = run(f"profile atlas_ti {flags} {META} --format json")

    assert [row["height"] for row in rows_of(ended.out)] == [64, 128]


def test_scale_drops_are_used_where_they_fit_and_ignored_by_models_without_scales(run: Run) -> None:
    ended = run(f"profile atlas_ti vit_ti --res 256 1024 --drop 12 2-10 none {META} --format json")

    assert [(row["model"], row["height"], row["scale_drop"]) for row in rows_of(ended.out)] == [
        ("atlas_ti", 256, "12"),
        ("atlas_ti", 256, "none"),
        ("atlas_ti", 1024, "2-10"),
        ("atlas_ti", 1024, "none"),
        ("vit_ti", 256, None),
        ("vit_ti", 1024, None),
    ]


def test_json_goes_alone_to_stdout_with_the_tidy_columns(run: Run) -> None:
    ended = run(f"profile atlas_ti --res 64x128 {META} --format json")

    (row,) = rows_of(ended.out)
    assert tuple(row) == COLUMNS
    assert (row["height"], row["width"], row["status"], row["memory_method"]) == (64, 128, "ok", "predicted")
    assert row["flops"] == 2 * row["macs"]  # type: ignore[operator]
    assert row["flops"] == sum(row[f"flops_{part}"] for part in PARTS)  # type: ignore[misc]


def test_csv_goes_alone_to_stdout(run: Run) -> None:
    ended = run(f"profile atlas_ti --res 64 128 {META} --format csv")

    frame = pd.read_csv(io.StringIO(ended.out))
    assert tuple(frame.columns) == COLUMNS
    assert list(frame["height"]) == [64, 128]


def test_markdown_goes_alone_to_stdout(run: Run) -> None:
    ended = run(f"profile atlas_ti --res 64 128 {META} --format markdown")

    assert ended.out.startswith("**atlas_ti, D 12, batch 1, infer, float32, on meta**\n\n| px |")
    assert "Next:" not in ended.out


def test_a_dry_run_lists_the_workloads_and_keeps_nothing(run: Run, tmp_path: Path) -> None:
    ended = run("profile atlas_ti --res 64 128 --device cpu --dry-run")

    assert ended.code == 0
    assert "About s" in ended.out
    assert "Nothing was measured." in " ".join(ended.out.split())
    assert "2 workloads on cpu, about" in ended.err
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_is_also_there_for_programs(run: Run) -> None:
    (row,) = rows_of(run("profile atlas_ti --res 64 --device cpu --dry-run --format json").out)

    assert (row["device_type"], row["latency_s"], row["memory_method"]) == ("cpu", None, "predicted")


@pytest.mark.parametrize("output_format", ["table", "json", "csv", "markdown"])
def test_modules_are_shown_in_every_format(run: Run, output_format: str) -> None:
    ended = run(f"profile atlas_ti vit_ti --res 64 {META} --by-module --format {output_format}")

    assert ended.code == 0
    assert "stem" in ended.out
    if output_format == "json":
        assert {row["model"] for row in rows_of(ended.out)} == {"atlas_ti", "vit_ti"}


def test_resuming_measures_what_is_left_and_shows_all(run: Run, tmp_path: Path) -> None:
    first = run("profile atlas_ti --res 64 --device meta --out out")
    second = run("profile atlas_ti --res 64 128 --device meta --out out --resume --format json")
    third = run("profile atlas_ti --res 64 128 --device meta --out out --resume")

    assert (first.code, second.code, third.code) == (0, 0, 0)
    assert [row["height"] for row in rows_of(second.out)] == [64, 128]
    assert "measured before: counted" in second.err
    assert len(list((tmp_path / "out").iterdir())) == 2
    assert sum(len(path.read_text().splitlines()) for path in (tmp_path / "out").iterdir()) == 2
    assert "Records:" not in third.err


def test_unreadable_lines_are_told_when_resuming(run: Run, tmp_path: Path) -> None:
    run("profile atlas_ti --res 64 --device meta --out out")
    (path,) = (tmp_path / "out").iterdir()
    with path.open("a") as file:
        file.write('{"schema_version": 1, "run')

    ended = run("profile atlas_ti --res 64 --device meta --out out --resume")

    assert f"warning: 1 unreadable line skipped: out/{path.name}:2: not JSON" in ended.err
    assert "measured before" in ended.err


def test_without_resume_everything_is_measured_again(run: Run, tmp_path: Path) -> None:
    for _ in range(2):
        run("profile atlas_ti --res 64 --device meta --out out")

    assert len(atlasbench.load_results(tmp_path / "out")) == 2


def test_a_model_that_cannot_be_honest_is_a_row_and_not_an_error(run: Run) -> None:
    ended = run(f"profile atlas_ti maxvit_t --res 64 {META} --format json")

    assert [row["status"] for row in rows_of(ended.out)] == ["ok", "unsupported"]
    assert ended.code == 0


def test_nothing_that_could_be_measured_ends_with_3(run: Run) -> None:
    ended = run(f"profile maxvit_t --res 64 {META}")

    assert ended.code == 3
    assert ended.err.splitlines()[-1] == "error: Nothing could be measured: 1 unsupported."
    assert "unsupported" in ended.out


def test_the_number_of_classes_is_set_for_all(run: Run) -> None:
    ended = run(f"profile atlas_ti vit_ti --res 64 --num-classes 7 {META} --format json")

    assert [json.loads(str(row["options"]))["num_classes"] for row in rows_of(ended.out)] == [7, 7]


FILE = """
from torch import nn
from sibling_of_file import block

def plain():
    return nn.Sequential(block(8), nn.Flatten(1))

def build_model(num_classes=10):
    return nn.Sequential(block(8), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, num_classes))

def sized(resolution, num_classes=10):
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * resolution[0] * resolution[1], num_classes))

def nothing():
    return 5

value = 3
"""


@pytest.fixture
def own_file(tmp_path: Path) -> Path:
    folder = tmp_path / "path" / "to"
    folder.mkdir(parents=True)
    (folder / "sibling_of_file.py").write_text("from torch import nn\ndef block(c): return nn.Conv2d(3, c, 16, 16)\n")
    (folder / "file.py").write_text(FILE)
    (folder / "broken.py").write_text("def f(:\n")
    return folder / "file.py"


@pytest.mark.parametrize("function", ["plain", "build_model", "sized"])
@pytest.mark.parametrize("is_absolute", [False, True])
@pytest.mark.parametrize("where", [META, f"{HASTY} --no-save"], ids=["meta", "cpu"])
def test_a_file_of_ones_own_works_unregistered(
    run: Run, own_file: Path, function: str, is_absolute: bool, where: str
) -> None:
    name = f"{own_file if is_absolute else 'path/to/file.py'}:{function}"

    ended = run(f"profile {name} --res 64x32 {where} --format json")

    (row,) = rows_of(ended.out)
    assert (row["model"], row["status"]) == (name, "ok")
    assert row["params"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("path/to/file.py:nothing", "must return a torch.nn.Module, not int"),
        ("path/to/file.py:missing", "has no function 'missing'"),
        ("path/to/file.py:value", "has no function 'value'"),
        ("path/to/broken.py:f", "cannot be imported: SyntaxError"),
        ("path/to/nowhere.py:f", "there is no file 'path/to/nowhere.py'"),
        ("path/to/file.py:plain --num-classes 3", "does not take the option 'num_classes'"),
    ],
)
@pytest.mark.usefixtures("own_file")
def test_a_file_that_is_wrong_is_refused_in_one_line(run: Run, name: str, message: str) -> None:
    ended = run(f"profile {name} --res 64 {META}")

    assert message in ended.error
    assert ended.code == 2


def test_models_are_listed_with_timms_beside_them(run: Run) -> None:
    assert "atlas_ti" in run("models").out
    swin = run("models swin")
    assert "swin_b" in swin.out
    assert "swin_base_patch4_window7_224" in swin.out
    assert "atlas_s" not in swin.out
    names = [row["name"] for row in rows_of(run("models atlas* --format json").out)]
    assert names == ["atlas", "atlas_ti", "atlas_s", "atlas_b"]


def test_the_environment_is_shown_in_every_format(run: Run) -> None:
    assert "torch" in run("env --device cpu").out
    fields = {row["field"]: row["value"] for row in rows_of(run("env --device cpu --format json").out)}
    assert fields["atlasbench"] == atlasbench.__version__
    assert run("env --device cpu --format csv").out.startswith("field,value\n")
