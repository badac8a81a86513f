"""Who calls the API in tests, and how: programs with tokens, people with sessions."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from django.contrib.auth.models import User
from django.test import Client

from golive.controls import token_changes
from golive.domain.changes import ALL_PERMISSIONS, CHANGES, Actor, Channel
from golive.domain.scopes import SCOPES
from golive.models import ApiToken
from tests.api.contract import assert_documented

ALERTMANAGER = "/api/hooks/alertmanager"
ALL_SCOPES = tuple(SCOPES)
BAD_TOKEN = f"vgl_{'a' * 10}_{'b' * 43}"


class DocumentedClient(Client):
    """Django's test client, which holds every answer of the API against the document."""

    def request(self, **request: Any) -> Any:
        response = super().request(**request)
        path = str(request["PATH_INFO"])
        if not path.startswith("/admin"):
            assert_documented(request["REQUEST_METHOD"], path, response.status_code, response.headers, response.content)
        return response


def make_client(*, enforce_csrf: bool = True) -> DocumentedClient:
    return DocumentedClient(raise_request_exception=False, enforce_csrf_checks=enforce_csrf)


def make_token(*scopes: str, name: str = "bot") -> str:
    """A valid token with these scopes; none named: with all."""
    return issue(name, scopes=scopes or ALL_SCOPES)[1]


def issue(name: str, **options: Any) -> tuple[ApiToken, str]:
    """Make a token as somebody called `test` does at a shell."""
    actor = Actor("test", ALL_PERMISSIONS)
    return token_changes.make_token(name, **{"actor": actor, "channel": Channel.CLI, **options})


def revoke(name: str) -> ApiToken:
    return token_changes.revoke_token_named(name, actor=Actor("test", ALL_PERMISSIONS), channel=Channel.CLI)


def make_expired_token(*scopes: str) -> str:
    _, text = issue("late", scopes=scopes or ALL_SCOPES, expires_in=timedelta(days=1))
    ApiToken.objects.filter(name="late").update(expires_at=datetime.now(UTC))
    return text


def make_revoked_token(*scopes: str) -> str:
    text = make_token(*scopes, name="gone")
    revoke("gone")
    return text


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def sign_in(user: User, client: Client) -> str:
    """Sign somebody in; the CSRF token that their browser would send."""
    client.force_login(user)
    client.get("/admin/password_change/")
    return client.cookies["csrftoken"].value


def call(
    client: Client,
    name: str,
    fields: Any = None,
    *,
    token: str | None = None,
    content: bytes | None = None,
    content_type: str | None = "application/json",
    headers: dict[str, str] | None = None,
) -> Any:
    """Ask for a change of the table. `content` is sent as it is, else `fields` as JSON."""
    change = CHANGES[name]
    body = json.dumps({} if fields is None else fields).encode() if content is None else content
    shown = {**(bearer(token) if token else {}), **(headers or {})}
    return client.generic(change.method, change.path, data=body, content_type=content_type or "", headers=shown)
