"""From records to the page: which tables and pictures they allow."""

from __future__ import annotations

from collections.abc import Sequence

from atlasbench.analysis.accuracy import AccuracyPoint
from atlasbench.analysis.reproduction import compare_with_paper
from atlasbench.analysis.scaling.judge import judge_scaling
from atlasbench.analysis.scaling.verdict import summarize_verdicts
from atlasbench.analysis.series import split_machines
from atlasbench.core.record import Record
from atlasbench.report.figures.gallery import choose_pictures
from atlasbench.report.figures.picture import Picture, render_picture
from atlasbench.report.figures.theme import DARK, LIGHT
from atlasbench.report.page.document import PagePicture, build_page
from atlasbench.report.reproduction_table import build_reproduction_table
from atlasbench.report.scaling_table import build_scaling_table


def assemble_page(
    records: Sequence[Record],
    *,
    title: str,
    accuracy: Sequence[AccuracyPoint] = (),
    omissions: Sequence[str] = (),
) -> str:
    """The page about these records.

    Args:
        records: Oldest first, at least one; of equal workloads in one environment the newest is shown.
        title: Of the page.
        accuracy: Published or given, for the pictures.
        omissions: What could not be read.
    """
    reproductions = compare_with_paper(records)
    pictures, sentences = choose_pictures(records, accuracy, reproductions)
    verdicts = judge_scaling(records)
    return build_page(
        split_machines(records),
        title=title,
        pictures=[_render(picture) for picture in pictures],
        sentences=sentences,
        verdicts=build_scaling_table(verdicts) if verdicts else None,
        verdict_summary=summarize_verdicts(verdicts) if verdicts else "",
        comparisons=[build_reproduction_table(reproduction) for reproduction in reproductions],
        omissions=omissions,
    )


def _render(picture: Picture) -> PagePicture:
    return PagePicture(
        name=picture.name,
        title=picture.title,
        caption=picture.caption,
        light=render_picture(picture, "svg", LIGHT),
        dark=render_picture(picture, "svg", DARK),
    )
