"""The forms that are drawn: Mermaid, Graphviz, SVG, and the page's markup. The page itself is tested in Chromium."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import subprocess
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from golive.migration_graph.model import Cut, Edge, Node, Report
from golive.migration_graph.reports import FORMATS, render
from golive.migration_graph.reports.page import SCRIPT, STYLE
from golive.migration_graph.reports.words import make_visible
from tests.migration_graph.reports import (
    get_key,
    make_chain,
    make_finding,
    make_graph,
    make_incident,
    make_report,
    make_sound,
    make_tie,
)

HOSTILE = (
    "</script><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "]]><!--",
    "javascript:alert(1)",
    'a"]; n0 --> evil["',
    '"]; subgraph x',
    '\\"; evil -> worse; "',
    "%%{init: {'theme':'dark'}}%%",
    "end",
    "click n0 call alert()",
    "\x1b]8;;http://x\x07",
    "a\nb",
    "\u202eevil",
    "&lt;b&gt;&#60;",
    "#quot;",
    "",
    " ",
    "é表😀",
    "\udcff",
)
names = st.text(max_size=30) | st.sampled_from(HOSTILE)

# The whole of the language that the chart uses; a label cannot hold a quotation mark, a bracket or a semicolon of its
# own, since `#34;` and the like stand for them.
ENTITY = r"#\d{1,7};"
MERMAID_LINES = (
    re.compile(r"flowchart TD"),
    re.compile(rf"  (n\d+|more)\[\"([ a-zA-Z0-9._\-/,:()]|{ENTITY})+\"\]"),
    re.compile(r"  n\d+ (-->|-\.->|==>) n\d+"),
    re.compile(r"  linkStyle \d+(,\d+)* stroke:#[0-9a-f]{6},stroke-width:[23]px"),
    re.compile(r"  classDef defect stroke:#c01f1f,stroke-width:3px"),
    re.compile(r"  class n\d+(,n\d+)* defect"),
)


def make_hostile(name: str) -> Report:
    """The same untrusted text wherever text can stand."""
    other = "plain"
    graph = make_graph({name: [other], other: [name] if name != other else []}, messages={name: name})
    edge = Edge(name, other, get_key(name), 14)
    finding = make_finding(
        "MG101",
        "cycle",
        message=name,
        hint=name,
        file=get_key(name),
        line=14,
        cycle=(name, other),
        cuts=(Cut((edge,), restore=name, because=(name,)),),
        affected=2,
    )
    return make_report(graph, finding, path=name, history_note=name, episodes=())


@given(names)
def test_mermaid__any_name__stays_inside_its_label(name: str) -> None:
    for line in render(make_hostile(name), "mermaid").rstrip("\n").split("\n"):
        assert any(form.fullmatch(line) for form in MERMAID_LINES), line


def test_mermaid__incident__draws_few_nodes_and_the_remedy_thick() -> None:
    lines = render(make_incident(), "mermaid").splitlines()

    assert '  n5["66 revisions"]' in lines
    assert [line for line in lines if "==>" in line] == ["  n12 ==> n4"]
    assert len(lines) < 40


def test_mermaid__larger_than_it_can_draw__keeps_what_is_near_the_defect() -> None:
    parents: dict[str, list[str]] = {"base": []}
    for n in range(1_000):
        parents |= {f"left{n}": [f"join{n - 1}" if n else "base"], f"right{n}": [f"join{n - 1}" if n else "base"]}
        parents[f"join{n}"] = [f"left{n}", f"right{n}"]
    finding = make_finding(file=get_key("left500"), revisions=("left500",))

    text = render(make_report(make_graph(parents), finding), "mermaid")

    assert '["left500"]' in text
    assert '["left1"]' not in text
    assert re.search(r'more\["2,7\d\d more revisions"\]', text)
    assert text.count("-->") <= 400
    assert len(text) < 50_000


def draw(source: str) -> Any:
    done = subprocess.run(["dot", "-Tjson"], input=source.encode(), capture_output=True, check=False)
    assert (done.returncode, done.stderr.decode()) == (0, "")
    return json.loads(done.stdout)


@pytest.mark.graphviz
@pytest.mark.parametrize("make", [make_sound, make_incident, make_tie])
def test_dot__any__is_drawn_whole_by_graphviz(make: Any) -> None:
    report = make()

    drawn = draw(render(report, "dot"))

    assert {node["name"] for node in drawn["objects"]} == set(report.graph.nodes)
    assert len(drawn["edges"]) == sum(map(len, report.graph.parents.values()))
    red = [edge for edge in drawn["edges"] if edge.get("penwidth") == "3"]
    assert len(red) == {make_sound: 0, make_incident: 1, make_tie: 3}[make]


@pytest.mark.graphviz
@pytest.mark.parametrize("name", HOSTILE)
def test_dot__hostile_name__is_one_node_of_that_name(name: str) -> None:
    drawn = draw(render(make_hostile(name), "dot"))

    labels = {node["label"] for node in drawn["objects"]}
    assert len(drawn["objects"]) == 2
    # Graphviz gives the label back as it was written: `\\` for a backslash, `&amp;` for an ampersand.
    assert labels == {"plain", make_visible(name).replace("\\", "\\\\").replace("&", "&amp;")}


@given(names)
def test_svg__any_name__is_text_and_nothing_else(name: str) -> None:
    rendered = render(make_hostile(name), "svg")

    root = ET.fromstring(rendered)

    assert rendered.isascii()
    kinds = {element.tag.removeprefix("{http://www.w3.org/2000/svg}") for element in root.iter()}
    assert kinds == {"svg", "title", "desc", "style", "rect", "text", "g", "path", "circle"}
    assert not [name for element in root.iter() for name in element.attrib if name.startswith("on") or "href" in name]


def test_svg__run__names_its_revisions_to_a_pointer() -> None:
    root = ET.fromstring(render(make_report(make_graph(make_chain(10))), "svg"))

    titles = [element.text or "" for element in root.iter("{http://www.w3.org/2000/svg}title")]

    assert "r008, r007, r006, r005, r004, r003, r002, r001" in titles


class Outline(HTMLParser):
    """Which elements and attributes a page has."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.links: set[str] = set()
        self.scripts = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.links |= {value or "" for name, value in attrs if name in ("href", "src")}
        self.scripts += tag == "script"


PLAIN = Outline()
PLAIN.feed(render(make_hostile("harmless"), "html"))


@given(names)
def test_html__any_name__adds_no_element_and_no_attribute(name: str) -> None:
    rendered = render(make_hostile(name), "html")

    outline = Outline()
    outline.feed(rendered)

    assert rendered.isascii()
    assert outline.tags <= PLAIN.tags
    assert outline.attributes <= PLAIN.attributes
    assert outline.scripts == 1
    assert all(re.fullmatch(r"#row-[0-9a-f]*|data:,", link) for link in outline.links)


def test_html__policy__names_its_own_style_and_script_alone() -> None:
    rendered = render(make_incident(), "html")

    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', rendered)
    digests = [base64.b64encode(hashlib.sha256(part.encode()).digest()).decode() for part in (STYLE, SCRIPT)]
    assert policy == (
        f"default-src 'none'; style-src 'sha256-{digests[0]}'; script-src 'sha256-{digests[1]}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    assert "style=" not in rendered
    assert re.findall(r"https?://", rendered) == []


def test_html__incident__has_every_revision_once() -> None:
    rendered = render(make_incident(), "html")

    assert len(re.findall(r'id="row-', rendered)) == 115
    assert len(set(re.findall(r'id="(row-[0-9a-f]+)"', rendered))) == 115


@pytest.mark.parametrize("form", FORMATS)
def test_render__empty_folder__is_written(form: str) -> None:
    rendered = render(make_report(make_graph({})), form)

    assert rendered.endswith("\n")


@pytest.mark.parametrize("form", FORMATS)
def test_render__parent_that_is_no_node__is_written(form: str) -> None:
    report = make_report(make_graph({"a": ["gone"]}), make_finding("MG102", "dangling-parent", file=get_key("a")))

    assert render(report, form)


@pytest.mark.parametrize("form", ["text", "markdown", "github"])
@given(names)
def test_render__any_name__sends_nothing_to_the_terminal(form: str, name: str) -> None:
    rendered = render(make_hostile(name), form)

    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", rendered)
    rendered.encode()


def test_nodes__with_one_name__stay_two_rows() -> None:
    graph = make_graph({"a": []})
    twin = Node("versions/twin.py", "a", 3)
    nodes = {**graph.nodes, twin.key: twin}
    both = type(graph)(graph.kind, nodes, dict.fromkeys(nodes, ()), dict.fromkeys(nodes, ()), ("a",), ("a",))
    finding = make_finding("MG103", "duplicate-id", file=twin.key, revisions=("a",))

    rendered = render(make_report(both, finding), "html")

    assert rendered.count('class="row defect"') == 2
