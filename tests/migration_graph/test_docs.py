"""docs/migrations is true: each code has its section, each example gives its finding, Alembic says the same."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from golive.migration_graph.audit import AuditRequest, run_audit
from golive.migration_graph.catalogue import CATALOGUE
from golive.migration_graph.model import AppliedRows, Finding, Kind, Severity
from golive.migration_graph.reports import FORMATS
from tests.support.server import ROOT, clean_environment

FINDINGS = (ROOT / "docs/migrations/findings.md").read_text()
AUDIT = (ROOT / "docs/migrations/audit.md").read_text()
CI = (ROOT / "docs/migrations/ci.md").read_text()
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"# (\S+\.py)(, (removed )?after --write-lock)?\n")
# Asks Alembic for the graph of each folder as its commands do, and tells what it said.
ASK_ALEMBIC = """
import sys, warnings
from alembic.script import ScriptDirectory
for folder in sys.argv[1:]:
    print("==", folder)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            script = ScriptDirectory(folder)
            list(script.walk_revisions())
            script.get_current_head()
        except Exception as error:
            print(f"{type(error).__name__}: {error}")
    for warning in told:
        print(warning.message)
"""


@dataclass(frozen=True)
class Example:
    """The files of a section before and after the lock is written (None: removed), and what is applied."""

    before: dict[str, str]
    after: dict[str, str | None]
    applied: tuple[str, ...]

    def write(self, folder: Path) -> None:
        for name, source in self.before.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(source)

    def change(self, folder: Path) -> None:
        for name, source in self.after.items():
            (folder / name).unlink(missing_ok=True)
            if source is not None:
                (folder / name).write_text(source)


def get_section(code: str) -> str:
    found = re.search(rf"^## {code} {CATALOGUE[code].name}\n(.*?)(?=^##|\Z)", FINDINGS, re.MULTILINE | re.DOTALL)
    assert found is not None, f"no section for {code}"
    return found[1]


def read_example(code: str) -> Example:
    before: dict[str, str] = {}
    after: dict[str, str | None] = {}
    applied: list[str] = []
    for language, body in BLOCK.findall(get_section(code)):
        if language == "sql":
            applied += re.findall(r"INSERT INTO alembic_version VALUES \('(\w+)'\);", body)
            continue
        head = FILE.match(body)
        assert head is not None
        source = body[head.end() :]
        if head[2] is None:
            before[head[1]] = source
        else:
            after[head[1]] = None if head[3] else source
    return Example(before, after, tuple(applied))


def audit_example(example: Example, folder: Path) -> tuple[Finding, ...]:
    def read_applied(url: str, kind: Kind) -> AppliedRows:
        return AppliedRows(url, example.applied)

    example.write(folder)
    if example.after:
        assert run_audit(str(folder), AuditRequest(writes_lock=True), read_applied).refusal is None
        example.change(folder)
    request = AuditRequest(databases=("any",) if example.applied else ())
    return run_audit(str(folder), request, read_applied).report.findings


def test_docs__sections__are_the_codes_in_their_order() -> None:
    assert re.findall(r"^## (MG\d+) ", FINDINGS, re.MULTILINE) == list(CATALOGUE)


def test_docs__table_of_findings__is_the_catalogue() -> None:
    rows = re.findall(r"^\| \[(MG\d+)\]\(\S+\) \| (\S+) \| (\S+) \|$", FINDINGS, re.MULTILINE)

    assert rows == [(code, kind.name, str(kind.severity)) for code, kind in CATALOGUE.items()]


@pytest.mark.parametrize("code", CATALOGUE)
def test_docs__example__gives_the_finding_of_its_section(code: str, tmp_path: Path) -> None:
    findings = audit_example(read_example(code), tmp_path)

    found = [finding for finding in findings if finding.code == code]
    assert found, [finding.message for finding in findings]
    assert found[0].severity is CATALOGUE[code].severity
    # What follows from the defect may be told too, but no other cause.
    others = {finding.code for finding in findings if finding.severity is Severity.ERROR} - {code}
    follows = {"MG102": {"MG201"}, "MG104": {"MG201"}}
    # A revision that the lock file holds was changed, which is how these come about.
    follows |= {"MG303": {"MG401"}, "MG304": {"MG401", "MG201"}, "MG306": {"MG401"}}
    assert others <= follows.get(code, set())


@pytest.mark.parametrize("code", CATALOGUE)
def test_docs__section__says_what_alembic_says_and_what_to_do(code: str) -> None:
    section = get_section(code)

    assert re.search(r"^Alembic: (`|says nothing)", section, re.MULTILINE)
    assert re.search(r"^Remedy: ", section, re.MULTILINE)


def test_docs__what_alembic_says__is_what_it_says(tmp_path: Path) -> None:
    codes = [code for code in CATALOGUE if not code.startswith(("MG3", "MG4"))]
    for code in codes:
        read_example(code).write(tmp_path / code)
        (tmp_path / code / "env.py").touch()

    done = subprocess.run(
        [sys.executable, "-c", ASK_ALEMBIC, *codes],
        cwd=tmp_path,
        env=clean_environment({}),
        capture_output=True,
        text=True,
        check=True,
    )

    told = dict(part.split("\n", 1) for part in done.stdout.split("== ")[1:])
    quoted = {code: re.findall(r"^Alembic: `([^`]*)`", get_section(code), re.MULTILINE) for code in codes}
    assert {code: quote[0] for code, quote in quoted.items() if quote and quote[0] not in told[code]} == {}
    assert {code: told[code] for code, quote in quoted.items() if not quote and told[code].strip()} == {}
    assert sum(map(bool, quoted.values())) == 8


def test_docs__formats__are_all_listed() -> None:
    assert re.findall(r"^\| `(\w+)` \|", AUDIT, re.MULTILINE) == [
        *("text", "json", "markdown", "html", "svg", "mermaid", "dot", "sarif", "github")
    ]
    assert {*re.findall(r"^\| `(\w+)` \|", AUDIT, re.MULTILINE)} == set(FORMATS)


def find_yaml(name: str) -> object:
    (body,) = [body for language, body in BLOCK.findall(CI) if language == "yaml" and body.startswith(f"# {name}\n")]
    return yaml.safe_load(body)


def test_docs__hook__is_the_one_that_is_defined() -> None:
    config = find_yaml(".pre-commit-config.yaml")
    assert isinstance(config, dict)
    (hook,) = config["repos"][0]["hooks"]

    assert [hook["id"]] == [defined["id"] for defined in yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())]


def test_docs__workflow__gives_the_action_inputs_that_it_has_and_the_rights_that_it_needs() -> None:
    """tests/package/test_github_action.py runs it."""
    workflow = find_yaml(".github/workflows/migrations.yml")
    action = yaml.safe_load((ROOT / "action.yml").read_text())
    assert isinstance(workflow, dict)
    checkout, audit = workflow["jobs"]["migrations"]["steps"]

    assert workflow["permissions"] == {"contents": "read", "pull-requests": "write"}
    assert checkout["with"] == {"fetch-depth": 0}
    assert set(audit["with"]) <= set(action["inputs"])
    assert re.findall(r"^\| `(\w+)` \|", CI, re.MULTILINE) == list(action["inputs"])
