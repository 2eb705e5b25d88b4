"""The page: values in, HTML out. The same values give the same bytes."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

from jinja2 import Environment, FunctionLoader, StrictUndefined

from atlasbench.analysis.findings import summarize_records
from atlasbench.analysis.series import Machine
from atlasbench.report.layout import TextTable
from atlasbench.report.page.facts import (
    describe_contents,
    describe_environment_fully,
    describe_installations,
    name_machine,
)
from atlasbench.report.page.record_tables import build_command_table, build_failure_table, build_number_table
from atlasbench.report.page.tables import PageTable, convert_table

_VIEW_BOX = re.compile(rb'viewBox="0 0 ([\d.]+) ([\d.]+)"')


@dataclass(frozen=True, slots=True, kw_only=True)
class PagePicture:
    """A picture in both themes.

    Attributes:
        name: Stem of the file that it is saved as.
        title: Heading.
        caption: What is shown, and what to read from it.
        light: SVG for a light page, and for paper.
        dark: SVG for a dark page.
    """

    name: str
    title: str
    caption: str
    light: bytes
    dark: bytes

    @property
    def light_uri(self) -> str:
        """The light picture as an address of its own."""
        return _svg_uri(self.light)

    @property
    def dark_uri(self) -> str:
        """The dark picture as an address of its own."""
        return _svg_uri(self.dark)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, for the room it takes before it is drawn."""
        box = _VIEW_BOX.search(self.light)
        return (round(float(box[1])), round(float(box[2]))) if box else (640, 480)


@dataclass(frozen=True, slots=True, kw_only=True)
class _MachineSection:
    """What the page shows of one machine."""

    name: str
    summary: str
    numbers: PageTable
    failures: PageTable | None
    commands: PageTable
    environment: Sequence[tuple[str, str]]


def build_page(
    machines: Sequence[Machine],
    *,
    title: str,
    pictures: Sequence[PagePicture] = (),
    sentences: Sequence[str] = (),
    verdicts: TextTable | None = None,
    verdict_summary: str = "",
    comparisons: Sequence[TextTable] = (),
    omissions: Sequence[str] = (),
) -> str:
    """The whole page.

    Args:
        machines: At least one, with the records that the page shows.
        title: Its title and first heading.
        pictures: In the order shown.
        sentences: Why other pictures were not drawn.
        verdicts: Measured and counted growth against the theory.
        verdict_summary: All verdicts in a sentence.
        comparisons: Our numbers beside the paper's.
        omissions: What could not be read, or is left out.

    Returns:
        HTML that refers to nothing outside itself.
    """
    style, script = _read("page.css"), _read("page.js")
    environment = Environment(
        autoescape=True,
        loader=FunctionLoader(_read),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template("page.html.j2").render(
        title=title,
        contents=describe_contents(machines),
        machines=[_describe_machine(machine, index) for index, machine in enumerate(machines, start=1)],
        pictures=pictures,
        sentences=sentences,
        verdicts=convert_table(verdicts, "verdicts-table") if verdicts else None,
        verdict_summary=verdict_summary,
        comparisons=[convert_table(table, f"paper-{index}") for index, table in enumerate(comparisons, start=1)],
        omissions=omissions,
        installations=describe_installations([record for machine in machines for record in machine.records]),
        style=style,
        script=script,
        style_hash=_hash(style),
        script_hash=_hash(script),
    )


def _describe_machine(machine: Machine, index: int) -> _MachineSection:
    return _MachineSection(
        name=name_machine(machine),
        summary=summarize_records(machine.records),
        numbers=build_number_table(machine.records, f"numbers-{index}", machine.name),
        failures=build_failure_table(machine.records, f"failures-{index}", machine.name),
        commands=build_command_table(machine.records, f"commands-{index}", machine.name),
        environment=describe_environment_fully(machine.environment),
    )


def _read(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """How a content security policy names an inline style or script that it allows."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _svg_uri(svg: bytes) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(svg).decode()
