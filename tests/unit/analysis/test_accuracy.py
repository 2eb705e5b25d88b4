from __future__ import annotations

from pathlib import Path

import pytest
from hand_made import make_workload

from atlasbench.analysis.accuracy import AccuracyPoint, load_paper_accuracy, read_accuracy_csv
from atlasbench.core.errors import RecordsError
from atlasbench.core.kinds import Kind
from atlasbench.core.resolution import Resolution


def write(folder: Path, text: str) -> Path:
    path = folder / "mine.csv"
    path.write_text(text)
    return path


def test_the_papers_accuracies_say_their_table_and_kind() -> None:
    points = load_paper_accuracy()

    assert (
        AccuracyPoint(
            model="convnext_b",
            label="ConvNeXt-B",
            resolution=Resolution(1024, 1024),
            top1_percent=91.92,
            source="Table 1 of arXiv:2503.12355",
            kind=Kind.PAPER,
            table="Table 1",
        )
        in points
    )
    counts = [sum(point.table == f"Table {number}" for point in points) for number in range(1, 7)]
    assert counts == [7, 6, 7, 5, 3, 24]  # four runs of Table 6 were not finished


def test_rows_of_one_model_are_told_apart_by_their_options_and_scale_drop() -> None:
    rows = {point.label: point for point in load_paper_accuracy() if point.table == "Table 5"}
    workload = make_workload("atlas_s", 512, options={"patch_size": 8}, scale_drop="none")

    assert [label for label, point in rows.items() if point.matches(workload)] == ["Stack"]


def test_a_users_file_is_read_with_the_columns_it_has(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "# measured by us\n model , Resolution,TOP1,source\n\nvit_b,1024, 90.5 ,our run\natlas_s,768x1536,80,\n",
    )

    assert read_accuracy_csv(path) == [
        AccuracyPoint(
            model="vit_b",
            label="vit_b",
            resolution=Resolution(1024, 1024),
            top1_percent=90.5,
            source="our run",
            kind=Kind.FILE,
        ),
        AccuracyPoint(
            model="atlas_s",
            label="atlas_s",
            resolution=Resolution(768, 1536),
            top1_percent=80.0,
            source="mine.csv",
            kind=Kind.FILE,
        ),
    ]


def test_a_results_file_of_timm_is_read(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "\ufeffmodel,top1,top1_err,top5,top5_err,param_count,img_size,crop_pct,interpolation\r\n"
        "eva02_large_patch14_448.mim_m38m_ft_in22k_in1k,90.052,9.948,99.048,0.952,305.08,448,1.000,bicubic\r\n",
    )

    (point,) = read_accuracy_csv(path)

    assert point.model == "eva02_large_patch14_448.mim_m38m_ft_in22k_in1k"
    assert (point.resolution, point.top1_percent) == (Resolution(448, 448), 90.052)


def test_a_file_without_a_number_above_1_holds_fractions(tmp_path: Path) -> None:
    fractions = read_accuracy_csv(write(tmp_path, "model,resolution,top1\na,64,0.5\nb,64,1\n"))
    percent = read_accuracy_csv(write(tmp_path, "model,resolution,top1\na,64,0.5\nb,64,1.5\n"))

    assert [point.top1_percent for point in fractions] == [50.0, 100.0]
    assert [point.top1_percent for point in percent] == [0.5, 1.5]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", ": no accuracy in it: give a head (model, resolution (or img_size), top1 and, if you like, source) and"),
        ("model,resolution,top1\n", ": no accuracy in it: give a head"),
        ("name,resolution,top1\nvit_b,64,90\n", ":1: no column 'model': the columns are model, resolution (or img_"),
        ("model,size\nvit_b,64\n", ":1: no column 'top1' or 'resolution': the columns are model,"),
        ("model,resolution,top1\nvit_b,64\n", ":2: 2 cells, but the head has 3."),
        ("model,resolution,top1\n\nvit_b,64,high\n", ":3: top1 is 'high'; it must be a number from 0 to 100, in perc"),
        ("model,resolution,top1\nvit_b,64,nan\n", ":2: top1 is 'nan'; it must be a number from 0 to 100"),
        ("model,resolution,top1\nvit_b,64,100.1\n", ":2: top1 is '100.1'; it must be a number from 0 to 100"),
        ("model,resolution,top1\nvit_b,64,-1\n", ":2: top1 is '-1'; it must be"),
        ("model,resolution,top1\nvit_b,64,\n", ":2: top1 is ''; it must be"),
        ("model,resolution,top1\nvit_b,big,90\n", ":2: 'big' is not a resolution: write 1024 or 768x1536 (height x w"),
        ("model,resolution,top1\n,64,90\n", ":2: the model has no name."),
        ('model,resolution,top1\n"vit_b,64,90\n', ":2: is not CSV: unexpected end of data."),
    ],
)
def test_a_mistake_in_a_file_is_one_line_with_its_place(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path, text)

    with pytest.raises(RecordsError) as caught:
        read_accuracy_csv(path)

    assert str(caught.value).startswith(f"{path}{message}")
    assert "\n" not in str(caught.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "bytes.csv").write_bytes(b"model\xff")

    for name, message in (
        ("none.csv", "cannot be read: No such file or directory."),
        (".", "cannot be read: Is a directory."),
        ("bytes.csv", "is not text in UTF-8."),
    ):
        with pytest.raises(RecordsError) as caught:
            read_accuracy_csv(tmp_path / name)
        assert str(caught.value) == f"{tmp_path / name}: {message}"
