"""A project with the middleware: what runs and what does not, seen from outside and by what was done."""

from __future__ import annotations

import http.client
import json
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest

from tests.api.service import Service, running_service
from tests.enforced.urls import BACKOFFICE, EXEMPT, GUARDED
from tests.enforced.views import CHUNKS
from tests.enforcement.conftest import Shop, running_shop
from tests.support.faults import Proxy
from tests.support.patience import SLACK, wait_until
from tests.support.server import Response, request

# The database of production is enough: nothing here depends on its kind.
pytestmark = pytest.mark.postgresql

BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
PATHS = [f"/{pattern.pattern}" for pattern in GUARDED] + ["/shop/pay"]
PATHS = [path.replace("<path:path>", "views.py") for path in PATHS]
PATHS += [*(f"/backoffice/{path.pattern}" for path in BACKOFFICE), "/extended/pay/"]
FAST_PATHS = [path for path in PATHS if path not in ("/pay/fail", "/pay/streaming")]
EXEMPT_PATHS = [f"/{pattern.pattern}" for pattern in EXEMPT[:-1]]


def assert_denied(answer: Response, code: str = "KILL_SWITCH_ENGAGED") -> None:
    told = answer.json()
    assert answer.status == told["status"] == 503
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["Retry-After"] == "1"
    assert answer.headers["Cache-Control"] == "no-store"
    assert told["error"] == told["code"] == code
    assert told["execution_allowed"] is False
    assert told["request_id"] == answer.headers["X-Request-ID"]


# -- what is guarded ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PATHS)
def test_view__guarded_and_stopped__does_not_run(shop: Shop, path: str) -> None:
    answer = shop.ask("GET", path)

    assert_denied(answer)
    assert answer.json()["instance"] == path
    assert shop.deeds() == []


@pytest.mark.parametrize("path", FAST_PATHS)
def test_view__guarded_and_allowed__runs(shop: Shop, path: str) -> None:
    shop.allow()

    assert shop.ask("GET", path).status == 200
    assert len(shop.deeds()) == 1


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"])
def test_view__guarded_and_stopped__runs_for_no_method(shop: Shop, method: str) -> None:
    answer = shop.ask(method, "/pay", body=b"x" * 70_000 if method in ("POST", "PUT") else None)

    assert answer.status == 503
    assert (answer.body == b"") == (method == "HEAD")
    assert shop.deeds() == []


@pytest.mark.parametrize(
    ("name", "code"), [("engage", "KILL_SWITCH_ENGAGED"), ("disable", "GO_LIVE_DISABLED"), ("reopen", None)]
)
def test_stop__acknowledged__holds_for_every_request_sent_after_it(shop: Shop, name: str, code: str | None) -> None:
    for _ in range(3):
        shop.allow()
        with ThreadPoolExecutor(6) as pool:
            assert {answer.status for answer in pool.map(lambda _: shop.ask("POST", "/pay"), range(12))} == {200}
            shop.stop(name)
            for answer in pool.map(lambda _: shop.ask("POST", "/pay"), range(30)):
                assert_denied(answer, code or "KILL_SWITCH_ENGAGED")
        assert shop.deeds() == []


def test_view__that_raises__is_an_error_and_the_next_request_works(shop: Shop) -> None:
    shop.allow()

    assert [shop.ask("GET", path).status for path in ("/pay/fail", "/pay", "/pay/fail", "/pay")] == [500, 200, 500, 200]


def test_view__that_asks_by_itself__is_denied_alike(shop: Shop) -> None:
    denied = shop.ask("GET", "/permitted/pay")
    deeds_while_stopped = shop.deeds()
    shop.allow()
    allowed = shop.ask("GET", "/permitted/pay")

    assert_denied(denied)
    assert deeds_while_stopped == []
    assert (allowed.status, shop.deeds()) == (200, ["pay_if_permitted"])


def test_stream__begun_before_the_stop__ends_and_no_other_begins(shop: Shop) -> None:
    shop.allow()
    connection = http.client.HTTPConnection("127.0.0.1", shop.server.port, timeout=60)
    connection.request("GET", "/pay/streaming")
    answer = connection.getresponse()
    assert answer.read(6) == b"chunk\n"

    shop.stop()

    assert_denied(shop.ask("GET", "/pay/streaming"))
    assert answer.read() == b"chunk\n" * (CHUNKS - 1)
    connection.close()


# -- what is exempt ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", EXEMPT_PATHS)
def test_view__exempt_and_stopped__runs(shop: Shop, path: str) -> None:
    assert shop.ask("GET", path).status == 200
    assert len(shop.deeds()) == 1


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/control/api/status", 200),
        ("/control/api/governance/go-live/state", 200),
        ("/control/api/nothing", 404),
        ("/control/readyz", 200),
        ("/control/", 200),
        ("/control/api/docs", 200),
        ("/room/login/", 200),
        ("/room/", 302),
        ("/room/jsi18n/", 302),
        ("/room/golive/golivestate/", 302),
        ("/room/no/such/page", 302),
        ("/room/logout/", 302),
        ("/second/login/", 200),
        ("/second/report/", 302),
        ("/extended/login/", 200),
        ("/static/golive/status.css", 200),
        ("/files/views.py", 200),
        ("/nothing", 404),
        ("/pay/nothing", 404),
    ],
)
def test_path__of_the_app_the_admin_and_files__is_answered_while_stopped(shop: Shop, path: str, status: int) -> None:
    assert shop.ask("GET", path).status == status


def test_control__works_through_the_guarded_project_while_stopped(shop: Shop) -> None:
    """Toward live too: the way out must not be locked."""
    shop.allow()
    shop.stop()
    answer = shop.ask(
        "POST",
        "/control/api/governance/go-live/kill-switch/release",
        {"Authorization": f"Bearer {shop.plane.token()}", "Content-Type": "application/json"},
        # As little as a project can have: it is not fit for production, and does not say where its files are.
        json.dumps({"reason": "ready", "override": ["environment", "migration_graph"]}).encode(),
    )

    assert answer.status == 200, answer.json()
    assert answer.json()["kill_switch_engaged"] is False


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(["golive", "status", "--json"], 1), (["golive", "engage"], 0), (["audit_migrations", "--format", "json"], 0)],
    ids=["status", "engage", "audit"],
)
def test_command__of_the_guarded_project__needs_no_setting_of_valhalla(
    shop: Shop, arguments: list[str], code: int
) -> None:
    done = shop.manage(*arguments)

    assert (done.returncode, done.stderr) == (code, "")


def test_preflight__while_stopped__is_answered_and_runs_nothing(shop: Shop) -> None:
    asked = {"Access-Control-Request-Method": "POST"}

    known = shop.ask("OPTIONS", "/pay", {**asked, "Origin": "https://shop.example.com"})
    bare = shop.ask("OPTIONS", "/pay", asked)

    assert (known.status, known.headers["Access-Control-Allow-Origin"]) == (200, "https://shop.example.com")
    assert bare.status < 300
    assert shop.deeds() == []


def test_denial__of_a_known_origin__can_be_read_by_its_page(shop: Shop) -> None:
    answer = shop.ask("GET", "/pay", {"Origin": "https://shop.example.com"})

    assert_denied(answer)
    assert answer.headers["Access-Control-Allow-Origin"] == "https://shop.example.com"


# -- pages -------------------------------------------------------------------------------------------------------------


def test_denial__for_a_browser__is_a_page(shop: Shop) -> None:
    answer = shop.ask("GET", "/pay", BROWSER)

    assert (answer.status, answer.headers["Content-Type"]) == (503, "text/html; charset=utf-8")
    assert answer.headers["Retry-After"] == "1"
    assert "Accept" in answer.headers["Vary"]
    assert "KILL_SWITCH_ENGAGED" in answer.text
    assert answer.headers["X-Request-ID"] in answer.text
    assert not re.search(r"<script|<style|\sstyle=|\son[a-z]+=", answer.text)
    # Not even what the project's own pages do.
    assert shop.deeds() == []


def test_denial__for_a_browser_under_a_path_of_programs__is_json(shop: Shop) -> None:
    assert_denied(shop.ask("GET", "/api/status/pay", BROWSER))


# -- the switch --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variables", "status"),
    [
        ({"ENFORCED": "false"}, 200),
        ({"ENFORCED_APP_ENV": "development"}, 200),
        ({"ENFORCED_APP_ENV": "production"}, 503),
        ({"ENFORCED_APP_ENV": "development", "ENFORCED": "true"}, 503),
    ],
)
def test_setting__decides_whether_it_enforces(shop: Shop, variables: dict[str, str], status: int) -> None:
    with running_shop(shop.plane, **variables) as other:
        assert other.ask("GET", "/pay").status == status


@pytest.fixture(scope="module")
def plane_of_valhalla() -> Iterator[Service]:
    with running_service(workers=1, GO_LIVE_ENFORCE="true") as running:
        yield running


@pytest.mark.parametrize(
    ("path", "status"),
    [("/admin", 302), ("/admin/", 302), ("/", 200), ("/api/status", 200), ("/readyz", 200), ("/nothing", 404)],
)
def test_valhalla__enforcing_itself__keeps_all_its_own_views(
    plane_of_valhalla: Service, path: str, status: int
) -> None:
    assert request("GET", plane_of_valhalla.server.url(path)).status == status


# -- the database goes away --------------------------------------------------------------------------------------------


def test_database__that_hangs__is_a_denial_in_time_and_the_exempt_go_on(shop: Shop) -> None:
    """A guarded project of its own, whose way to the database can be cut."""
    shop.allow()
    parts = urlsplit(shop.plane.environment["DATABASE_URL"])
    line = Proxy(parts.hostname or "127.0.0.1", parts.port or 5432)
    address = parts._replace(netloc=f"{parts.netloc.rpartition('@')[0]}@127.0.0.1:{line.port}").geturl()
    try:
        with running_shop(shop.plane, database_url=address) as other:
            assert other.ask("GET", "/pay").status == 200
            line.freeze()
            time.sleep(0.1)
            with ThreadPoolExecutor(16) as pool:
                answers = list(pool.map(lambda _: other.ask("POST", "/pay"), range(16)))
                pages = list(pool.map(lambda _: other.ask("GET", "/pay", BROWSER), range(2)))
            for answer in answers:
                assert_denied(answer, "STATE_UNKNOWN")
            assert {page.status for page in pages} == {503}
            assert max(answer.seconds for answer in (*answers, *pages)) < SLACK * 3
            assert other.ask("GET", "/alive").status == 200
            line.thaw()
            wait_until(lambda: other.ask("GET", "/pay").status == 200, seconds=3)
    finally:
        line.close()
