"""Fixtures for the API: a client that holds every answer against the OpenAPI document."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.api.callers import DocumentedClient, make_client


@pytest.fixture(autouse=True)
def forgetful_throttle() -> Iterator[None]:
    """No test inherits the bad credentials of another."""
    from golive.identity import throttle

    throttle.forget_all()
    yield
    throttle.forget_all()


@pytest.fixture
def client(database: None) -> DocumentedClient:
    """Nobody in particular; enforces CSRF, as a server does."""
    return make_client()
