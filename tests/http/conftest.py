"""Fixtures for tests with Django's test client: the whole stack of middleware and the real database, no socket."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client

from tests.http.console_pages import BROWSER, snapshot
from tests.support.accounts import RELEASE_MANAGERS, make_user, sign_in


@pytest.fixture
def client(database: None) -> Client:
    """Nobody in particular. Hands back the answer to an exception, as a server does."""
    return Client(raise_request_exception=False)


@pytest.fixture
def reader(django_db_setup: None, django_db_blocker: Any) -> Iterator[Client]:
    """As `client`, for tests that change nothing, which is held here: so nothing has to be reset after them."""
    with django_db_blocker.unblock():
        before = snapshot()
        yield Client(raise_request_exception=False)
        assert snapshot() == before


@pytest.fixture
def manager(database: None) -> Client:
    """The browser of a release manager, who may do all but override."""
    return sign_in(make_user(groups=[RELEASE_MANAGERS]), headers={"Accept": BROWSER})


@pytest.fixture
def root(database: None) -> Client:
    """The browser of somebody who may do everything there is: what is refused to them is refused to all."""
    return sign_in(make_user("root", is_superuser=True), headers={"Accept": BROWSER})
