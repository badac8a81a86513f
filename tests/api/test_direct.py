"""The service in the settings of production, reached past its proxy: by scripts, probes and a real Alertmanager."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from golive.domain.changes import CHANGES
from golive.state import singletons
from tests.api.callers import ALERTMANAGER, bearer, make_token
from tests.run import find_server_program
from tests.support.changes import go_live, newest
from tests.support.patience import wait_until
from tests.support.served import server_environment
from tests.support.server import GunicornServer, find_free_port, request

pytestmark = pytest.mark.postgresql  # production takes no SQLite
ALERT = {"labels": {"alertname": "PaymentsFailing"}, "annotations": {"summary": "Half of all payments fail"}}


@pytest.fixture(scope="module")
def production(django_db_setup: None, django_db_blocker: Any) -> Iterator[GunicornServer]:
    with django_db_blocker.unblock():
        environment = server_environment()
    variables = {**environment, "APP_ENV": "production", "ALLOWED_HOSTS": "valhalla.example.com"}
    with GunicornServer(variables, workers=1) as server:
        yield server


def test_stop__as_curl_sends_it_from_inside__is_done_and_says_so(database: None, production: GunicornServer) -> None:
    go_live()

    answer = request("POST", production.url(CHANGES["engage"].path), headers=bearer(make_token("engage")))

    assert (answer.status, answer.json()["kill_switch_engaged"]) == (200, True)
    assert singletons.read_go_live().kill_switch_engaged


def test_release__from_inside__is_refused_in_words(database: None, production: GunicornServer) -> None:
    headers = {**bearer(make_token()), "Host": "valhalla.example.com", "Content-Type": "application/json"}

    answer = request("POST", production.url(CHANGES["release"].path), headers=headers, body='{"reason": "x"}')

    assert (answer.status, answer.json()["code"]) == (403, "TLS_REQUIRED")
    assert "Location" not in answer.headers


def test_readyz__by_address__is_ready(database: None, production: GunicornServer) -> None:
    assert request("GET", production.url("/readyz"), headers={"Host": "10.0.0.5:10000"}).status == 200


@pytest.mark.alertmanager
def test_alertmanager__that_reaches_the_service_directly__stops_it(database: None, production: GunicornServer) -> None:
    go_live()

    with _running_alertmanager(production.url("//" + ALERTMANAGER.lstrip("/")), make_token("engage")) as url:
        request("POST", f"{url}/api/v2/alerts", headers={"Content-Type": "application/json"}, body=json.dumps([ALERT]))
        wait_until(lambda: singletons.read_go_live().kill_switch_engaged, seconds=60)

    assert (newest().reason, newest().actor) == ("Half of all payments fail", "token:bot")


@contextmanager
def _running_alertmanager(hook: str, token: str) -> Iterator[str]:
    """Its own address, with one receiver: the hook."""
    url = f"http://127.0.0.1:{find_free_port()}"
    with tempfile.TemporaryDirectory(prefix="valhalla-alertmanager-") as name:
        folder = Path(name)
        (folder / "token").write_text(token)
        (folder / "config.yml").write_text(
            "route: {receiver: valhalla, group_wait: 0s}\n"
            "receivers:\n"
            "- name: valhalla\n"
            "  webhook_configs:\n"
            f"  - url: {hook}\n"
            f"    http_config: {{authorization: {{credentials_file: {folder / 'token'}}}}}\n"
        )
        command = [
            find_server_program("prometheus-alertmanager") or "prometheus-alertmanager",
            f"--config.file={folder / 'config.yml'}",
            f"--storage.path={folder}",
            f"--web.listen-address={url.removeprefix('http://')}",
            "--cluster.listen-address=",
        ]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            wait_until(lambda: _is_ready(url), seconds=60)
            yield url
        finally:
            process.terminate()
            process.wait(30)


def _is_ready(url: str) -> bool:
    with suppress(OSError):
        return request("GET", f"{url}/-/ready").status == 200
    return False
