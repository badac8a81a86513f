"""The operator's room as tests use it: where its pages are, who may come in, and how it looks when nothing happened."""

from __future__ import annotations

import html
import re
from typing import Any

from django.db import connection
from django.test import Client

from golive.domain.changes import CHANGES, Change
from golive.domain.rows import GO_LIVE_STATE
from tests.support.changes import go_live, make_change

CONTROL, SYSTEM, EVENTS = "/admin/golive/golivestate/", "/admin/golive/systemmetadata/", "/admin/golive/event/"
LOGIN = "/admin/login/"
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
NAMES = tuple(CHANGES)
FIELDS = {"complete": {"version": "2.4.0"}, "edit": {"version": "2.4.0"}}


def page_of(change: Change) -> str:
    return CONTROL if change.subject == GO_LIVE_STATE else SYSTEM


def apply_url(name: str) -> str:
    return f"{page_of(CHANGES[name])}apply/{name}/"


def ask(client: Client, name: str, **fields: str) -> Any:
    """Send the dialog of a change, as a browser does; the answer, not what it redirects to."""
    return client.post(apply_url(name), {"reason": "It is time.", **FIELDS.get(name, {}), **fields})


def follow(client: Client, response: Any) -> str:
    """The page to which an answer sends the browser on."""
    assert response.status_code == 302
    page: str = client.get(response["Location"]).content.decode()
    return page


def prepare(name: str) -> None:
    """A state in which the change changes something and, if it is guarded, the checklist holds."""
    if name in ("engage", "disable"):
        go_live()
    elif name in ("release", "enable", "reopen"):
        make_change("complete")


def snapshot() -> dict[str, list[Any]]:
    """All that a change could have changed, down to the last column."""
    found = {}
    for table, order in (("go_live_state", "id"), ("system_metadata", "id"), ("golive_event", "sequence")):
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT * FROM {table} ORDER BY {order}")
            found[table] = cursor.fetchall()
    return found


def newest_event() -> dict[str, Any]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM golive_event ORDER BY sequence DESC LIMIT 1")
        columns = [column[0] for column in cursor.description]
        return dict(zip(columns, cursor.fetchone(), strict=True))


def messages_in(page: str) -> list[str]:
    """What Django's messages tell at the top of a page."""
    found = re.search(r'<ul class="messagelist">(.*?)</ul>', page, re.DOTALL)
    items = re.findall(r"<li[^>]*>(.*?)</li>", found[1], re.DOTALL) if found else []
    return [html.unescape(item).strip() for item in items]


def dialog_in(page: str, name: str) -> str:
    """The HTML of one dialog, empty if it is not there."""
    found = re.search(rf'<dialog id="dialog-{name}".*?</dialog>', page, re.DOTALL)
    return found[0] if found else ""


def is_open(page: str, name: str) -> bool:
    return bool(re.match(r"<dialog [^>]*\sopen>", dialog_in(page, name)))


def typed_in(page: str, name: str, field: str = "reason") -> str:
    """What stands in a field of a dialog, as the browser will show it (it drops the first line break)."""
    dialog = dialog_in(page, name)
    area = re.search(rf'<textarea [^>]*name="{field}"[^>]*>(.*?)</textarea>', dialog, re.DOTALL)
    if area:
        return html.unescape(area[1]).removeprefix("\n")
    value = re.search(rf'<input [^>]*name="{field}"[^>]*value="([^"]*)"', dialog)
    return html.unescape(value[1]) if value else ""
