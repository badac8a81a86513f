"""Where the reports for programs put a finding: on the file that it blames, as the repository names it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from golive.migration_graph.model import Edit, Finding, Report, Severity
from golive.migration_graph.reports import render
from tests.migration_graph.examining import examine, lock
from tests.migration_graph.folders import chain, make_alembic
from tests.migration_graph.git_repository import GitRepository
from tests.migration_graph.incident import FOLDER, GUILTY_LINE, GUILTY_PATH, build_incident
from tests.migration_graph.reports import get_key, make_chain, make_finding, make_graph, make_report

COMMAND = re.compile(r"::(error|warning|notice) (.*?)::(.*)")


def annotate(report: Report) -> list[tuple[str, dict[str, str], str]]:
    """Level, properties and text of each annotation."""
    found = [COMMAND.fullmatch(line) for line in render(report, "github").splitlines() if line.startswith("::")]
    return [(each[1], dict(pair.split("=", 1) for pair in each[2].split(",")), each[3]) for each in found if each]


def locate(report: Report) -> list[tuple[str, int | None]]:
    """File and line of each result of SARIF; "" for one without."""
    run: dict[str, Any] = json.loads(render(report, "sarif"))["runs"][0]
    places = [result.get("locations", [{}])[0].get("physicalLocation") for result in run["results"]]
    return [
        (place["artifactLocation"]["uri"], place.get("region", {}).get("startLine")) if place else ("", None)
        for place in places
    ]


def test_places__of_the_incident__are_on_the_edit_in_the_repository(tmp_path: Path) -> None:
    incident = build_incident(tmp_path)

    report = examine(incident.folder, with_history=True)

    level, properties, text = annotate(report)[0]
    assert (level, properties["file"], properties["line"]) == ("error", f"{FOLDER}/{GUILTY_PATH}", str(GUILTY_LINE))
    assert text.startswith("Put back None in")
    assert locate(report)[0] == (f"{FOLDER}/{GUILTY_PATH}", GUILTY_LINE)


@pytest.mark.parametrize(("given", "folder"), [(".", "services/api"), ("api", "services"), ("services", ".")])
def test_places__of_a_path_below_or_above__are_relative_to_the_repository(
    given: str, folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The working directory may be a folder of the repository, and the tree may be below the path."""
    GitRepository(tmp_path).write_empty()
    make_alembic(tmp_path / "services" / "api", chain(a=None, b="'nobody'"))
    monkeypatch.chdir(tmp_path / folder)

    report = examine(Path(given))

    assert annotate(report)[0][1]["file"] == "services/api/alembic/versions/b.py"
    assert locate(report)[0] == ("services/api/alembic/versions/b.py", 11)


def test_places__of_a_file_outside_the_repository__are_none(tmp_path: Path) -> None:
    GitRepository(tmp_path / "repository").write_empty()
    make_alembic(tmp_path / "repository", {})
    outside = make_alembic(tmp_path / "outside", chain(a=None, b="'nobody'")) / "alembic"
    (tmp_path / "repository" / "alembic.ini").write_text(f"[alembic]\nscript_location = {outside}\n")

    report = examine(tmp_path / "repository")

    (_, properties, _), *_ = annotate(report)
    assert properties["title"] == "MG102 dangling-parent"
    assert "file" not in properties
    assert locate(report)[0] == ("", None)


def test_places__of_an_edit_in_another_file__are_there_and_name_both() -> None:
    edit = Edit(get_key("r001"), 3, "'r000'", "None")
    finding = make_finding(file=get_key("r002"), line=12, edit=edit)
    report = make_report(make_graph(make_chain(3)), finding)

    ((_, properties, text),) = annotate(report)
    (result,) = json.loads(render(report, "sarif"))["runs"][0]["results"]

    # The line is that of today's file.
    assert (properties["file"], properties["line"]) == ("backend/versions/r001.py", "14")
    assert "Found in versions/r002.py:12." in text
    assert locate(report) == [("backend/versions/r001.py", 14)]
    related = result["relatedLocations"][0]["physicalLocation"]
    assert related["artifactLocation"]["uri"] == "backend/versions/r002.py"


def test_places__of_an_edit_of_a_file_that_is_gone__are_the_findings_own() -> None:
    finding = make_finding(file=get_key("r002"), line=12, edit=Edit("versions/gone.py", 3, "'r000'", "None"))

    assert locate(make_report(make_graph(make_chain(3)), finding)) == [("backend/versions/r002.py", 12)]


def test_places__of_a_finding_without_a_file__are_the_configuration() -> None:
    finding = make_finding("MG301", "database-revision-unknown", file=None)
    report = replace(make_report(make_graph(make_chain(1)), finding), configuration="alembic.ini")

    assert annotate(report)[0][1]["file"] == "backend/alembic.ini"
    assert locate(report) == [("backend/alembic.ini", None)]
    assert locate(replace(report, configuration=None)) == [("", None)]


@pytest.mark.parametrize("name", ["alembic.ini", "pyproject.toml"])
def test_places__configuration__is_the_file_that_was_read(name: str, tmp_path: Path) -> None:
    make_alembic(tmp_path, chain(a=None))
    if name == "pyproject.toml":
        (tmp_path / "alembic.ini").unlink()
        (tmp_path / name).write_text("[tool.alembic]\nscript_location = '%(here)s/alembic'\n")

    assert examine(tmp_path).configuration == name


def test_places__of_what_was_removed__are_the_lock_file(tmp_path: Path) -> None:
    make_alembic(tmp_path, chain(a=None, b="'a'"))
    lock(tmp_path)
    (tmp_path / "alembic" / "versions" / "b.py").unlink()

    (finding,) = examine(tmp_path).findings

    assert (finding.code, finding.file) == ("MG402", "migrations.lock")


def test_known__error__is_a_notice_and_suppressed() -> None:
    report = make_report(make_graph(make_chain(1)), make_finding(file=get_key("r000"), is_known=True))

    ((level, properties, _),) = annotate(report)
    (result,) = json.loads(render(report, "sarif"))["runs"][0]["results"]

    assert (level, properties["title"]) == ("notice", "MG201 multiple-heads (known)")
    assert (result["level"], result["suppressions"][0]["kind"]) == ("note", "external")


def make_many(code: str, severity: Severity, number: int) -> list[Finding]:
    return [
        make_finding(
            code, "name", severity=severity, message=f"{code} number {each}.", file=get_key("r000"), line=each + 1
        )
        for each in range(number)
    ]


def count_levels(report: Report) -> dict[str, int]:
    levels = [level for level, _, _ in annotate(report)]
    return {level: levels.count(level) for level in ("error", "warning", "notice")}


def test_github__at_its_limit__shows_all_and_says_nothing_of_more() -> None:
    findings = make_many("MG102", Severity.ERROR, 10) + make_many("MG203", Severity.INFO, 10)
    report = make_report(make_graph(make_chain(1)), *findings)

    assert count_levels(report) == {"error": 10, "warning": 0, "notice": 10}
    assert "more, which GitHub" not in render(report, "github")


def test_github__over_its_limit__says_in_the_last_notice_how_many_more() -> None:
    findings = [
        *make_many("MG102", Severity.ERROR, 12),
        *make_many("MG204", Severity.WARNING, 11),
        *make_many("MG203", Severity.INFO, 10),
    ]
    report = make_report(make_graph(make_chain(1)), *findings)

    assert count_levels(report) == {"error": 10, "warning": 10, "notice": 10}
    assert annotate(report)[-1][2].startswith("And 2 errors, 1 warning, 1 notice more")
    # Nothing is lost: the log has the rest, without a command.
    lines = render(report, "github").splitlines()
    for code, number in (("MG102", 11), ("MG204", 10), ("MG203", 9)):
        assert any(line.startswith(f"{code} name (") and f"{code} number {number}." in line for line in lines)


def test_github__text_of_the_log__is_no_command() -> None:
    findings = make_many("MG102", Severity.ERROR, 10)
    hostile = make_finding("MG102", "name", message="x\n::error::fake", file="a\n::error::fake")
    report = make_report(make_graph(make_chain(1)), *findings, hostile)

    assert len(render(report, "github").splitlines()) == 10 + 1 + 1 + 1
