"""The forms that people read: text and Markdown."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from golive.migration_graph.model import Action, Commit, ComparedDatabase, Cut, Edge, Edit, NotRead, Report, Severity
from golive.migration_graph.reports import render
from golive.migration_graph.reports.markdown_text import escape, quote
from golive.migration_graph.reports.words import make_visible
from tests.migration_graph.reports import (
    COMMIT,
    get_key,
    make_chain,
    make_finding,
    make_graph,
    make_headline,
    make_incident,
    make_report,
    make_sound,
    make_tie,
)

MARKDOWN = MarkdownIt("commonmark").enable(["table", "strikethrough"])


def test_text__incident__begins_with_the_one_edit() -> None:
    lines = render(make_incident(), "text").splitlines()

    assert lines[:7] == [
        "Not sound: 1 error, 1 warning",
        "115 revisions, 1 head (top3), no base, 1 merge, 1 branch point, in backend",
        "",
        "versions/r000.py:14: put back None in place of 'r107'",
        '  since commit 9e107d9d372b 2026-01-12 "Fix the migration chain" by ann',
        "  because the edge was made by the commit that closed the cycle",
        "  because the parent is newer than its child",
    ]
    assert lines[7] == "  then: 1 head (top3), 1 base (r000), sound"


def test_text__incident__counts_the_cycle_instead_of_naming_a_hundred() -> None:
    text = render(make_incident(), "text")

    assert "(100 more)" in text
    assert "r050" not in text
    assert max(map(len, text.splitlines())) <= 120


def test_text__tie__shows_no_remedy_before_the_others() -> None:
    text = render(make_tie(), "text")

    assert "One of these 3 remedies, which nothing tells apart:" in text
    assert [line.split()[1] for line in text.splitlines() if line.startswith("  remedy")] == ["1=", "1=", "1="]
    assert "put back" not in text


def test_text__sound__takes_two_lines() -> None:
    assert render(make_sound(), "text").splitlines() == [
        "Sound",
        "3 revisions, 1 head (r002), 1 base (r000), 0 merges, 0 branch points, in backend",
    ]


def test_text__several_values_to_put_back__names_each_place() -> None:
    report = make_tie()
    (finding,) = report.findings
    edits = (Edit(get_key("a"), 14, "'c'", "None"), Edit(get_key("b"), 3, "'a'", "'x'"))
    report = replace(report, headline=make_headline(finding, *edits))

    lines = render(report, "text").splitlines()

    assert lines[3:5] == [
        "versions/a.py:14: put back None in place of 'c'",
        "versions/b.py:3: put back 'x' in place of 'a'",
    ]


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ("text", "run alembic merge a b"),
        ("markdown", "- **Run**: `alembic merge a b`"),
        ("html", '<h2 id="answer">Run <code>alembic merge a b</code></h2>'),
        ("github", "::Run `alembic merge a b`.%0A"),
    ],
)
def test_reports__heads_split_by_an_edit__offer_the_command_and_tell_the_edit(form: str, words: str) -> None:
    finding = make_finding(edit=Edit(get_key("r001"), 14, "'r000'", "None"), introduced_by=COMMIT)
    headline = make_headline(finding, command="alembic merge a b")
    report = make_report(make_graph(make_chain(2)), finding, headline=headline)

    text = render(report, form)

    assert words in text
    assert "put back" not in text.lower()


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ("text", 'last sound: 9e107d9d372b 2026-01-12 "Fix the migration chain" by ann'),
        ("markdown", "- **Last sound**: 2026-01-12, commit `9e107d9d372b` (`Fix the migration chain`) by ann."),
        ("html", "<h2>What to do</h2>"),
    ],
)
def test_reports__not_sound__name_the_last_sound_commit_and_no_unproven_remedy(form: str, words: str) -> None:
    (finding,) = make_tie().findings
    report = replace(make_tie(), findings=(replace(finding, cuts=finding.cuts[:1]),), last_sound=COMMIT)

    assert words in render(report, form)


def test_text__sound__names_no_last_sound_commit() -> None:
    assert "last sound" not in render(replace(make_sound(), last_sound=COMMIT), "text")


def test_text__a_new_id__is_written_and_not_put_back() -> None:
    finding = make_finding("MG103", "duplicate-id")
    headline = make_headline(finding, Edit(get_key("r001"), 9, "'a'", "'b'"), action=Action.REID)
    report = make_report(make_graph(make_chain(2)), finding, headline=headline)

    assert "versions/r001.py:9: write 'b' in place of 'a'" in render(report, "text")


def test_text__a_hundred_warnings__shows_three_and_counts_the_rest() -> None:
    findings = [
        make_finding("MG204", "irreversible", severity=Severity.WARNING, message=f"r{n} cannot be undone.")
        for n in range(100)
    ]

    text = render(make_report(make_graph(make_chain(2)), *findings), "text")

    assert text.count("cannot be undone") == 3
    assert "MG204 and 97 more" in text


def test_text__colour__only_where_it_was_asked_for() -> None:
    assert "\x1b" not in render(make_incident(), "text")
    assert "\x1b[31;1mNot sound" in render(make_incident(), "text", is_coloured=True)


def test_text__not_proven_minimal__says_so() -> None:
    (finding,) = make_tie().findings
    report = replace(make_tie(), findings=(replace(finding, is_minimal=False),))

    assert "not proven minimal" in render(report, "text")


def test_text__history_note_and_pending__are_told() -> None:
    report = replace(
        make_sound(),
        episodes=(),
        history_note="The clone is shallow.",
        databases=(ComparedDatabase("sqlite:///x", ("r000",), ("r001", "r002")),),
    )

    text = render(report, "text")

    assert "history: The clone is shallow." in text
    assert "An upgrade would run, in this order: r001, r002" in text


@pytest.mark.parametrize("format_", ["text", "markdown", "html"])
def test_databases__several__are_named_and_what_is_assumed_is_said(format_: str) -> None:
    assumed = ComparedDatabase("sqlite:///x", ("r000",), ("r001",), "assumed")
    refused = ComparedDatabase("sqlite:///y", ("r009",), None)

    text = " ".join(render(replace(make_sound(), databases=(assumed, refused)), format_).split())

    assert "sqlite:///x" in text
    assert "sqlite:///y" in text
    assert "What ran there is taken to be what comes before its rows" in text
    assert "the findings say why" in text


@given(st.text())
def test_make_visible__any_text__holds_nothing_that_a_terminal_obeys(text: str) -> None:
    visible = make_visible(text)

    assert not re.search("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u2028\u2029]", visible)
    visible.encode()


@pytest.mark.parametrize(
    ("text", "shown"),
    [("a\x1b[2Jb", r"a\x1b[2Jb"), ("x\u202ey", r"x\u202ey"), ("\udcff", r"\udcff"), ("é 表", "é 表"), ("\n", r"\n")],
)
def test_make_visible__examples(text: str, shown: str) -> None:
    assert make_visible(text) == shown


def get_section(text: str, title: str) -> str:
    """A section of a Markdown report, without its title."""
    found = re.search(rf"^## {title}\n\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found is not None, text
    return found[1]


# What only developers know.
JARGON = re.compile(
    r"revision|\bheads?\b|\bbases?\b|cycle|\bedges?\b|graph|schema|down_revision|upgrade|\bMG\d|\.py\b", re.IGNORECASE
)


def test_markdown__stakeholders__are_told_what_waits_since_when_and_who_acts() -> None:
    section = get_section(render(make_incident(), "markdown"), "For stakeholders")

    assert section.startswith(
        "**Deploys that change the database are blocked. As far as this goes, the running service"
    )
    assert "whether the service is well is not said here" in section
    assert "**Why**: 115 of 115 migrations cannot be put in order" in section
    assert "**Since when**: 2026-01-12, commit `9e107d9d372b` (`Fix the migration chain`) by ann." in section
    assert "**What happens next**: a developer puts back what stood in 1 file before; then" in section
    assert "**Who acts**: the developers. Until they report that it is repaired, please do not edit" in section


@pytest.mark.parametrize("make", [make_incident, make_tie])
def test_markdown__stakeholders__are_told_it_without_jargon(make: Callable[[], Report]) -> None:
    assert JARGON.findall(get_section(render(make(), "markdown"), "For stakeholders")) == []


@pytest.mark.parametrize(
    ("action", "is_sound", "told"),
    [
        (Action.RESTORE, False, "puts back what stood in 1 file before; then other errors are left to be repaired."),
        (Action.MERGE, True, "joins the parallel lines of changes; then the migrations are in order again."),
        (Action.REID, True, "gives one of two files of the same name another one; then"),
        (Action.BRING_BACK, True, "brings a deleted file back; then"),
    ],
)
def test_markdown__stakeholders__are_told_the_next_step(action: Action, is_sound: bool, told: str) -> None:
    finding = make_finding()
    headline = make_headline(finding, Edit(get_key("r001"), 14, "None", "'a'"), action=action, is_sound=is_sound)
    report = make_report(make_graph(make_chain(2)), finding, headline=headline)

    assert f"**What happens next**: a developer {told}" in get_section(render(report, "markdown"), "For stakeholders")


def test_markdown__stakeholders__known_errors_and_databases__are_told_as_such() -> None:
    known = make_finding(is_known=True)
    database = make_finding("MG301", "database-revision-unknown", message="It has run x.", file=None)

    first = get_section(render(make_report(make_graph(make_chain(1)), known), "markdown"), "For stakeholders")
    second = get_section(render(make_report(make_graph(make_chain(1)), database), "markdown"), "For stakeholders")

    assert first.startswith("**Nothing new: deploys that change the database wait, as was known before.**")
    assert "Not known" not in first
    assert "**Not known**: a database does not agree with the files." in second
    assert "**What happens next**: a developer looks into it" in second


def test_markdown__developers__have_the_edit_the_places_and_the_commands() -> None:
    section = get_section(render(replace(make_incident(), path="back end"), "markdown"), "For developers")

    assert "- **Edit**: In `versions/r000.py:14`, put back `None` in place of `'r107'`." in section
    assert "- **Then**: 1 head (top3), 1 base (r000), sound." in section
    assert "- **Commands**: `git show 9e107d9d372b` for the commit; `golive-audit 'back end'` (or" in section
    assert "- **Files and lines**:\n  - `versions/r000.py:14`: MG101 cycle\n" in section


def test_markdown__developers__a_tie__lists_the_edits_and_asks() -> None:
    section = get_section(render(make_tie(), "markdown"), "For developers")

    assert "- **Edit**: one of 3, which nothing tells apart. Ask who knows:\n  - take out `a -> c` (`" in section


def test_markdown__developers__many_errors__shows_twenty() -> None:
    findings = [make_finding("MG102", "dangling-parent", message=f"r{n}") for n in range(25)]
    section = get_section(render(make_report(make_graph(make_chain(2)), *findings), "markdown"), "For developers")

    assert section.count("  - MG102 dangling") == 20
    assert "And 5 more, below." in section


def test_markdown__sound__is_one_short_section() -> None:
    text = render(make_sound(), "markdown")

    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == ["In short"]
    assert get_section(text, "In short") == (
        "The migrations are in order: no error was found, and all that the tool loads was read. "
        "Nothing here holds up a deploy. No database was compared.\n"
    )
    assert "No database was compared" not in render(
        replace(make_sound(), databases=(ComparedDatabase("sqlite:///x", ("r000",), ()),)), "markdown"
    )


PASSED_OVER = NotRead("versions/old", 3, "Alembic passes over subfolders", "Move them.")


@pytest.mark.parametrize("form", ["text", "markdown", "html", "github"])
def test_not_read__each_form__says_how_much_and_where(form: str) -> None:
    report = make_sound()
    graph = replace(report.graph, unchecked=7)
    other = replace(PASSED_OVER, path="versions/x", files=1)
    report = replace(report, graph=graph, not_read=(PASSED_OVER, other))

    text = render(report, form)

    assert "Not read: 4 files in 2 places; MG108 tells which and why." in text
    assert "Not checked: 7 references to packages that were not looked at." in text
    assert "all that the tool loads was read" not in text
    assert "Not read" not in render(make_sound(), form)


def test_not_read__markdown__lists_the_places() -> None:
    report = replace(make_sound(), not_read=(PASSED_OVER,))

    section = get_section(render(report, "markdown"), "In short")

    assert "- `versions/old` (3 files): Alembic passes over subfolders." in section


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_escape__any_text__is_shown_as_it_is(text: str) -> None:
    tokens = MARKDOWN.parseInline(f"x{escape(text)}x")[0].children or []

    assert {token.type for token in tokens} <= {"text", "code_inline"}
    assert {token.content for token in tokens if token.type == "code_inline"} <= {"@" * n for n in range(1, 50)}
    assert "".join(token.content for token in tokens) == f"x{make_visible(' '.join(text.split(chr(10))))}x"


@given(st.text(st.sampled_from("`a| \\<*")))
def test_quote__any_name__is_one_code(name: str) -> None:
    tokens = MARKDOWN.parseInline(f"x {quote(name)} x")[0].children or []

    assert [token.type for token in tokens] == ["text", "code_inline", "text"]
    assert tokens[1].content.strip() == name.strip()


@pytest.mark.parametrize("hostile", ["|", "a|b", "`|`", "\\|", "<script>", "x\n| y", "@ann"])
def test_markdown__hostile_names__break_out_of_no_line(hostile: str) -> None:
    finding = make_finding(
        "MG101",
        "cycle",
        message=hostile,
        cycle=("a", "b"),
        cuts=(Cut((Edge("a", "b", hostile, 1),), restore=hostile, because=(hostile,)),),
        introduced_by=Commit(hostile, hostile, hostile, hostile),
    )
    edit = Edit(hostile, 1, hostile, hostile)
    headline = make_headline(finding, edit, because=(hostile,), heads=(hostile,), bases=(hostile,))
    last_sound = Commit(hostile, hostile, hostile, hostile)
    graph = make_graph({"a": ["b"], "b": ["a"]})
    report = make_report(graph, finding, path=hostile, headline=headline, last_sound=last_sound)

    tokens = MARKDOWN.parse(render(report, "markdown"))

    kinds = [token.type for token in tokens]
    assert (kinds.count("heading_open"), kinds.count("table_open")) == (5, 0)
    assert kinds.count("list_item_open") == 5 + 9 + 4
    assert not [token for token in tokens if token.type == "html_block"]
    inline = [child.type for token in tokens for child in token.children or []]
    assert "html_inline" not in inline
    assert "link_open" not in inline
