"""docs/explain and docs/contribute say what the code says: generated parts, names of the code, links between pages."""

from __future__ import annotations

import re
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
