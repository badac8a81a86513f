"""The pages for people: what `/` answers to whom, what browsers are told to refuse, and what no answer may hold."""

from __future__ import annotations

import os
import re
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.db import OperationalError, connection
from django.test import Client

from golive.domain.errors import StateUnknownError
from golive.state import singletons
from tests.http import endpoints
from tests.http.console_pages import BROWSER
from tests.support.accounts import make_user, sign_in
from tests.support.changes import go_live, make_change

MARKUP = '<script>alert("x")</script><img src=x onerror=alert(1)> \' " & </textarea></dialog>'

PUBLIC_PAGES = ("/", "/nothing", "/admin/login/")
ROOMS = (
    "/admin/",
    "/admin/golive/",
    "/admin/golive/golivestate/",
    "/admin/golive/golivestate/?change=enable",
    "/admin/golive/systemmetadata/",
    "/admin/golive/systemmetadata/?change=edit",
    "/admin/golive/event/",
    "/admin/golive/event/?q=nobody",
    "/admin/golive/event/1/change/",
    "/admin/golive/event/5/change/",
    "/admin/password_change/",
)


@pytest.fixture
def browser(database: None) -> Client:
    """The browser of somebody who may do everything, where much has happened."""
    go_live()
    make_change("engage", reason=MARKUP, actor=MARKUP)
    return sign_in(make_user("root", is_superuser=True), headers={"Accept": BROWSER})


@pytest.fixture
def pages(browser: Client) -> dict[str, Any]:
    """The answer of every page there is, by its path."""
    found: dict[str, Any] = {path: browser.get(path) for path in ROOMS}
    stranger = Client(raise_request_exception=False, headers={"Accept": BROWSER})
    return found | {path: stranger.get(path) for path in PUBLIC_PAGES}


# -- the public page ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("accept", ["application/json", "application/json;q=1, text/html;q=0.1", "application/*"])
def test_root__for_a_program__is_json(reader: Client, accept: str) -> None:
    response = reader.get("/", headers={"Accept": accept})

    assert response.json() == {"ok": True, "service": "valhalla"}
    assert response["Content-Type"] == "application/json"
    assert "accept" in response["Vary"].lower()


@pytest.mark.parametrize("accept", [BROWSER, "*/*", "text/html", "text/*", "", "image/png", "nonsense"])
def test_root__for_anybody_else__is_the_page(reader: Client, accept: str) -> None:
    response = reader.get("/", headers={"Accept": accept})

    assert response["Content-Type"].startswith("text/html")
    assert "KILL_SWITCH_ENGAGED" in response.content.decode()
    assert "accept" in response["Vary"].lower()


def test_root__no_accept_header__is_the_page(reader: Client) -> None:
    assert reader.get("/")["Content-Type"].startswith("text/html")


def test_status_page__is_kept_by_nobody(reader: Client) -> None:
    assert reader.get("/")["Cache-Control"] == "no-store"


def test_status_page__as_changes_are_made__tells_the_decision(client: Client) -> None:
    seen = [re.findall(r'data-code="(\w+)"', client.get("/").content.decode())]
    for name in ("complete", "release", "enable", "engage"):
        make_change(name)
        seen.append(re.findall(r'data-code="(\w+)"', client.get("/").content.decode()))

    assert seen == [
        ["KILL_SWITCH_ENGAGED"],
        ["KILL_SWITCH_ENGAGED"],
        ["GO_LIVE_DISABLED"],
        ["ALLOWED"],
        ["KILL_SWITCH_ENGAGED"],
    ]


def test_status_page__contents__are_all_there(client: Client, settings: Any) -> None:
    settings.RELEASE = "0123456789abcdef"
    make_change("complete", version="2.4.0", notes="The queue is drained by hand.")
    make_change("release", reason="Tested twice.", actor="ann")

    page = client.get("/").content.decode()

    for text in ("2.4.0", "The queue is drained by hand.", "Tested twice.", "ann", "Released", "Disabled", "0123456"):
        assert text in page


# -- what browsers are told --------------------------------------------------------------------------------------------


def test_page__content_security_policy__is_strict(pages: dict[str, Any]) -> None:
    policies = {response["Content-Security-Policy"] for response in pages.values()}

    (policy,) = (dict(part.strip().split(" ", 1) for part in policy.split(";")) for policy in policies)
    assert policy["default-src"] == "'self'"
    assert policy["frame-ancestors"] == "'none'"
    assert policy["form-action"] == "'self'"
    assert policy["base-uri"] == "'none'"
    assert policy["object-src"] == "'none'"
    assert not {"script-src", "style-src"} & policy.keys()
    assert "unsafe" not in str(policy)


def test_page__has_nothing_inline_and_nothing_from_elsewhere(pages: dict[str, Any]) -> None:
    for path, response in pages.items():
        page = response.content.decode()
        inline = [
            *re.findall(r"<script(?![^>]*\bsrc=)[^>]*>", page),
            *re.findall(r"<style|javascript:", page),
            *re.findall(r"<[^>]*\s(?:style|on\w+)\s*=[^>]*>", page),
        ]
        elsewhere = re.findall(r'(?:src|href|action)="((?:https?:)?//[^"]*)"', page)
        assert (path, inline, elsewhere) == (path, [], [])


def test_answer__safe_headers__are_there(browser: Client, pages: dict[str, Any]) -> None:
    for path, response in (pages | {path: browser.get(path) for path in endpoints.READS}).items():
        assert (path, response["X-Content-Type-Options"]) == (path, "nosniff")
        assert (path, response["X-Frame-Options"]) == (path, "DENY")
        assert (path, response["Referrer-Policy"]) == (path, "same-origin")
        assert response["Content-Type"]


def test_room__with_something_to_hide__is_kept_by_nobody(pages: dict[str, Any]) -> None:
    for path in ROOMS:
        if path != "/admin/password_change/":
            assert "no-store" in pages[path]["Cache-Control"]


@pytest.mark.parametrize(
    "name",
    [
        *(f"golive/{name}" for name in ("palette.css", "status.css", "status.js", "admin.css", "admin.js")),
        "valhalla/admin.css",
    ],
)
def test_static_file__is_served_in_its_type(reader: Client, name: str) -> None:
    response = reader.get(f"/static/{name}")
    content = b"".join(response.streaming_content)  # type: ignore[attr-defined]
    response.close()

    assert response.status_code == 200
    assert response["Content-Type"].startswith("text/css" if name.endswith("css") else "text/javascript")
    assert content


def test_page__language_title_and_viewport__are_there(pages: dict[str, Any]) -> None:
    for response in pages.values():
        page = response.content.decode()
        assert '<html lang="en' in page
        assert re.search(r"<title>\s*\S[^<]*</title>", page)
        assert 'name="viewport"' in page
        assert len(re.findall(r"<h1\b", page)) <= 1


def test_room__in_this_project__has_its_titles_and_its_look(pages: dict[str, Any]) -> None:
    """The project's, not the app's: tests/package has the app in another one."""
    for path in (*ROOMS, "/admin/login/"):
        page = pages[path].content.decode()
        assert (path, "Valhalla go-live" in page, "valhalla/admin.css" in page) == (path, True, True)
    index = pages["/admin/"].content.decode()
    assert re.search(r"<h1>\s*Controls", index)
    assert index.index('id="golive-golivestate"') < index.index('id="auth-group"')


# -- what no answer may hold -------------------------------------------------------------------------------------------


def test_page__markup_in_what_people_wrote__is_escaped(pages: dict[str, Any]) -> None:
    shown = 0
    for path, response in pages.items():
        page = response.content.decode()
        shown += "&lt;script&gt;alert(" in page
        for markup in ("<script>alert", "<img src=x", "</textarea></dialog>"):
            assert (path, markup in page) == (path, False)
    assert shown >= 3


def _secrets() -> list[str]:
    found = [django_settings.SECRET_KEY, os.environ["SECRET_KEY"], connection.settings_dict["PASSWORD"]]
    return [secret for secret in found if secret]


def test_answer__holds_no_secret(browser: Client, pages: dict[str, Any]) -> None:
    answers = pages | {path: browser.get(path) for path in (*endpoints.ALL, "/api/nothing", "/static/nothing")}
    for path, response in answers.items():
        text = f"{response.headers}{response.content!r}"
        assert (path, response.status_code < 500) == (path, True)
        assert (path, [secret for secret in _secrets() if secret in text]) == (path, [])


@pytest.mark.parametrize("accept", ["*/*", BROWSER])
@pytest.mark.parametrize("path", [endpoints.STATE, endpoints.STATUS, "/", "/admin/golive/golivestate/"])
@pytest.mark.parametrize("kind", [OperationalError, RuntimeError])
def test_error__whose_cause_holds_a_secret__does_not_tell(
    browser: Client, monkeypatch: pytest.MonkeyPatch, kind: type[Exception], path: str, accept: str
) -> None:
    secret = "postgresql://valhalla:hunter2@db.internal:5432/valhalla"

    def fail(*args: object, **kwargs: object) -> None:
        raise kind(secret, django_settings.SECRET_KEY)

    for name in ("read_go_live", "read_both", "read_rows", "read_system"):
        monkeypatch.setattr(singletons, name, fail)

    response = browser.get(path, headers={"Accept": accept})

    text = f"{response.headers}{response.content.decode()}"
    # The status page has an answer for not knowing; the API reads through the snapshot, for which all causes are one.
    unexpected = 500 if path.startswith("/admin/") else 503
    assert response.status_code == (200 if path == "/" else unexpected if kind is RuntimeError else 503)
    for part in ("hunter2", "db.internal", django_settings.SECRET_KEY, "Traceback", "RuntimeError", "settings.py"):
        assert part not in text


def test_unknown_state__whose_cause_holds_a_secret__does_not_tell(
    browser: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise StateUnknownError("The database does not answer.") from OperationalError("hunter2 at db.internal")

    for name in ("read_go_live", "read_both", "read_rows", "read_system"):
        monkeypatch.setattr(singletons, name, fail)

    for path in (endpoints.STATE, endpoints.STATUS, endpoints.RUNBOOK, "/", "/admin/golive/golivestate/"):
        text = browser.get(path).content.decode()
        assert (path, "hunter2" in text, "db.internal" in text) == (path, False, False)


def test_problem__every_error_of_the_api__has_an_explanation(browser: Client) -> None:
    answers = [
        browser.get("/api/nothing"),
        browser.post(endpoints.STATE),
        browser.get(endpoints.HISTORY, {"limit": "0"}),
    ]

    for answer in answers:
        assert len(answer.json()["detail"]) > 10
        assert answer.json()["title"] != answer.json()["detail"]
