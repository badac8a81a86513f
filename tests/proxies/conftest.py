"""One control plane, and each proxy once for a module, with the sites that the module names in SITES."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.api.service import SHORT_LEASE_MS, Service, running_service
from tests.proxies.backend import Backend, SignIn
from tests.proxies.programs import PROGRAMS, Behind
from tests.proxies.site import Site


@pytest.fixture(scope="session")
def plane() -> Iterator[Service]:
    with running_service() as running:
        running.manage("golive", "lease", SHORT_LEASE_MS)
        yield running


@pytest.fixture(scope="module", params=PROGRAMS)
def running(request: pytest.FixtureRequest, plane: Service) -> Iterator[Site]:
    sites = getattr(request.module, "SITES", {}).get(request.param, {})
    with Backend() as backend, SignIn() as sign_in:
        behind = Behind(plane.server.port, backend.port, sign_in.port)
        with PROGRAMS[request.param](behind, sites) as ports:
            yield Site(request.param, ports, backend, plane)


@pytest.fixture
def site(running: Site) -> Site:
    """Execution is allowed, and nothing has reached the application."""
    running.allow()
    return running
