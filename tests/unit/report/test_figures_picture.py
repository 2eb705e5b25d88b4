from __future__ import annotations

import io
import re
import struct
from pathlib import Path
from xml.etree import ElementTree

import matplotlib as mpl
import pytest
from drawing import LAPTOP, all_pictures, measured
from hand_made import make_record

from atlasbench.core.errors import OutputError
from atlasbench.report.figures.axes import write_bytes, write_quantity, write_seconds
from atlasbench.report.figures.files import check_folder, write_pictures
from atlasbench.report.figures.gallery import choose_pictures
from atlasbench.report.figures.picture import FileFormat, render_picture
from atlasbench.report.figures.theme import DARK, LIGHT

PICTURES = all_pictures()
SVG = "{http://www.w3.org/2000/svg}"
some_pictures = pytest.mark.parametrize("name", ["complexity-infer", "memory-infer", "parts-infer", "paper-table-1"])


@some_pictures
@pytest.mark.parametrize("file_format", FileFormat)
def test_the_same_picture_gives_the_same_bytes(name: str, file_format: FileFormat) -> None:
    assert render_picture(PICTURES[name], file_format) == render_picture(all_pictures.__wrapped__()[name], file_format)


@some_pictures
@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_svg_keeps_its_text_and_names_nothing_outside_itself(name: str, theme: object) -> None:
    content = render_picture(PICTURES[name], "svg", DARK if theme is DARK else LIGHT).decode()

    root = ElementTree.parse(io.StringIO(content)).getroot()
    texts = [" ".join(element.itertext()) for element in root.iter(f"{SVG}text")]
    assert "vit_b" in " ".join(texts) or "ViT-B" in texts
    assert not list(root.iter(f"{SVG}image"))
    assert "<!DOCTYPE" not in content
    references = re.findall(r"""(?:href|src)="([^"]*)"|url\(([^)]*)\)""", content)
    assert all(target.startswith("#") for pair in references for target in pair if target)
    addresses = set(re.findall(r'https?://[^"\s<]*', content))
    assert addresses <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}


def test_svg_text_falls_back_to_any_sans_serif_font() -> None:
    root = ElementTree.fromstring(render_picture(PICTURES["latency-infer"], "svg").decode())

    styles = [element.get("style", "") for element in root.iter(f"{SVG}text")]
    assert len(styles) > 20
    assert all(re.search(r"font[^;]*, sans-serif(;|$)", style) for style in styles)


def test_png_has_two_hundred_dots_an_inch() -> None:
    content = render_picture(PICTURES["parts-infer"], "png")

    assert content.startswith(b"\x89PNG")
    assert struct.unpack(">I", content[16:20]) == (700,)


def test_pdf_is_a_pdf() -> None:
    assert render_picture(PICTURES["parts-infer"], "pdf").startswith(b"%PDF")


def test_themes_differ_in_their_background() -> None:
    for theme in (LIGHT, DARK):
        content = render_picture(PICTURES["parts-infer"], "svg", theme).decode()
        assert f"fill: {theme.background.lower()}" in content


def test_settings_of_the_user_do_not_change_a_picture() -> None:
    plain = render_picture(PICTURES["latency-infer"], "svg")
    with mpl.rc_context({"font.size": 30.0, "svg.fonttype": "path", "axes.facecolor": "red"}):
        assert render_picture(PICTURES["latency-infer"], "svg") == plain


@pytest.mark.parametrize(
    "model", ["nets/$a$b.py:build_{x^2}", "模型.py:build", "_hidden.py:f", "a<b>&c.py:f", "bell\x07.py:build"]
)
def test_any_name_of_a_users_model_can_be_drawn(model: str) -> None:
    pictures, _ = choose_pictures([make_record(model, 512), make_record(model, 1024)], [])

    (latency,) = [picture for picture in pictures if picture.name == "latency"]
    for file_format in FileFormat:
        assert render_picture(latency, file_format)
    root = ElementTree.fromstring(render_picture(latency, "svg").decode())
    shown = model.replace("\x07", "")  # which XML cannot hold
    assert shown in ["".join(element.itertext()) for element in root.iter(f"{SVG}text")]


def test_pictures_become_files_in_a_new_folder(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "plots"
    pictures = [PICTURES["parts-infer"], PICTURES["parts-train"]]

    paths = list(write_pictures(pictures, folder, [FileFormat.PNG, FileFormat.PDF], LIGHT))

    assert [path.relative_to(folder).as_posix() for path in paths] == [
        "parts-infer.png",
        "parts-infer.pdf",
        "parts-train.png",
        "parts-train.pdf",
    ]
    assert all(path.stat().st_size > 0 for path in paths)


def test_a_folder_below_a_file_is_refused_without_a_trace(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(OutputError) as refused:
        check_folder(tmp_path / "file" / "plots")

    assert str(refused.value) == (
        f"Cannot write pictures to {str(tmp_path / 'file' / 'plots')!r}: {str(tmp_path / 'file')!r} is a file. "
        "Give another folder with --out."
    )
    check_folder(tmp_path / "new" / "plots")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_file_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    pictures, _ = choose_pictures([measured("vit_b", 512, environment=LAPTOP)], [])
    (tmp_path / "complexity.png").mkdir()

    with pytest.raises(OutputError, match=r"^Cannot write pictures to '.*': Is a directory\. Give another folder"):
        list(write_pictures(pictures[:1], tmp_path, [FileFormat.PNG], LIGHT))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (write_quantity(1e12), "1 T"),
        (write_quantity(2.5e9), "2.5 G"),
        (write_quantity(0.5), "0.5"),
        (write_quantity(100), "100"),
        (write_bytes(3e8), "300 MB"),
        (write_seconds(2e-2), "20 ms"),
        (write_seconds(1e-3), "1 ms"),
        (write_seconds(5e-6), "5 µs"),
        (write_seconds(100), "100 s"),
        (write_seconds(3e-8), "30 ns"),
    ],
)
def test_ticks_say_no_more_than_they_must(text: str, expected: str) -> None:
    assert text == expected
