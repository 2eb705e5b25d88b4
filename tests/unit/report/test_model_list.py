from typing import Any

from atlasbench.report.layout import render_text
from atlasbench.report.model_list import build_model_list


def row(name: str, **changes: Any) -> dict[str, Any]:
    return {
        "name": name,
        "params": 31_048_164,
        "family": "atlas",
        "what": "small",
        "mixing": "windows",
        "sizes": "any",
        "paper": "arXiv:1",
        "year": 2025,
        **changes,
    }


def test_a_heading_is_said_once_for_each_family() -> None:
    rows = [row("atlas_s"), row("atlas_b"), row("swin_t", family="swin", paper="arXiv:2", year=2021)]
    assert render_text(build_model_list(rows, "1024"), 80).splitlines() == [
        "Name     Params  Mixing reaches  What",
        "──────────────────────────────────────",
        "atlas: arXiv:1 (2025). Sizes: any.",
        "atlas_s  31.0 M  windows         small",
        "atlas_b  31.0 M  windows         small",
        "",
        "swin: arXiv:2 (2021). Sizes: any.",
        "swin_t   31.0 M  windows         small",
        "",
        "Params: counted, for an image of 1024 px; some models have more for a larger",
        "  one.",
    ]


def test_other_sizes_within_a_family_start_a_new_heading() -> None:
    table = build_model_list([row("mambavision_t"), row("mambavision_t_global", sizes="multiples of 3")], "1024")
    assert list(table.headings) == [0, 1]
    assert table.headings[1] == "atlas: arXiv:1 (2025). Sizes: multiples of 3."


def test_parameters_that_are_not_known_stay_empty() -> None:
    table = build_model_list([row("maxvit_t", params=None)], "1024")
    assert list(table.columns[1].cells) == [""]


def test_headings_are_wrapped_and_repeated_in_each_block_of_a_narrow_page() -> None:
    lines = render_text(build_model_list([row("block:hierarchical_attention", what="x" * 30)], "1024"), 44).splitlines()
    assert max(map(len, lines)) <= 44
    assert sum(line.startswith("atlas: arXiv:1") for line in lines) >= 2
