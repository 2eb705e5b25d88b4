from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from atlasbench.analysis.gate.counted import compare_counted
from atlasbench.analysis.gate.verdicts import CountedChange, GateResult, GateVerdict, NewWorkload, WorkloadVerdict
from atlasbench.report.gate_table import build_gate_table
from atlasbench.report.gate_words import shorten_labels, write_change, write_details, write_headline
from atlasbench.report.layout import render_text

COUNTS = {"params": 31_126_700, "flops": 205_000_000_000, "predicted_peak_bytes": 412_000_000}


def item(label: str = "vit_b, 1024 px, batch 1, infer, float32", **fields: Any) -> WorkloadVerdict:
    values: dict[str, Any] = {
        "model": label.partition(",")[0],
        "verdict": GateVerdict.SAME,
        "method": "paired turns",
        "change": 0.0012,
        "low": -0.004,
        "high": 0.0061,
        "pairs": 16,
        "tolerance": 0.03,
        "counted": compare_counted(COUNTS, COUNTS),
    }
    return WorkloadVerdict(label=label, **values | fields)


SLOWER = item(
    "atlas_s, D 2-10, 1024 px, batch 8, infer, float32",
    verdict=GateVerdict.SLOWER,
    change=0.0524,
    low=0.0481,
    high=0.0571,
    pairs=36,
    reason="confirmed by 3 fresh pairs of workers",
    counted=compare_counted(COUNTS, {**COUNTS, "flops": 206_000_000_000}),
)
OPEN = item(
    "swin_b, 1024 px, batch 1, infer, float32",
    verdict=GateVerdict.CANNOT_TELL,
    change=0.031,
    low=0.01,
    high=0.05,
    pairs=600,
    more_samples=210,
    reason="open after 24 s",
)
RESULT = GateResult(
    workloads=(item(), SLOWER, OPEN),
    only_base=("vit_l, 1024 px, batch 1, infer, float32",),
    only_current=(NewWorkload(label="vit_ti, 1024 px, batch 1, infer, float32", model="vit_ti"),),
    differences=("timm: 1.0.20 in the base, 1.0.21 now",),
    notes=("Seed 7.",),
)


def test_every_workload_is_a_row_and_what_stands_behind_its_verdict_a_line() -> None:
    text = render_text(build_gate_table(RESULT), 80)

    assert text == (
        "Regression. 3 workloads: 1 slower, 1 needing more, 1 cannot tell, 1 same, 1\n"
        "gone, 1 new. All: 1024 px, infer, float32.\n"
        "Workload                  Verdict        Time   95 % interval  Pairs  Counted\n"
        "─────────────────────────────────────────────────────────────────────────────\n"
        "vit_b, batch 1            same         +0.1 %  -0.4 to +0.6 %     16     same\n"
        "atlas_s, D 2-10, batch 8  slower       +5.2 %  +4.8 to +5.7 %     36  changed\n"
        "swin_b, batch 1           cannot tell  +3.1 %  +1.0 to +5.0 %    600     same\n"
        "\n"
        "atlas_s, D 2-10, batch 8: confirmed by 3 fresh pairs of workers; FLOPs from 205\n"
        "  G to 206 G (+0.5 %).\n"
        "swin_b, batch 1: open after 24 s; about 210 more pairs would decide; a pass\n"
        "  takes 600 at most: a quieter machine or a wider tolerance would, too.\n"
        "Only in the base: vit_l, 1024 px, batch 1, infer, float32.\n"
        "New: vit_ti, 1024 px, batch 1, infer, float32.\n"
        "Differs: timm: 1.0.20 in the base, 1.0.21 now.\n"
        "Seed 7.\n"
        "Time: change of the measured time of a step beside the base: median of pairs of\n"
        "  turns in one run, with an interval of at least 95 % for these workers. Slower\n"
        "  and faster: by more than 3 %. Same: not slower by that much. Cannot tell: the\n"
        "  noise allows either.\n"
        "Counted quantities follow from the shapes or an exact counter, and are compared\n"
        "  exactly."
    )


def test_the_table_fits_80_columns_with_long_names() -> None:
    long = item("hf-hub:some/very_long_model_name_of_a_user_model_512, 768x1536 px, batch 16, train, pure-bfloat16")

    text = render_text(build_gate_table(GateResult(workloads=(long, item()))), 80)

    assert max(map(len, text.splitlines())) <= 80
    assert "+0.1 %" in text


def test_what_was_not_timed_has_no_columns_of_times() -> None:
    counted = item(method="counted", change=None, low=None, high=None, pairs=0, tolerance=None)

    table = build_gate_table(GateResult(workloads=(counted,)))

    assert [column.title for column in table.columns] == ["Workload", "Verdict", "Counted"]
    assert not any("Time:" in line for line in table.footnotes)


def test_two_files_count_launches() -> None:
    files = item(method="record files", verdict=GateVerdict.CANNOT_TELL, pairs=4, more_samples=1)

    table = build_gate_table(GateResult(workloads=(files,)))

    assert [column.title for column in table.columns][-2] == "Launches"
    assert write_details(files) == "about 1 more launch a side would decide"


@pytest.mark.parametrize(
    ("workloads", "headline"),
    [
        ((item(),), "No regression. 1 workload: 1 same."),
        ((item(), item(verdict=GateVerdict.FASTER)), "No regression. 2 workloads: 1 faster, 1 same."),
        ((OPEN,), "No regression found, but not everything can be told. 1 workload: 1 cannot tell."),
        (
            (item(verdict=GateVerdict.CANNOT_TELL, is_broken=True),),
            "Regression. 1 workload: 1 no longer running.",
        ),
        (
            (replace(SLOWER, verdict=GateVerdict.FASTER),),
            "Regression. 1 workload: 1 needing more, 1 faster.",
        ),
    ],
)
def test_the_headline_counts_how_workloads_ended(workloads: tuple[WorkloadVerdict, ...], headline: str) -> None:
    assert write_headline(GateResult(workloads=workloads)) == headline


@pytest.mark.parametrize(
    ("fields", "verdict"),
    [
        ({}, "same"),
        ({"counted": SLOWER.counted}, "needs more"),
        ({"counted": SLOWER.counted, "verdict": GateVerdict.FASTER}, "faster, needs more"),
        ({"counted": SLOWER.counted, "verdict": GateVerdict.SLOWER}, "slower"),
        ({"is_broken": True, "verdict": GateVerdict.CANNOT_TELL}, "no longer runs"),
    ],
)
def test_the_verdict_names_what_is_worse(fields: dict[str, Any], verdict: str) -> None:
    (column,) = (c for c in build_gate_table(GateResult(workloads=(item(**fields),))).columns if c.title == "Verdict")

    assert column.cells == [verdict]


def test_a_change_too_small_to_show_is_shown_exactly() -> None:
    counted = compare_counted(COUNTS, {**COUNTS, "params": 31_126_701})

    assert write_details(item(counted=counted)) == "parameters from 31126700 to 31126701 (+1)"


def test_a_tolerance_stands_beside_what_exceeds_it() -> None:
    counted = compare_counted(COUNTS, {**COUNTS, "predicted_peak_bytes": 512_000_000})

    assert write_details(item(counted=counted)) == (
        "predicted peak memory from 412 MB to 512 MB (+24.3 %, 1 % is allowed)"
    )


def test_a_budget_is_mentioned_only_when_it_is_exceeded() -> None:
    def budget(most: float, is_worse: bool) -> CountedChange:
        return CountedChange(name="flops (budget)", base=most, current=205e9, tolerance=0, is_worse=is_worse)

    within, over = item(counted=(budget(300e9, False),)), item(counted=(budget(200e9, True),))

    assert write_details(within) == ""
    assert write_details(over) == "FLOPs 205 G, over the budget of 200 G"
    assert [column.cells for column in build_gate_table(GateResult(workloads=(within, over))).columns][-1] == [
        "same",
        "over budget",
    ]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (None, "-"),
        (0.0, "0.0 %"),
        (-0.0001, "0.0 %"),
        (0.0524, "+5.2 %"),
        (-0.0524, "-5.2 %"),
        (float("inf"), "+inf %"),
    ],
)
def test_changes_are_signed_percentages(change: float | None, text: str) -> None:
    assert write_change(change) == text


def test_what_all_labels_share_is_said_once() -> None:
    assert shorten_labels(["a, 64 px, infer", "a, 128 px, infer"]) == ("infer", ["a, 64 px", "a, 128 px"])
    assert shorten_labels(["a, 64 px"]) == ("64 px", ["a"])
    assert shorten_labels([]) == ("", [])
