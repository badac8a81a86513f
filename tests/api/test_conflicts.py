"""Two who want different things at one moment, over HTTP and for real."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.api.service import Service, running_service
from tests.support.server import Response

pytestmark = pytest.mark.slow

ROUNDS = 6


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with running_service() as running:
        assert running.call("complete", reason="Ready").status == 200
        yield running


def race(service: Service, *calls: tuple[str, dict[str, Any]]) -> list[Response]:
    """Make calls at once, each by a token of its own."""
    tokens = [service.token("read", name) for name, _ in calls]
    with ThreadPoolExecutor(len(calls)) as pool:
        futures = [
            pool.submit(service.call, name, token=token, **fields)
            for (name, fields), token in zip(calls, tokens, strict=True)
        ]
        return [future.result() for future in futures]


def make_live(service: Service) -> int:
    """Released and enabled; the revision."""
    for name in ("release", "enable"):
        assert service.call(name, reason="Ready").status == 200
    return int(service.state()["revision"])


def test_two_toward_live__on_one_revision__one_wins_and_the_other_hears_of_it(service: Service) -> None:
    for _ in range(ROUNDS):
        for name in ("engage", "disable"):
            service.call(name, reason="Anew")
        revision = service.state()["revision"]
        fields = {"reason": "Mine", "expected_revision": revision}

        answers = race(service, ("release", fields), ("enable", fields))

        assert sorted(answer.status for answer in answers) == [200, 412]
        lost = next(answer.json() for answer in answers if answer.status == 412)
        won = next(answer.json() for answer in answers if answer.status == 200)
        assert (lost["code"], lost["changed_by"]) == ("REVISION_MISMATCH", won["changed_by"])
        assert lost["current"]["revision"] == won["revision"] == revision + 1


def test_release_racing_engage__an_acknowledged_engage_stands(service: Service) -> None:
    """Whichever comes first: a release that says what it has seen never undoes a stop that it has not."""
    for _ in range(ROUNDS):
        revision = make_live(service)
        release = {"reason": "All good", "expected_revision": revision}

        stopped, released = race(service, ("engage", {"reason": "Fire"}), ("release", release))

        assert stopped.status == 200
        assert released.status in (200, 412)
        state = service.state()
        assert state["kill_switch_engaged"]
        assert not state["execution_allowed"]
