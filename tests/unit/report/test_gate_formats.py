from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import pytest

from atlasbench.analysis.gate.counted import compare_counted
from atlasbench.analysis.gate.verdicts import GateResult, GateVerdict, NewWorkload, WorkloadVerdict
from atlasbench.report.gate_formats import GATE_FORMATS, render_gate

LABEL = "vit_b, 1024 px, batch 1, infer, float32"


def item(**fields: Any) -> WorkloadVerdict:
    values: dict[str, Any] = {
        "label": LABEL,
        "model": "vit_b",
        "verdict": GateVerdict.SAME,
        "method": "paired turns",
        "change": 0.001,
        "low": -0.004,
        "high": 0.006,
        "pairs": 16,
        "tolerance": 0.03,
    }
    return WorkloadVerdict(**values | fields)


SLOWER = item(verdict=GateVerdict.SLOWER, change=0.05, low=0.04, high=0.06, reason="confirmed", label="atlas_s, 64 px")
OPEN = item(verdict=GateVerdict.CANNOT_TELL, change=None, low=None, high=None, more_samples=2, label="swin_b, 64 px")
RESULT = GateResult(
    workloads=(item(), SLOWER, OPEN),
    only_base=("vit_l, 64 px",),
    only_current=(NewWorkload(label="vit_ti, 64 px", model="vit_ti"),),
    gaps=("of the base, 1 unreadable line skipped",),
    differences=("timm: 1 in the base, 2 now",),
)


def test_json_has_every_field_and_the_whole_verdict() -> None:
    data = json.loads(render_gate(RESULT, "json"))

    assert (data["verdict"], data["is_bad"]) == ("slower", True)
    assert [(row["label"], row["verdict"], row["is_worse"]) for row in data["workloads"]] == [
        (LABEL, "same", False),
        ("atlas_s, 64 px", "slower", True),
        ("swin_b, 64 px", "cannot tell", False),
    ]
    assert data["workloads"][2]["change"] is None
    assert data["only_base"] == ["vit_l, 64 px"]
    assert [item["label"] for item in data["only_current"]] == ["vit_ti, 64 px"]
    assert data["gaps"] == ["of the base, 1 unreadable line skipped"]


def test_json_says_whether_a_strict_gate_fails() -> None:
    result = GateResult(workloads=(OPEN,))

    assert not json.loads(render_gate(result, "json"))["is_bad"]
    assert json.loads(render_gate(result, "json", strict=True))["is_bad"]


def test_csv_has_a_row_for_each_workload_and_what_is_gone() -> None:
    rows = list(csv.DictReader(io.StringIO(render_gate(RESULT, "csv"))))

    assert [row["verdict"] for row in rows] == ["same", "slower", *["cannot tell"] * 3]
    assert (rows[3]["label"], rows[3]["reason"]) == ("vit_l, 64 px", "only in the base: it is not compared")
    assert (rows[4]["label"], rows[4]["reason"]) == ("Not compared", "of the base, 1 unreadable line skipped")
    assert (rows[1]["change"], rows[2]["change"]) == ("0.05", "")


def test_markdown_can_be_understood_alone() -> None:
    assert render_gate(RESULT, "markdown") == (
        "### Performance: failed\n"
        "\n"
        "Regression. 3 workloads: 1 slower, 1 cannot tell, 1 same, 1 gone, 1 new.\n"
        "\n"
        "| Workload | Verdict | Time | 95 % interval | Pairs |\n"
        "|:---|:---|---:|---:|---:|\n"
        f"| {LABEL} | same | +0.1 % | -0.4 to +0.6 % | 16 |\n"
        "| atlas_s, 64 px | slower | +5.0 % | +4.0 to +6.0 % | 16 |\n"
        "| swin_b, 64 px | cannot tell | - | - | 16 |\n"
        "\n"
        "- atlas_s, 64 px: confirmed.\n"
        "- swin_b, 64 px: about 2 more pairs would decide.\n"
        "- Only in the base: vit_l, 64 px.\n"
        "- New: vit_ti, 64 px.\n"
        "- Not compared: of the base, 1 unreadable line skipped.\n"
        "- Differs: timm: 1 in the base, 2 now.\n"
        "\n"
        "<sub>Time: change of the measured time of a step beside the base: median of pairs of turns in one run, "
        "with an interval of at least 95 % for these workers. Slower and faster: by more than 3 %. Same: not slower by "
        "that much. Cannot tell: the noise allows either.</sub>"
    )


@pytest.mark.parametrize(
    ("result", "strict", "state"),
    [
        (GateResult(workloads=(item(),)), True, "passed"),
        (GateResult(workloads=(OPEN,)), False, "passed, but not everything can be told"),
        (GateResult(workloads=(OPEN,)), True, "failed"),
        (GateResult(workloads=(SLOWER,)), False, "failed"),
    ],
)
def test_markdown_begins_with_what_the_exit_code_says(result: GateResult, strict: bool, state: str) -> None:
    assert render_gate(result, "markdown", strict=strict).splitlines()[0] == f"### Performance: {state}"


def test_markup_in_messages_is_text_in_markdown() -> None:
    result = GateResult(workloads=(item(reason="ends error: <b>`x`\n| y __init__ atlas_s"),))

    assert (
        r"- vit_b, 1024 px, batch 1, infer, float32: ends error: \<b\>\`x\` \| y \_\_init\_\_ atlas_s."
    ) in render_gate(result, "markdown")


def junit(result: GateResult, **options: Any) -> ElementTree.Element:
    return ElementTree.fromstring(render_gate(result, "junit", **options))


def test_junit_has_a_case_for_each_workload_and_what_is_gone() -> None:
    suite = junit(RESULT)

    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("5", "1", "3")
    assert [[child.tag for child in case] for case in suite.iter("testcase")] == [
        ["system-out"],
        ["failure", "system-out"],
        ["skipped", "system-out"],
        ["skipped"],
        ["skipped"],
    ]
    (failure,) = suite.iter("failure")
    assert failure.get("message") == "slower; time +5.0 % (+4.0 to +6.0 %, 16 pairs); confirmed"


def test_a_strict_gate_fails_what_cannot_be_told_in_junit() -> None:
    suite = junit(RESULT, strict=True)

    assert (suite.get("failures"), suite.get("skipped")) == ("4", "0")


def test_junit_holds_what_xml_cannot() -> None:
    broken = item(verdict=GateVerdict.CANNOT_TELL, is_broken=True, reason="\x1b[31mdied\x00 <&>")

    (failure,) = junit(GateResult(workloads=(broken,))).iter("failure")

    assert "\ufffd[31mdied\ufffd <&>" in failure.get("message", "")


def test_annotations_name_what_failed_and_what_is_open() -> None:
    assert render_gate(RESULT, "github").splitlines() == [
        "::error title=atlas_s%2C 64 px::slower; time +5.0 %25 (+4.0 to +6.0 %25, 16 pairs); confirmed",
        "::warning title=swin_b%2C 64 px::cannot tell; about 2 more pairs would decide",
        "::warning title=vit_l%2C 64 px::only in the base: it is not compared",
        "::warning title=Not compared::of the base, 1 unreadable line skipped",
        "::error title=atlasbench gate::Regression. 3 workloads: 1 slower, 1 cannot tell, 1 same, 1 gone, 1 new.",
        "::notice title=atlasbench gate::Only in the base: vit_l, 64 px.",
        "::notice title=atlasbench gate::New: vit_ti, 64 px.",
        "::notice title=atlasbench gate::Not compared: of the base, 1 unreadable line skipped.",
        "::notice title=atlasbench gate::Differs: timm: 1 in the base, 2 now.",
    ]


def test_a_message_of_several_lines_stays_one_annotation() -> None:
    broken = item(verdict=GateVerdict.CANNOT_TELL, is_broken=True, reason="first\nsecond")

    first, *_ = render_gate(GateResult(workloads=(broken,)), "github").splitlines()

    assert first.startswith("::error ")
    assert first.endswith("first%0Asecond")


def test_what_is_counted_worse_is_an_error_beside_a_time_that_is_the_same() -> None:
    grown = item(counted=compare_counted({"params": 1000}, {"params": 2000}))

    assert render_gate(GateResult(workloads=(grown,)), "github").startswith(
        "::error title=vit_b%2C 1024 px%2C batch 1%2C infer%2C float32::needs more; time +0.1 %25 "
        "(-0.4 to +0.6 %25, 16 pairs); parameters from 1.00 k to 2.00 k (+100.0 %25)"
    )


@pytest.mark.parametrize("output_format", GATE_FORMATS)
@pytest.mark.parametrize("result", [RESULT, GateResult(workloads=()), replace(RESULT, workloads=(SLOWER,))])
def test_every_format_takes_every_result(output_format: str, result: GateResult) -> None:
    assert render_gate(result, output_format)
