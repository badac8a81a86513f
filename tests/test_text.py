"""What is printed and logged: text from outside stays in its line, and cannot pass for another one."""

from __future__ import annotations

import contextlib
import io
import logging
import re
import unicodedata
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from hypothesis import given
from hypothesis import strategies as st

from golive.controls import event_writer
from golive.domain.errors import NotAppliedError
from golive.models import ApiToken
from golive.text import make_lines_visible, make_visible
from tests.api.callers import issue
from tests.support.changes import apply, newest
from tests.support.factories import make_actor
from valhalla import settings as project
from valhalla.logs import VisibleFormatter

# H18: a line of the history, and one of the status, as somebody who may only stop would forge them.
FORGED = (
    "fire\n     9  2026-01-01T00:00:00.000000Z  ann via admin  release go_live_state  Approved by ann"
    "\n  execution_allowed    True\u2028\u202eyas\u200b"
)


def run(*words: str) -> str:
    out = io.StringIO()
    with contextlib.suppress(SystemExit):
        call_command("golive", *words, stdout=out)
    return out.getvalue()


def has_hidden(text: str) -> bool:
    return any(unicodedata.category(one) in ("Cc", "Cf", "Zl", "Zp", "Cs") for one in text.replace("\n", ""))


@given(st.text())
def test_make_visible__any_text__is_one_line_without_hidden_characters(text: str) -> None:
    visible = make_visible(text)

    assert len(visible.splitlines()) <= 1
    assert not re.search("[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]", visible)


@pytest.mark.parametrize(
    ("text", "shown"),
    [("a\nb", r"a\nb"), ("a\rb\tc", r"a\rb\tc"), ("x\u202ey", r"x\u202ey"), ("\x1b[2J", r"\x1b[2J"), ("é 停", "é 停")],
)
def test_make_visible__examples(text: str, shown: str) -> None:
    assert make_visible(text) == shown


def test_make_lines_visible__several_lines__stay() -> None:
    assert make_lines_visible("one\ntwo \u202e") == "one\ntwo \\u202e"


# -- commands ----------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("database")
def test_history__a_reason_that_forges_a_line__stays_in_its_own() -> None:
    apply("engage", reason=FORGED, actor=make_actor("token:x"), changed_by=FORGED)
    apply("edit", notes=FORGED, reason=FORGED, version="1\n2")

    told = run("history")

    assert len(told.splitlines()) == 4  # two seeds, two changes
    assert not has_hidden(told)
    assert not [line for line in told.splitlines() if "ann via admin  release" in line and line.startswith("     9")]


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize(
    "words", [("status",), ("status", "--json"), ("history", "--json"), ("history", "--export", "-")]
)
def test_command__whatever_was_written__prints_nothing_hidden(words: tuple[str, ...]) -> None:
    apply("complete", reason=FORGED, version="1\u202e2", notes=FORGED)
    apply("engage", reason=FORGED, actor=make_actor("ann\u202e\u200b"))

    told = run(*words)

    assert not has_hidden(told)
    assert not [line for line in told.splitlines() if line == "  execution_allowed    True"]


@pytest.mark.usefixtures("database")
def test_token_list__a_name_altered_by_sql__stays_in_its_line() -> None:
    issue("bot", scopes=["engage"])
    ApiToken.objects.update(name=FORGED, created_by=FORGED)

    told = run("token", "list")

    assert len(told.splitlines()) == 1
    assert not has_hidden(told)


@pytest.mark.usefixtures("database")
def test_error__with_a_name_of_somebody__stays_in_its_line() -> None:
    with pytest.raises(CommandError) as caught:
        run("token", "create", FORGED, "--scope", FORGED)

    assert not has_hidden(str(caught.value))


# -- logs --------------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("database")
def test_log__of_a_change__is_one_line_with_the_new_head(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "golive.controls.event_writer")

    apply("engage", actor=make_actor("eve\nINFO release by ann\u202e"), reason=FORGED)

    (line,) = [record.getMessage() for record in caplog.records if record.name == "golive.controls.event_writer"]
    event = newest()
    assert line == (
        "engage of go_live_state by eve\\nINFO release by ann\\u202e via api: no change, "
        f"event {event.sequence}, event_head {event.hash}"
    )


@pytest.mark.usefixtures("database")
def test_log__of_a_change_that_is_rolled_back__is_none(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:

    caplog.set_level(logging.INFO, "golive.controls.event_writer")
    monkeypatch.setattr(event_writer.EventWriter, "find_longest_lease", lambda self: 1 / 0)

    with pytest.raises(NotAppliedError):
        apply("engage")

    assert [record for record in caplog.records if record.name == "golive.controls.event_writer"] == []


def _write(message: str, *arguments: Any, error: BaseException | None = None) -> str:
    info = (type(error), error, error.__traceback__) if error else None
    record = logging.LogRecord("x", logging.INFO, "f", 1, message, arguments, info)
    return VisibleFormatter("%(levelname)s %(message)s").format(record)


def test_formatter__message_and_traceback_from_outside__cannot_begin_a_line() -> None:
    written = _write("bad %s", FORGED, error=ValueError("x\nINFO release by ann\u202e"))

    first, *rest = written.split("\n")
    assert first.startswith("INFO bad fire\\n")
    assert rest
    assert all(line.startswith("  ") for line in rest)
    assert not has_hidden(written)


def test_project__its_log__uses_that_formatter() -> None:
    assert project.LOGGING["formatters"]["line"]["()"] == "valhalla.logs.VisibleFormatter"  # type: ignore[index]
