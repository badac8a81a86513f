"""One control plane, and each proxy once for a module, with the sites that SITES of the module has for it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.api.service import SHORT_LEASE_MS, Service, running_service
from tests.proxies.programs import PROGRAMS
from tests.proxies.site import Site, running_site


@pytest.fixture(scope="session")
def plane() -> Iterator[Service]:
    with running_service() as running:
        running.manage("golive", "lease", SHORT_LEASE_MS)
        yield running


@pytest.fixture(scope="module", params=PROGRAMS)
def running(request: pytest.FixtureRequest, plane: Service) -> Iterator[Site]:
    with running_site(request.param, plane, getattr(request.module, "SITES", {}).get(request.param)) as site:
        yield site


@pytest.fixture
def site(running: Site) -> Site:
    """Execution is allowed, and nothing has reached the application."""
    running.allow()
    return running
