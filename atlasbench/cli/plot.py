"""`atlasbench plot`: pictures from records."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def plot(
    sources: Annotated[
        list[Path] | None, typer.Argument(help="Files of records, or folders of them; results/ by default.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder for the pictures; plots/ beside the records by default.")
    ] = None,
    formats: Annotated[list[str], typer.Option("--format", help="png, svg, pdf; several.")] = ["png", "svg"],  # noqa: B006 (Typer reads the default, nobody changes it)
    machine: Annotated[
        str | None, typer.Option("--machine", help="Only records of this machine: its name, or a part of it.")
    ] = None,
    accuracy: Annotated[
        list[Path], typer.Option("--accuracy", help="CSV files of model, resolution, top1; several.")
    ] = [],  # noqa: B006
    width: Annotated[
        str, typer.Option("--width", help="column (3.5 in, panels below each other) or page (7.16 in).")
    ] = "column",
) -> None:
    """Draw complexity, times, memory, accuracy and limits from whatever records there are."""
    from atlasbench.analysis.accuracy import load_paper_accuracy, read_accuracy_csv
    from atlasbench.analysis.reproduction import compare_with_paper
    from atlasbench.analysis.series import choose_machine, split_machines
    from atlasbench.cli.options import read_words
    from atlasbench.cli.output import say, show_table
    from atlasbench.core.errors import RecordsError
    from atlasbench.report.figures.files import check_folder, write_pictures
    from atlasbench.report.figures.gallery import choose_pictures
    from atlasbench.report.figures.picture import FileFormat
    from atlasbench.report.figures.theme import Width, set_width
    from atlasbench.report.reproduction_table import build_reproduction_table
    from atlasbench.store.jsonl import describe_unreadable, load_records

    places = sources or [Path("results")]
    file_formats = list(dict.fromkeys(read_words("--format", formats, FileFormat)))
    theme = set_width(read_words("--width", [width], Width)[0])
    folder = out or (places[0] if places[0].is_dir() else places[0].parent) / "plots"
    check_folder(folder)
    given = [point for path in accuracy for point in read_accuracy_csv(path)]
    records, unreadable = load_records(places)
    if unreadable:
        say(f"warning: {describe_unreadable(unreadable)}")
    if machine is not None:
        records = list(choose_machine(split_machines(records), machine).records)
    reproductions = compare_with_paper(records)
    pictures, sentences = choose_pictures(records, [*load_paper_accuracy(), *given], reproductions)
    if not pictures:
        raise RecordsError("Nothing to draw: no record has counts, times or memory; all of them failed.")
    for path in write_pictures(pictures, folder, file_formats, theme):
        typer.echo(str(path))
    for sentence in sentences:
        say(sentence)
    for reproduction in reproductions:
        typer.echo("")
        show_table(build_reproduction_table(reproduction))
