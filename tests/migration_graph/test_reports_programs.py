"""The forms that programs read: JSON, SARIF, commands to GitHub's runner."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from golive.migration_graph.model import ComparedDatabase, Report
from golive.migration_graph.reports import render
from golive.migration_graph.reports.sarif import identify
from golive.migration_graph.reports.words import make_visible
from tests.migration_graph.reports import (
    make_chain,
    make_finding,
    make_graph,
    make_incident,
    make_report,
    make_sound,
    make_tie,
)

# The schema of the standard, as published in the npm package @microsoft/jest-sarif (MIT).
# Its pattern of a language has a bracket too many and is no regular expression; the errata of the standard write it so.
SCHEMA = json.loads(
    (Path(__file__).parent / "sarif-2.1.0-rtm.5.json")
    .read_text()
    .replace("^[a-zA-Z]{2}|^[a-zA-Z]{2}-[a-zA-Z]{2}]?$", "^[a-zA-Z]{2}(-[a-zA-Z]{2})?$")
)
FINDING_KEYS = ["code", "name", "severity", "known", "message", "hint", "file", "line", "revisions"]


def as_json(report: Report) -> dict[str, Any]:
    described: dict[str, Any] = json.loads(render(report, "json"))
    return described


def test_json__any__has_the_keys_of_the_contract() -> None:
    described = as_json(make_sound())

    assert described == {
        "path": "backend",
        "kind": "alembic",
        "revisions": 3,
        "heads": ["r002"],
        "bases": ["r000"],
        "merges": 0,
        "branch_points": 0,
        "sound": True,
        "graph": [
            {"revision": name, "parents": parents, "dependencies": [], "file": f"versions/{name}.py"}
            for name, parents in (("r000", []), ("r001", ["r000"]), ("r002", ["r001"]))
        ],
        "unchecked_references": 0,
        "last_sound": None,
        "headline": None,
        "not_read": [],
        "findings": [],
    }


def test_json__headline__says_what_to_write_and_what_comes_of_it() -> None:
    headline = as_json(make_incident())["headline"]

    assert headline == {
        "action": "restore",
        "code": "MG101",
        "revisions": headline["revisions"],
        "edits": [{"file": "versions/r000.py", "line": 14, "before": "'r107'", "after": "None"}],
        "command": None,
        "because": ["the edge was made by the commit that closed the cycle", "the parent is newer than its child"],
        "result": {"heads": ["top3"], "bases": ["r000"], "sound": True},
    }


def test_json__cycle__has_cuts_best_first_and_what_is_affected() -> None:
    finding, warning = as_json(make_incident(with_history=False))["findings"]

    assert list(finding) == [*FINDING_KEYS, "cycle", "cuts", "affected", "is_minimal"]
    assert finding["cuts"][0]["edges"] == [{"child": "r000", "parent": "r107", "file": "versions/r000.py", "line": 14}]
    assert (finding["affected"], finding["severity"], len(finding["cycle"])) == (115, "error", 108)
    assert list(warning) == FINDING_KEYS


def test_json__history__every_finding_says_since_when() -> None:
    described = as_json(make_incident())

    assert described["findings"][0]["introduced_by"] == {
        "commit": "9e107d9d372bb6826bd81d3542a419d6a5d1b2c3",
        "subject": "Fix the migration chain",
        "date": "2026-01-12T09:30:00+00:00",
        "author": "ann",
    }
    assert described["findings"][0]["cuts"][0]["restore"] == "None"
    assert described["findings"][1]["introduced_by"] is None
    assert described["episodes"][0]["ended"] is None


def test_json__history_that_cannot_be_read__has_its_keys_all_the_same() -> None:
    report = replace(make_tie(), history_note="This is no repository.")

    described = as_json(report)

    assert described["findings"][0]["introduced_by"] is None
    assert (described["episodes"], described["history_note"]) == ([], "This is no repository.")


def test_json__databases__list_what_an_upgrade_of_each_would_run() -> None:
    current = ComparedDatabase("sqlite:///x", ("r000",), ("r001",), "history")
    refused = ComparedDatabase("sqlite:///y", ("r009",), None)

    one = as_json(replace(make_sound(), databases=(current,)))
    two = as_json(replace(make_sound(), databases=(current, refused)))

    assert one["pending"] == ["r001"]
    assert "pending" not in two
    assert two["databases"] == [
        {"name": "sqlite:///x", "rows": ["r000"], "pending": ["r001"], "ran_from": "history"},
        {"name": "sqlite:///y", "rows": ["r009"], "pending": None, "ran_from": None},
    ]


@given(st.text())
@example("a file name in Latin-1: \udcff")
def test_json__any_message__is_ascii_that_strict_readers_take(text: str) -> None:
    report = make_report(make_graph({"a": []}), make_finding(message=text))

    rendered = render(report, "json")

    assert rendered.isascii()
    message = json.loads(rendered)["findings"][0]["message"]
    assert message.encode() == text.encode(errors="backslashreplace")


@pytest.mark.parametrize("make", [make_sound, make_incident, make_tie])
@pytest.mark.parametrize("path", ["backend", ".", "/srv/back end/ü", "./a/b/"])
def test_sarif__any__is_valid(make: Any, path: str) -> None:
    document = json.loads(render(replace(make(), path=path), "sarif"))

    jsonschema_rs.validator_for(SCHEMA).validate(document)
    for result in document["runs"][0]["results"]:
        assert document["runs"][0]["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == result["ruleId"]


@pytest.mark.parametrize(
    ("path", "location"),
    [
        ("backend", {"uri": "backend/versions/r000.py", "uriBaseId": "%SRCROOT%"}),
        (".", {"uri": "versions/r000.py", "uriBaseId": "%SRCROOT%"}),
        ("/srv/x y", {"uri": "versions/r000.py", "uriBaseId": "AUDITED"}),
    ],
)
def test_sarif__path__leads_to_the_file(path: str, location: dict[str, str]) -> None:
    run = json.loads(render(replace(make_incident(), path=path), "sarif"))["runs"][0]

    found = run["results"][0]["locations"][0]["physicalLocation"]
    assert found == {"artifactLocation": location, "region": {"startLine": 14}}
    assert run.get("originalUriBaseIds") == (
        {"AUDITED": {"uri": "file:///srv/x%20y/"}} if path.startswith("/") else None
    )


def test_sarif__finding_that_moved_and_is_worded_anew__keeps_its_fingerprint() -> None:
    finding = make_finding(file="a.py", line=3, revisions=("b", "a"))
    others = [replace(finding, line=9, message="Other words."), replace(finding, revisions=("a", "b"))]

    assert {identify(other) for other in others} == {identify(finding)}
    assert identify(replace(finding, file="b.py")) != identify(finding)
    assert identify(replace(finding, code="MG101")) != identify(finding)
    assert len(identify(finding)) == 64


def test_github__incident__points_at_the_line_to_edit() -> None:
    first, second, last = render(make_incident(), "github").splitlines()

    assert first.startswith(
        "::error file=backend/versions/r000.py,line=14,title=MG101 cycle::Put back None in versions/r000.py:14.%0A"
    )
    assert second.startswith("::warning file=backend/versions/side1.py,line=20,title=MG204 irreversible::")
    assert last.startswith("Not sound: 1 error, 1 warning. 115 revisions")


def test_github__absolute_path__is_kept() -> None:
    rendered = render(replace(make_incident(), path="/srv/repo/"), "github")

    assert rendered.startswith("::error file=/srv/repo/versions/r000.py,line=14,")


def unescape(text: str) -> str:
    """What the runner makes of a value (ActionCommand.cs, `UnescapeProperty`)."""
    for sign, character in (("%0D", "\r"), ("%0A", "\n"), ("%3A", ":"), ("%2C", ","), ("%25", "%")):
        text = text.replace(sign, character)
    return text


@given(st.text(), st.text(min_size=1))
def test_github__any_text__is_one_command_with_its_values(message: str, file: str) -> None:
    report = make_report(make_graph(make_chain(1)), make_finding(message=message, hint="", file=file), path=".")

    command, _ = render(report, "github").rstrip("\n").split("\n")

    found = re.fullmatch(r"::error file=([^,:]*),title=MG201 multiple-heads::(.*)", command)
    assert found is not None
    assert "\r" not in command
    assert unescape(found[1]) == make_visible(file)
