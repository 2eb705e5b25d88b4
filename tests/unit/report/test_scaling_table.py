from __future__ import annotations

from typing import Any

from atlasbench.analysis.exponent import Exponent
from atlasbench.analysis.scaling.decision import Judgement
from atlasbench.analysis.scaling.quantities import Quantity
from atlasbench.analysis.scaling.verdict import ScalingVerdict
from atlasbench.core.kinds import Kind
from atlasbench.core.laws import Law
from atlasbench.core.resolution import Resolution
from atlasbench.report.layout import render_markdown, render_text
from atlasbench.report.scaling_table import build_scaling_table, scaling_rows

SIZES = tuple(Resolution(side, side) for side in (512, 1024, 2048))


def make_verdict(label: str = "vit_b", quantity: Quantity = Quantity.ATTENTION, **fields: Any) -> ScalingVerdict:
    values: dict[str, Any] = {
        "label": label,
        "model": label,
        "machine": "",
        "quantity": quantity,
        "kind": Kind.COUNTED,
        "claim": Law.QUADRATIC,
        "judgement": Judgement.CONSISTENT,
        "law": Law.QUADRATIC,
        "resolutions": SIZES,
        "by_tokens": Exponent(value=1.995, low=1.99, high=2.0),
        "by_pixels": Exponent(value=1.9, low=None, high=None),
        "fit_error": 0.01,
        "held_out": -0.0123,
    }
    return ScalingVerdict(**values | fields)


def make_untold(quantity: Quantity = Quantity.LATENCY, **fields: Any) -> ScalingVerdict:
    values: dict[str, Any] = {
        "kind": Kind.MEASURED,
        "machine": "NVIDIA H200",
        "judgement": Judgement.CANNOT_TELL,
        "reason": "too few sizes: 3, at least 4 are needed",
        "law": None,
        "held_out": None,
        "add_resolutions": (Resolution(4096, 4096),),
    }
    return make_verdict(quantity=quantity, **values | fields)


def test_a_page_of_80_columns_has_verdicts_first_exponents_below_and_reasons_last() -> None:
    verdicts = [
        make_verdict(),
        make_untold(),
        make_verdict("atlas_s", claim=Law.MULTI_SCALE, judgement=Judgement.INCONSISTENT, reason="grows like N^2"),
    ]

    text = render_text(build_scaling_table(verdicts), 80)

    assert text == (
        "Growth laws, 3 sizes, 512 to 2048 px\n"
        "Model    Quantity   Claim        Law  Verdict       Held out\n"
        "────────────────────────────────────────────────────────────\n"
        "vit_b    attention  N^2          N^2  consistent      -1.2 %\n"
        "vit_b    latency    N^2          -    cannot tell          -\n"
        "atlas_s  attention  N K log_S N  N^2  inconsistent    -1.2 %\n"
        "\n"
        "Model    Quantity      Exponent, tokens  pixels\n"
        "───────────────────────────────────────────────\n"
        "vit_b    attention  2.00 (1.99 to 2.00)    1.90\n"
        "vit_b    latency    2.00 (1.99 to 2.00)    1.90\n"
        "atlas_s  attention  2.00 (1.99 to 2.00)    1.90\n"
        "\n"
        "Attention and total: FLOPs, counted. Latency: of one step, measured. Law: the\n"
        "  slowest that fits. Held out: the largest sizes against what the smaller ones\n"
        "  foretell. Exponents: of a straight line in log-log with its 95 % interval,\n"
        "  against tokens as computed (padding included) and against pixels. What is\n"
        "  decided and how: docs/scaling.md.\n"
        "atlas_s attention: inconsistent: grows like N^2.\n"
        "vit_b latency: cannot tell: too few sizes: 3, at least 4 are needed; add --res\n"
        "  4096."
    )


def test_what_is_the_same_of_several_rows_is_said_once() -> None:
    table = build_scaling_table([make_untold(), make_untold(Quantity.MEMORY)])

    assert table.footnotes[1:] == [
        "vit_b latency, vit_b memory: cannot tell: too few sizes: 3, at least 4 are needed; add --res 4096."
    ]


def test_several_machines_are_named_in_a_column_and_in_the_reasons() -> None:
    table = build_scaling_table([make_verdict(), make_untold(), make_untold(machine="Some CPU")])

    (column,) = (column for column in table.columns if column.title == "On")
    assert list(column.cells) == ["-", "NVIDIA H200", "Some CPU"]
    assert [line.partition(":")[0] for line in table.footnotes[1:]] == [
        "vit_b latency on NVIDIA H200",
        "vit_b latency on Some CPU",
    ]


def test_predicted_memory_says_so_beside_measured_memory_only() -> None:
    predicted = make_verdict(quantity=Quantity.MEMORY, kind=Kind.PREDICTED, machine="counted on meta")

    def names(*verdicts: ScalingVerdict) -> list[str]:
        (column,) = (column for column in build_scaling_table(verdicts).columns if column.title == "Quantity")
        return list(column.cells)

    assert names(predicted) == ["memory"]
    assert names(predicted, make_untold(Quantity.MEMORY)) == ["memory, predicted", "memory"]


def test_sizes_that_differ_have_a_column() -> None:
    table = build_scaling_table([make_verdict(), make_verdict(resolutions=SIZES[:1]), make_verdict(resolutions=())])

    assert table.title == "Growth laws"
    assert list(table.columns[-1].cells) == ["3 sizes, 512 to 2048", "512", "-"]


def test_a_logarithm_that_is_not_ruled_out_stands_beside_the_law() -> None:
    table = build_scaling_table([make_verdict(law=Law.LINEAR, also=(Law.LINEAR_LOG,))])

    assert "| N or N log N |" in render_markdown(table)


def test_rows_for_scripts_have_plain_values() -> None:
    (row,) = scaling_rows([make_untold(by_tokens=None)])

    assert row == {
        "series": "vit_b",
        "model": "vit_b",
        "machine": "NVIDIA H200",
        "quantity": "latency",
        "kind": "measured",
        "claim": "N^2",
        "law": None,
        "not_ruled_out": None,
        "verdict": "cannot tell",
        "reason": "too few sizes: 3, at least 4 are needed",
        "add_resolutions": "4096",
        "resolutions": "512 1024 2048",
        "tokens_exponent": None,
        "tokens_exponent_low": None,
        "tokens_exponent_high": None,
        "pixels_exponent": 1.9,
        "pixels_exponent_low": None,
        "pixels_exponent_high": None,
        "fit_error": 0.01,
        "held_out_error": None,
    }
