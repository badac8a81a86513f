"""docs/explain and docs/contribute say what the code says: generated parts, names of the code, links between pages."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from golive.models import GoLiveState, SystemMetadata
from tests.support import design_page
from tests.support.server import ROOT
from tests.test_docstrings import find_names, resolves

FOLDERS = ("docs/explain", "docs/contribute")
PAGES = sorted(
    [
        *(page for folder in FOLDERS for page in (ROOT / folder).rglob("*.md")),
        ROOT / "CONTRIBUTING.md",
        ROOT / "SECURITY.md",
    ]
)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_PATH = re.compile(r"`((?:golive|valhalla|tests|docs)/[\w./-]+)`")


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def find_anchors(page: Path) -> set[str]:
    """The anchors of the headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_design__generated_parts__are_up_to_date() -> None:
    page = design_page.PAGE.read_text()

    assert design_page.replace_parts(page, design_page.make_parts()) == page, f"run {design_page.COMMAND}"


def test_design__first_state__is_that_of_the_models() -> None:
    state, system = GoLiveState(), SystemMetadata()

    assert (state.kill_switch_engaged, state.go_live_enabled, system.backend_complete) == design_page.SEEDED


def test_design__page_without_markers__is_refused() -> None:
    with pytest.raises(ValueError, match="no single pair of markers for changes"):
        design_page.replace_parts("# Design\n", design_page.make_parts())


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_pages__each_name_of_the_code__is_there(page: Path) -> None:
    text = page.read_text()

    assert [name for name in find_names(text) if not resolves(name)] == []
    assert [path for path in _PATH.findall(text) if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_pages__each_link__leads_to_a_page_and_a_heading(page: Path) -> None:
    missing = []
    for link in _LINK.findall(page.read_text()):
        if link.startswith(("https://", "mailto:")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in find_anchors(target)):
            missing.append(link)

    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_pages__diagrams__hold_no_semicolon(page: Path) -> None:
    """Mermaid takes it for the end of the line, and draws nothing at all."""
    diagrams = re.findall(r"^```mermaid\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)

    assert [line for diagram in diagrams for line in diagram.splitlines() if ";" in line] == []


def test_design__rooms__are_the_packages_of_the_app() -> None:
    named = set(re.findall(r"^\| `golive\.(\w+)` \|", design_page.PAGE.read_text(), re.MULTILINE))

    assert named == {path.parent.name for path in (ROOT / "golive").glob("*/__init__.py")}


def test_decisions__index__lists_each_page() -> None:
    folder = ROOT / "docs" / "explain" / "adr"
    pages = sorted(path.name for path in folder.glob("0*.md"))

    listed = re.findall(r"^\d+\. \[(.+)\]\((.+)\)$", (folder / "README.md").read_text(), re.MULTILINE)
    assert [name for _, name in listed] == pages
    titles = [f"# {number}. {title}" for number, (title, _) in enumerate(listed, 1)]
    assert [(folder / name).read_text().splitlines()[0] for name in pages] == titles


@pytest.mark.parametrize("page", sorted((ROOT / "docs" / "explain" / "adr").glob("0*.md")), ids=relative)
def test_decisions__each__fits_on_a_page_and_has_its_four_parts(page: Path) -> None:
    text = page.read_text()

    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == ["Context", "Decision", "Consequences", "Alternatives"]
    assert len(text.splitlines()) <= 60


def test_contributing__make_targets__exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    # In code only: "make an event" is no command.
    used = {
        target
        for page in PAGES
        for code in re.findall(r"`([^`\n]+)`|^(make .+)$", page.read_text(), re.MULTILINE)
        for target in re.findall(r"^make ([a-z-]+)", "".join(code))
    }

    assert {"setup", "check", "test"} <= used
    assert used <= targets


def test_tests_page__markers__are_those_of_pyproject() -> None:
    options = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]
    table = (ROOT / "docs" / "contribute" / "tests.md").read_text().partition("| marker |")[2].partition("\n\n")[0]

    rows = re.findall(r"^\| (`.+?) \|", table, re.MULTILINE)
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} == {
        marker.partition(":")[0] for marker in options["markers"]
    }
