"""The documents: every link leads somewhere; what the code offers is written down, and nothing that it does not offer.

That the commands work is held by tests/api/test_document_commands.py, the findings of the audit and their examples by
tests/migration_graph/test_docs.py.
"""

from __future__ import annotations

import os
import re
from argparse import Action, ArgumentParser, _SubParsersAction
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from django.core.management import load_command_class
from django.core.management.base import BaseCommand
from django.core.management.commands.migrate import Command as DjangoMigrate
from fastapi import FastAPI

from golive import urls
from golive.api import ofrep
from golive.domain.decision import Code
from golive.domain.errors import GoLiveError
from golive.domain.flags import SAFE_VALUES
from golive.domain.scopes import SCOPES
from golive.gate import GATES
from golive.guard import GateGuard
from golive.middleware import LIVENESS_PATHS
from golive.readiness import registry, unregister
from golive.web import problems
from tests.support.documents import find_anchors, find_blocks, find_documents, find_links, read, read_all, resolve
from tests.support.server import ROOT, VARIABLES
from valhalla import environment

DOCUMENTS = find_documents()
INDEX = "docs/README.md"
# Each lists its own members, so that the index need not.
LISTS = ("docs/explain/adr/",)
ROW = re.compile(r"^\| (.*?) \|", re.MULTILINE)
COMMANDS = sorted(path.stem for path in (ROOT / "golive/management/commands").glob("[a-z]*.py"))


def read_first_cells(text: str) -> set[str]:
    """What stands in backquotes in the first column of the tables."""
    return {name for cell in ROW.findall(text) for name in re.findall(r"`([^`]+)`", cell)}


# -- the documents themselves ------------------------------------------------------------------------------------------


def test_readme__is_short() -> None:
    assert len(read("README.md").splitlines()) <= 150


@pytest.mark.parametrize("path", DOCUMENTS)
def test_links__of_a_document__lead_to_a_file_and_a_heading(path: str) -> None:
    broken = []
    for target in find_links(path):
        file, anchor = resolve(path, target)
        is_there = file.exists()
        if is_there and anchor:
            is_there = anchor in find_anchors(file.relative_to(ROOT).as_posix())
        if not is_there:
            broken.append(target)

    assert broken == []


def test_links__lead_to_every_document() -> None:
    reached, waiting = set[str](), ["README.md"]
    while waiting:
        path = waiting.pop()
        reached.add(path)
        files = {resolve(path, target)[0] for target in find_links(path)}
        found = {file.relative_to(ROOT).as_posix() for file in files if file.suffix == ".md" and file.exists()}
        waiting += found - reached

    assert set(DOCUMENTS) - reached == set()


def test_index__names_every_document() -> None:
    named = {resolve(INDEX, target)[0].relative_to(ROOT).as_posix() for target in find_links(INDEX)}
    listed = {path for path in DOCUMENTS if path.startswith("docs/") and not path.startswith(LISTS)}

    assert listed - named - {INDEX} == set()


def test_files__named_in_code__exist() -> None:
    """A message or a comment that names a document names one that is there."""
    sources = [*(ROOT / "golive").rglob("*.py"), *(ROOT / "valhalla").rglob("*.py"), *(ROOT / "tests").rglob("*.py")]
    sources += [ROOT / name for name in ("Makefile", "render.yaml", "pyproject.toml", "gunicorn.conf.py")]
    named = {
        name.rstrip("./") for source in sources for name in re.findall(r"(?<![\w/.-])docs/[\w./-]+", source.read_text())
    }

    assert {name for name in named if not (ROOT / name).exists() and f"{name}/" not in LISTS} == set()
    assert len(named) > 5


@pytest.mark.parametrize("path", DOCUMENTS)
def test_blocks__of_a_document__say_how_they_are_run(path: str) -> None:
    for block in find_blocks(path):
        assert block.language == "sh", f"{path}: a block of commands is written as sh: {block.body}"
        assert block.commands(), f"{path}: a block without a command"
        if block.run_by is not None:
            assert path in (ROOT / block.run_by).read_text(), f"{block.run_by} does not read {path}"
        elif block.is_run_here:
            assert re.fullmatch(r"|run with [A-Z_, ]+", block.comment), f"{path}: <!-- {block.comment} -->"
        else:
            # The other tests that a reason names.
            for name in re.findall(r"tests/[\w./]+", block.why_not or ""):
                assert (ROOT / name).exists(), f"{path} names {name}"


def test_readme__lines_that_guard_an_application__guard_it() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", read("README.md"), re.DOTALL)
    app = FastAPI()

    exec(code, {"app": app})

    added: Any
    (added,) = app.user_middleware
    assert (added.cls, added.kwargs) == (GateGuard, {"url": "http://127.0.0.1:8000/gate/", "exempt": ["/health"]})


def test_checks__example__registers_a_check() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", read("docs/embed/checks.md"), re.DOTALL)

    exec(code, {})
    try:
        assert "payments_configured" in registry.checklist_ids()
    finally:
        unregister("payments_configured")


# -- settings ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Every environment variable that is read, as the module itself notes it."""
    others = {"GOLIVE_GATE", "GOLIVE_TOKEN"}
    monkeypatch.setattr(environment, "BASE_DIR", tmp_path)
    monkeypatch.setattr(environment, "_known", set(others))
    with mock.patch.dict(os.environ, {"APP_ENV": "development", "SECRET_KEY": "k" * 32}, clear=True):
        environment.load()
    return environment._known - others


def test_settings__table__is_what_the_environment_reads(variables: set[str]) -> None:
    ours, _, others = read("docs/deploy/settings.md").partition("Read by other programs")

    assert read_first_cells(ours) == variables
    # The tests clear the same ones before anything else.
    assert set(VARIABLES) == variables
    assert {"GOLIVE_GATE", "GOLIVE_TOKEN"} <= read_first_cells(others)


# -- endpoints and codes -----------------------------------------------------------------------------------------------


def find_paths() -> Iterator[str]:
    """Every path that is answered, with `{name}` for what is variable."""
    for pattern in urls.urlpatterns:
        if pattern.name not in ("unknown", "status-page"):
            source = str(pattern.pattern).removeprefix("^/*").removesuffix("/?$").replace("\\.", ".")
            yield "/" + re.sub(r"\(\?P<(\w+)>.*\)", r"{\1}", source)
    yield from LIVENESS_PATHS
    yield from (f"/{gate}/" for gate in GATES)


def test_endpoints__are_all_documented() -> None:
    text = read_all("docs/consumers/")
    # Alone or after its method, with a query or without.
    written = set(re.findall(r"`(?:[A-Z]+ )?(/[^`\s?]*)", text))
    paths = set(find_paths())

    assert paths - written == set()
    assert len(paths) > 20
    # And nothing that is not answered.
    assert {path for path in written if path.startswith(("/api/", "/ofrep/"))} - paths == set()


def find_errors(kind: type[GoLiveError] = GoLiveError) -> Iterator[type[GoLiveError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from find_errors(child)


def test_errors__codes__are_all_documented() -> None:
    text = read("docs/consumers/errors.md")
    codes = {kind.code for kind in find_errors()} | set(problems.TITLES) | (set(map(str, Code)) - {"ALLOWED"})

    assert {code for code in codes if f"`{code}`" not in text} == set()
    assert read_first_cells(text) - codes - {"code"} == set()


@pytest.mark.parametrize(("kind", "status"), problems._STATUS)
def test_errors__status__is_that_of_the_answer(kind: type[GoLiveError], status: int) -> None:
    assert f"\n| `{kind.code}` | {int(status)} |" in read("docs/consumers/errors.md")


def test_flags__and_their_errors__are_all_documented() -> None:
    codes = {"INVALID_CONTEXT", "GENERAL", *ofrep._ERROR_CODES.values()}

    assert {*SAFE_VALUES, *codes, "errorCode"} == read_first_cells(read("docs/consumers/openfeature.md"))


def test_checks__are_all_in_the_runbook() -> None:
    documented = read_first_cells(read("docs/operators/runbook.md"))

    assert {check.id for check in registry.all_checks()} | {"failover"} == documented


def test_checks__those_of_django__are_all_documented() -> None:
    sources = "\n".join(path.read_text() for path in (ROOT / "golive").rglob("*.py"))
    ids = set(re.findall(r'id="(golive\.[EWI]\d+)"', sources))

    assert ids == set(re.findall(r"^\| (golive\.[EWI]\d+) \|", read("docs/embed/django.md"), re.MULTILINE))


def test_scopes__are_all_documented() -> None:
    assert set(SCOPES) == read_first_cells(read("docs/consumers/tokens.md"))


def test_problems_of_the_record__are_all_documented() -> None:
    sources = "\n".join((ROOT / "golive" / name).read_text() for name in ("domain/chain.py", "state/history.py"))
    codes = set(re.findall(r'(?:Problem|_report)\(\s*"(\w+)"', sources))

    assert codes - read_first_cells(read("docs/operators/record.md")) == set()
    assert len(codes) > 6


# -- commands ----------------------------------------------------------------------------------------------------------


def find_parsers(parser: ArgumentParser, name: str) -> Iterator[tuple[str, ArgumentParser]]:
    """The parser with those of its subcommands, each with its name in full."""
    yield name, parser
    for action in parser._actions:
        if isinstance(action, _SubParsersAction):
            for child, below in action.choices.items():
                yield from find_parsers(below, f"{name} {child}")


def find_options(actions: list[Action]) -> set[str]:
    return {text for action in actions for text in action.option_strings if text.startswith("--")}


class _Nothing(BaseCommand):
    """A command with the options that each has."""

    def handle(self, *args: Any, **options: Any) -> None: ...


@pytest.mark.parametrize("name", COMMANDS)
def test_command__its_subcommands_and_options__are_documented(name: str) -> None:
    text = read_all("README.md", "docs/")
    usual = find_options(_Nothing().create_parser("manage.py", "nothing")._actions)
    if name == "migrate":
        usual |= find_options(DjangoMigrate().create_parser("manage.py", name)._actions)
    parsers = list(find_parsers(load_command_class("golive", name).create_parser("manage.py", name), name))

    listed = {cell.split(" MS")[0] for cell in read_first_cells(read("docs/operators/command-line.md"))}
    leaves = {each for each, _ in parsers if not any(other.startswith(f"{each} ") for other, _ in parsers)}
    assert {each.removeprefix("golive ") for each in leaves} - listed == set()
    options = {option for _, parser in parsers for option in find_options(parser._actions)} - usual
    assert {option for option in options if not re.search(rf"{option}(?![\w-])", text)} == set()


def test_make__targets__are_documented() -> None:
    targets = re.findall(r"^([a-z-]+):.*## ", read("Makefile"), re.MULTILINE)
    text = read_all("README.md", "docs/", "CONTRIBUTING.md")

    assert {target for target in targets if f"make {target}" not in text} <= {"clean", "format"}
