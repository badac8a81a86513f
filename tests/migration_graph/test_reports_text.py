"""The forms that people read: text and Markdown."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from golive.migration_graph.model import Action, Commit, Cut, Edge, Edit, Severity
from golive.migration_graph.reports import render
from golive.migration_graph.reports.markdown import escape, quote
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
        ("markdown", "| **What to do** | Run `alembic merge a b`. |"),
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
        ("markdown", "Last sound: 2026-01-12, commit `9e107d9d372b` (`Fix the migration chain`) by ann."),
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
    report = replace(make_sound(), episodes=(), history_note="The clone is shallow.", pending=("r001", "r002"))

    text = render(report, "text")

    assert "history: The clone is shallow." in text
    assert "An upgrade would run, in this order: r001, r002" in text


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


def test_markdown__incident__says_what_since_when_and_what_to_do() -> None:
    text = render(make_incident(), "markdown")

    assert "# Migration audit: not sound: 1 error, 1 warning" in text
    assert "| **What is affected** | 115 migrations cannot be put in order" in text
    assert "| **Since when** | 2026-01-12, commit `9e107d9d372b` (`Fix the migration chain`) by ann |" in text
    assert "| **What to do** | In `versions/r000.py:14`, put back `None` in place of `'r107'`. |" in text


def test_markdown__tie__asks_people() -> None:
    assert "Ask who knows which of 3 edits is wrong" in render(make_tie(), "markdown")


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
def test_markdown__hostile_names__break_out_of_no_cell(hostile: str) -> None:
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

    cells = [token.type for token in tokens if token.type in ("tr_open", "th_open", "td_open")]
    assert cells == ["tr_open", "th_open", "th_open", *["tr_open", "td_open", "td_open"] * 6]
    # A parser drops cells that are too many, so the last ones must still say all.
    last = [token for token in tokens if token.type == "inline"][1 + 2 + 2 * 6]
    assert "".join(child.content for child in last.children or []) == make_visible(" ".join(hostile.split("\n")))
    assert not [token for token in tokens if token.type == "html_block"]
    inline = [child.type for token in tokens for child in token.children or []]
    assert "html_inline" not in inline
    assert "link_open" not in inline
