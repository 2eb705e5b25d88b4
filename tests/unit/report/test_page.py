from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hand_made import ENVIRONMENT, failed, make_counts, make_measurement, make_record, timed

from atlasbench.analysis.series import split_machines
from atlasbench.core.errors import OutputError
from atlasbench.core.record import Memory, Record, Status
from atlasbench.report.layout import Column, TextTable
from atlasbench.report.page.document import PagePicture, build_page
from atlasbench.report.page.save import check_place, save_page
from atlasbench.report.page.tables import convert_table, read_number

VOID = {"meta", "link", "img", "input", "source", "br"}
GPU = replace(ENVIRONMENT, device="NVIDIA H200", driver="580.65", machine="node7")


class Reader(HTMLParser):
    """Elements in order, each with its attributes and text; refuses what is not nested well."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None], list[str]]] = []
        self._open: list[int] = []
        self.feed(page)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs), []))
        if tag not in VOID:
            self._open.append(len(self.elements) - 1)

    def handle_endtag(self, tag: str) -> None:
        assert self.elements[self._open.pop()][0] == tag

    def handle_data(self, data: str) -> None:
        for index in self._open:
            self.elements[index][2].append(data)

    def texts(self, tag: str) -> list[str]:
        return ["".join(text).strip() for name, _, text in self.elements if name == tag]

    def attributes(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes, _ in self.elements if name == tag]


def make_picture(name: str = "complexity") -> PagePicture:
    svg = b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 300 200"/>'
    return PagePicture(name=name, title="FLOPs & size", caption="ViT grows fastest.", light=svg, dark=svg)


def page_of(*records: Record, **fields: Any) -> str:
    return build_page(split_machines(records), title=fields.pop("title", "Backbones"), **fields)


def several() -> list[Record]:
    return [
        make_record("vit_b", 1024, measurement=timed(0.5, flops=2_000_000_000_000)),
        make_record("vit_b", "768x1536", measurement=timed(0.25)),
        make_record("atlas_b", 1024, scale_drop="2-10", measurement=failed(Status.OOM, "predicted 90 GB, 24 GB free")),
        make_record("atlas_b", 1024, scale_drop="2-10", device="cuda:0", environment=GPU),
    ]


def cells_of(page: str, table: str) -> list[list[str]]:
    """Texts of the cells of a table, its head first."""
    (body,) = re.findall(rf'<table id="{table}".*?</table>', page, re.DOTALL)
    rows = re.findall(r"<tr.*?</tr>", body, re.DOTALL)
    return [[re.sub(r"<.*?>", " ", cell).strip() for cell in re.findall(r"<t[hd].*?</t[hd]>", row)] for row in rows]


def test_the_same_records_give_the_same_bytes() -> None:
    assert page_of(*several(), pictures=[make_picture()]) == page_of(*several(), pictures=[make_picture()])


def test_elements_are_nested_and_every_id_is_unique_and_every_reference_has_one() -> None:
    page = Reader(page_of(*several(), pictures=[make_picture(), make_picture("latency")]))

    everything = [attributes for _, attributes, _ in page.elements]
    ids = [attributes["id"] for attributes in everything if "id" in attributes]
    assert len(ids) == len(set(ids))
    references = [
        attributes[name] for attributes in everything for name in ("for", "aria-labelledby") if name in attributes
    ]
    links = [attributes["href"] or "" for attributes in page.attributes("a") if "href" in attributes]
    assert {*references, *(link.removeprefix("#") for link in links)} <= set(ids)
    assert page.attributes("html") == [{"lang": "en"}]
    assert page.texts("title") == page.texts("h1") == ["Backbones"]


def test_headings_step_down_one_at_a_time() -> None:
    page = Reader(page_of(*several(), pictures=[make_picture()]))

    levels = [int(tag[1]) for tag, _, _ in page.elements if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_nothing_outside_the_page_is_named_and_the_policy_forbids_it() -> None:
    page = page_of(*several(), pictures=[make_picture()])

    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="(.*?)"', page)
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'sha256-")
    reader = Reader(page)
    addresses = [
        attributes[name] or ""
        for _, attributes, _ in reader.elements
        for name in ("src", "srcset", "href", "action", "data")
        if name in attributes
    ]
    assert addresses
    assert all(address.startswith(("#", "data:")) for address in addresses)
    assert "url(" not in page
    assert "@import" not in page


def test_what_records_and_files_say_is_text_and_never_markup() -> None:
    nasty = "<script>alert('x')</script>"
    environment = replace(GPU, os=nasty, machine=nasty, device=nasty, git_commit=nasty, versions={nasty: nasty})
    records = [
        make_record(f"{nasty}.py:build", measurement=failed(Status.ERROR, nasty), options={nasty: nasty}),
        make_record(f"{nasty}.py:other", measurement=make_measurement(notes=(nasty,)), environment=environment),
    ]
    table = TextTable(title=nasty, columns=[Column(title="Verdict", cells=[nasty])], footnotes=[nasty])
    page = page_of(
        *records,
        title=nasty,
        omissions=[nasty],
        sentences=[nasty],
        verdicts=table,
        verdict_summary=nasty,
        pictures=[replace(make_picture(), title=nasty, caption=nasty)],
    )

    assert nasty not in page
    assert len(Reader(page).attributes("script")) == 1


def test_the_contents_say_models_sizes_days_and_machines() -> None:
    page = page_of(*several())

    assert (
        "2 models from 1024 to 768x1536 px, 2026-11-21: 3 workloads, 2 of them measured on Some CPU, 2 threads; "
        "1 workload measured on NVIDIA H200." in page
    )


def test_what_was_only_counted_is_not_called_measured() -> None:
    meta = replace(ENVIRONMENT, device="meta (shapes only)")
    measurement = make_measurement(timing=None, memory=Memory(peak_bytes=205_000_000, method="predicted"))
    page = page_of(make_record(device="meta", environment=meta, measurement=measurement))

    assert "vit_b at 1024 px, 2026-11-21: 1 workload counted on meta." in page


def test_only_failures_give_a_page_with_each_reason() -> None:
    page = page_of(
        make_record(measurement=failed(Status.OOM, "predicted 90 GB", counts=None)),
        make_record("swin_b", measurement=failed(Status.UNSUPPORTED, "no such size", counts=None)),
    )

    assert "2 workloads, none of them measured on Some CPU, 2 threads." in page
    assert "Nothing could be counted or measured." in page
    assert cells_of(page, "failures-1")[1:] == [
        ["vit_b", "1024", "oom", "predicted 90 GB"],
        ["swin_b", "1024", "unsupported", "no such size"],
    ]


def test_heads_name_unit_and_kind_and_cells_are_sorted_by_the_number_itself() -> None:
    page = page_of(*several()[:2])

    head, first, second = cells_of(page, "numbers-1")
    assert head[:3] == ["Model", "px", "Images/s measured"]
    assert "GFLOPs/image counted" in head
    assert "Peak memory, GB predicted" in head
    gflops = head.index("GFLOPs/image counted")
    assert (first[gflops], second[gflops]) == ("2,000", "2.00")
    assert 'data-sort="2000.0">2,000</td>' in page
    assert f'data-sort="{768 * 1536}">768x1536</td>' in page


def test_a_predicted_peak_is_never_shown_as_measured() -> None:
    measurement = make_measurement(timing=None, memory=Memory(peak_bytes=205_000_000, method="predicted"))
    head = cells_of(page_of(make_record(device="meta", measurement=measurement)), "numbers-1")[0]

    assert "Peak memory, GB predicted" in head
    assert "Peak memory, GB measured" not in head
    assert "Images/s measured" not in head


def test_what_is_not_known_is_a_dash_that_sorts_last() -> None:
    page = page_of(*several()[:3])

    oom = cells_of(page, "numbers-1")[3]
    assert oom[:5] == ["atlas_b", "1024", "2-10", "oom", "-"]
    assert '<td class="number" data-empty>-</td>' in page


def test_a_row_that_did_not_settle_is_marked_and_the_mark_explained() -> None:
    page = page_of(make_record(measurement=timed(0.5, flags=("drifting",))))

    assert cells_of(page, "numbers-1")[1][3] == "1.96 to 2.04 *"
    assert "Marked *, drifting while measured (40 samples)" in page


def test_many_remarks_are_folded_away_and_few_are_not() -> None:
    def noted(count: int) -> str:
        notes = tuple(f"remark {number}" for number in range(count))
        return page_of(make_record(measurement=make_measurement(notes=notes)))

    assert "<summary>6 remarks about rows</summary>" in noted(6)
    assert "<details>" not in noted(5)


def test_a_remark_names_its_row_although_the_other_failed() -> None:
    page = page_of(
        make_record(measurement=make_measurement(notes=("padded to 1040 px",))),
        make_record("swin_b", measurement=failed(Status.OOM, "predicted 90 GB")),
    )

    assert "<li>vit_b: padded to 1040 px</li>" in page
    assert page.count("predicted 90 GB") == 1


def test_the_environment_is_there_in_full() -> None:
    page = page_of(
        make_record(environment=replace(GPU, matmul_flops_per_s={"bfloat16": 6.5e14}, copy_bytes_per_s=3.9e12))
    )

    rows = dict(re.findall(r'<tr><th scope="row">(.*?)</th><td class="text">(.*?)</td></tr>', page))
    assert rows["git commit"] == "0123456789abcdef and changes that were not committed"
    assert rows["matrix product, bfloat16"] == "650 TFLOP/s (measured)"
    assert rows["copy, read and written"] == "3.90 TB/s (measured)"
    expected = {
        "machine": "node7",
        "device": "NVIDIA H200",
        "driver": "580.65",
        "torch": "2.11.0",
        "governor": "performance",
    }
    assert expected.items() <= rows.items()


def test_every_record_has_its_command_and_every_set_of_versions_its_installation() -> None:
    other = replace(ENVIRONMENT, git_commit="ff00", git_dirty=False)
    page = page_of(make_record(), make_record("swin_b", environment=other))

    commands = [row[-1] for row in cells_of(page, "commands-1")[1:]]
    assert [command.split()[:3] for command in commands] == [
        ["atlasbench", "profile", "vit_b"],
        ["atlasbench", "profile", "swin_b"],
    ]
    assert "1 record: Python 3.11.7, atlasbench 0.1.0, commit 0123456789ab and changes that were not committed." in page
    assert "1 record: Python 3.11.7, atlasbench 0.1.0, commit ff00, nothing changed." in page
    assert "git checkout ff00\npip install -e . torch==2.11.0 timm==1.0.20" in page


def test_records_of_one_installation_name_it_once_and_another_python_is_another() -> None:
    other = replace(ENVIRONMENT, versions={**ENVIRONMENT.versions, "python": "3.13.1"})

    page = page_of(make_record(), make_record("swin_b"))
    assert "All records: Python 3.11.7, atlasbench 0.1.0, commit" in page

    page = page_of(make_record(), make_record("swin_b", environment=other))
    assert "1 record: Python 3.11.7, atlasbench 0.1.0, commit" in page
    assert "1 record: Python 3.13.1, atlasbench 0.1.0, commit" in page


def test_pictures_have_words_both_themes_and_room_before_they_are_drawn() -> None:
    page = Reader(page_of(make_record(), pictures=[make_picture()], sentences=["No roofline: no limits."]))

    (image,) = page.attributes("img")
    assert (image["alt"], image["width"], image["height"]) == ("FLOPs & size: described in the caption", "300", "200")
    (source,) = page.attributes("source")
    assert source["media"] == "screen and (prefers-color-scheme: dark)"
    assert page.texts("figcaption")[0].startswith("ViT grows fastest.")
    assert "No roofline: no limits." in page.texts("li")


def test_sections_without_contents_say_why() -> None:
    page = page_of(make_record())

    assert "There is nothing to draw." in page
    assert "No verdict about growth: that takes one model at several sizes." in page
    assert "No table of the paper can be set beside these records" in page
    assert "Every workload ended well." in page


def test_verdicts_are_summarized_at_the_top_and_said_in_words_and_colour() -> None:
    table = TextTable(
        title="Growth laws",
        columns=[
            Column(title="Model", cells=["atlas_s", "vit_b"], is_text=True),
            Column(title="Verdict", cells=["consistent", "cannot tell"], is_text=True),
        ],
    )
    page = page_of(make_record(), verdicts=table, verdict_summary="1 claim holds, 1 cannot be told.")

    assert "<strong>Growth:</strong> 1 claim holds, 1 cannot be told." in page
    assert '<span class="status consistent">consistent</span>' in page
    assert '<span class="status cannot-tell">cannot tell</span>' in page


def test_tables_of_text_keep_their_groups_and_footnotes() -> None:
    table = TextTable(
        title="Growth",
        columns=[
            Column(title="Model", cells=["a", "b", "c"], is_text=True),
            Column(title="FLOPs", cells=["31.1 M", "2 G", "-"]),
        ],
        footnotes=["Counted."],
        headings={0: "First", 2: "Second"},
    )
    converted = convert_table(table, "growth")

    assert [(group.heading, len(group.rows)) for group in converted.groups] == [("First", 2), ("Second", 1)]
    assert [row[1].sort for group in converted.groups for row in group.rows] == [31.1e6, 2e9, None]
    assert not converted.is_sortable
    page = page_of(make_record(), verdicts=table, comparisons=[replace(table, headings={})])
    assert '<th scope="rowgroup" colspan="2">Second</th>' in page
    assert '<table id="paper-1" data-sortable>' in page
    assert page.count("<li>Counted.</li>") == 2


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("31.1 M", 31.1e6),
        ("2 GB", 2e9),
        ("4.3x", 4.3),
        ("1,024", 1024),
        ("0.98 to 1.02 *", 0.98),
        ("768x1536", (768 * 1536) ** 0.5),
        ("1024", 1024),
        ("-0.5", -0.5),
        ("12 Mode", 12),
        ("-", None),
        ("N^2", None),
    ],
)
def test_a_number_is_read_back_from_its_text(text: str, number: float | None) -> None:
    assert read_number(text) == number


def test_a_page_is_written_whole_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text("old")

    check_place(path)
    save_page(path, "new\n")

    assert path.read_bytes() == b"new\n"
    assert list(tmp_path.iterdir()) == [path]


def test_a_name_that_cannot_be_written_is_no_reason_to_fail(tmp_path: Path) -> None:
    save_page(tmp_path / "report.html", "file \udcff.jsonl")

    assert (tmp_path / "report.html").read_text() == "file ?.jsonl"


def test_a_page_that_cannot_be_written_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "report.html"
    path.write_text("old")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(OutputError, match=r"No space left on device\. Give another file with --out\."):
        save_page(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_place_that_takes_no_page_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError) as refused:
        check_place(tmp_path)
    assert str(refused.value) == (
        f"Cannot write the page to '{tmp_path}': it is a folder. Name a file, e.g. report.html."
    )
    missing = tmp_path / "missing" / "report.html"
    with pytest.raises(OutputError) as refused:
        check_place(missing)
    assert str(refused.value) == (
        f"Cannot write the page to '{missing}': No such file or directory. Give another file with --out."
    )
    with pytest.raises(OutputError, match="it is no ordinary file"):
        check_place(Path("/dev/null"))


def test_counts_without_flops_do_not_divide_by_zero() -> None:
    measurement = make_measurement(counts=make_counts(0), timing=None)

    assert cells_of(page_of(make_record(measurement=measurement)), "numbers-1")[1][0] == "vit_b"
