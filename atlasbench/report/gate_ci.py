"""The result of a gate as CI shows it: JUnit's XML and GitHub's annotations."""

from __future__ import annotations

import re
from collections.abc import Iterator
from xml.etree import ElementTree

from atlasbench.analysis.gate.verdicts import GateResult, GateVerdict, WorkloadVerdict
from atlasbench.report.gate_words import list_missing, write_headline, write_summary, write_surroundings

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def render_junit(result: GateResult, strict: bool) -> str:
    """One test case for each workload: failed, skipped (cannot tell) or passed."""
    suite = ElementTree.Element("testsuite", name="atlasbench gate")
    for item in result.workloads:
        case = ElementTree.SubElement(suite, "testcase", classname="atlasbench.gate", name=_legal(item.label))
        if kind := _junit_kind(item, strict):
            ElementTree.SubElement(case, kind, message=_legal(write_summary(item)))
        ElementTree.SubElement(case, "system-out").text = _legal(write_summary(item))
    for name, message in list_missing(result):
        case = ElementTree.SubElement(suite, "testcase", classname="atlasbench.gate", name=_legal(name))
        ElementTree.SubElement(case, "failure" if strict else "skipped", message=_legal(message))
    for name in ("failure", "skipped"):
        plural = {"failure": "failures"}.get(name, name)
        suite.set(plural, str(len(suite.findall(f"testcase/{name}"))))
    suite.set("tests", str(len(suite)))
    lines = [write_headline(result), *write_surroundings(result)]
    ElementTree.SubElement(suite, "system-out").text = _legal("\n".join(lines))
    ElementTree.indent(suite)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(suite, encoding="unicode")


def _junit_kind(item: WorkloadVerdict, strict: bool) -> str:
    is_open = item.verdict is GateVerdict.CANNOT_TELL
    if item.is_worse or (strict and is_open):
        return "failure"
    return "skipped" if is_open else ""


def _legal(text: str) -> str:
    """Without the characters that XML cannot hold."""
    return _NOT_XML.sub("\ufffd", text)


def render_github(result: GateResult, strict: bool) -> str:
    """Workflow commands: errors, warnings and notices that GitHub shows beside a commit."""
    return "\n".join(_annotate(result, strict))


def _annotate(result: GateResult, strict: bool) -> Iterator[str]:
    warning = "error" if strict else "warning"
    for item in result.workloads:
        if item.is_worse:
            yield _command("error", item.label, write_summary(item))
        elif item.verdict is GateVerdict.CANNOT_TELL:
            yield _command(warning, item.label, write_summary(item))
        elif item.verdict is GateVerdict.FASTER:
            yield _command("notice", item.label, write_summary(item))
    for name, message in list_missing(result):
        yield _command(warning, name, message)
    level = "error" if result.is_bad(strict) else "notice"
    yield _command(level, "atlasbench gate", write_headline(result))
    for line in write_surroundings(result):
        yield _command("notice", "atlasbench gate", line)


def _command(level: str, title: str, message: str) -> str:
    return f"::{level} title={_escape(title, ':,')}::{_escape(message)}"


def _escape(text: str, signs: str = "") -> str:
    for sign in ("%", "\r", "\n", *signs):
        text = text.replace(sign, f"%{ord(sign):02X}")
    return text
