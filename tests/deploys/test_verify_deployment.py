"""`manage.py verify_deployment` against real services, sound and broken ones."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from golive.api.hooks import ALERT_PATH
from golive.api.openapi.document import make_document
from golive.deploys.client import send
from golive.deploys.endpoints import ENDPOINTS
from golive.domain.changes import CHANGES
from golive.domain.flags import SAFE_VALUES
from golive.gate import GATES
from tests.support.server import ROOT, GunicornServer, clean_environment

# The services have a SQLite file of their own, whatever database the other tests are on.
pytestmark = pytest.mark.sqlite_only

RELEASE = "0123456789abcdef"


@dataclass(frozen=True)
class Deployment:
    """A served database, and the environment in which commands meet the same one."""

    server: GunicornServer
    environment: dict[str, str]

    def manage(self, *arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env={**self.environment, **changes},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def verify(self, *arguments: str, **changes: str) -> tuple[int, dict[str, dict[str, object]]]:
        done = self.manage("verify_deployment", "--url", self.server.url(""), "--json", *arguments, **changes)
        assert "Traceback" not in done.stderr
        return done.returncode, {result["id"]: result for result in json.loads(done.stdout)["results"]}


def _variables(folder: Path) -> dict[str, str]:
    return {
        "APP_ENV": "development",
        "SECRET_KEY": "for-the-test-only-0123456789-0123456789",
        "DATABASE_URL": f"sqlite:///{folder / 'db.sqlite3'}",
        "RENDER_GIT_COMMIT": RELEASE,
    }


@pytest.fixture
def deployment(tmp_path: Path) -> Iterator[Deployment]:
    variables = _variables(tmp_path)
    environment = clean_environment(variables)
    subprocess.run([sys.executable, "manage.py", "migrate", "-v0"], cwd=ROOT, env=environment, check=True, timeout=120)
    with GunicornServer(variables, workers=1) as server:
        yield Deployment(server, environment)


def _failed(results: dict[str, dict[str, object]]) -> set[str]:
    return {name for name, result in results.items() if result["ok"] is False}


def test_verify_deployment__sound_service__all_well(deployment: Deployment) -> None:
    code, results = deployment.verify()
    assert (code, _failed(results)) == (0, set())
    assert {name for name, result in results.items() if result["ok"] is None} == {"engage-no-op"}
    assert results["release"]["ok"] is True
    assert all(result["latency_ms"] > 0 for name, result in results.items() if name.startswith("GET "))  # type: ignore[operator]


def test_verify_deployment__as_text__says_the_same(deployment: Deployment) -> None:
    done = deployment.manage("verify_deployment", "--url", deployment.server.url("/"))
    assert done.returncode == 0, done.stdout
    assert "ok    GET /health" in done.stdout
    assert "skip  engage-no-op" in done.stdout
    assert "0 failed" in done.stdout


def test_verify_deployment__with_a_token__engages_once_more_and_finds_it_recorded(
    deployment: Deployment, tmp_path: Path
) -> None:
    file = _make_token(deployment, tmp_path, "read", "engage")

    code, results = deployment.verify("--token-file", str(file))

    assert (code, _failed(results)) == (0, set())
    assert results["engage-no-op"]["ok"] is True
    assert "verify_deployment" in deployment.manage("golive", "history", "--limit", "1").stdout


def test_verify_deployment__names_every_path_of_the_app() -> None:
    asked = {endpoint.path.partition("?")[0] for endpoint in ENDPOINTS}
    gates = {f"/{gate}/" for gate in GATES}
    by_hand = {change.path for change in CHANGES.values() if change.name != "edit"} | {ALERT_PATH}
    routed = {path.replace("{key}", key) for path in make_document()["paths"] for key in SAFE_VALUES}

    assert asked >= {path for path in routed if path.strip("/") not in GATES} - by_hand
    assert asked >= gates


def _make_token(deployment: Deployment, folder: Path, *scopes: str) -> Path:
    arguments = [argument for scope in scopes for argument in ("--scope", scope)]
    told = deployment.manage("golive", "token", "create", "probe", *arguments).stdout
    file = folder / "token"
    file.write_text(next(word for word in told.split() if word.startswith("vgl_")))
    return file


def test_verify_deployment__token_that_is_not_taken__fails_and_is_shown_once(
    deployment: Deployment, tmp_path: Path
) -> None:
    file = _make_token(deployment, tmp_path, "read")
    deployment.manage("golive", "token", "revoke", "probe")

    code, results = deployment.verify("--token-file", str(file))

    assert (code, _failed(results)) == (1, {"token"})
    assert "unknown, expired or revoked" in str(results["token"]["detail"])
    # Of the ten a minute that the address has, so that a retry is judged alike.
    assert _execute(tmp_path, "SELECT failures FROM golive_credential_failure") == [(1,)]


def test_verify_deployment__other_database_and_a_token_that_is_not_taken__names_both(
    deployment: Deployment, tmp_path: Path
) -> None:
    file = _make_token(deployment, tmp_path, "read")
    deployment.manage("golive", "token", "revoke", "probe")
    other = {"DATABASE_URL": f"sqlite:///{tmp_path / 'other.sqlite3'}"}
    deployment.manage("migrate", "-v0", **other)
    deployment.manage("golive", "complete", "--reason", "test", **other)

    code, results = deployment.verify("--token-file", str(file), **other)

    assert (code, _failed(results)) == (1, {"token", "rows"})


def test_verify_deployment__reads_that_ask_for_credentials__are_compared_with_a_token_only(tmp_path: Path) -> None:
    variables = {**_variables(tmp_path), "GOLIVE_READ_TOKEN_REQUIRED": "true"}
    environment = clean_environment(variables)
    subprocess.run([sys.executable, "manage.py", "migrate", "-v0"], cwd=ROOT, env=environment, check=True, timeout=120)
    with GunicornServer(variables, workers=1) as server:
        deployment = Deployment(server, environment)
        without_code, without = deployment.verify()
        file = _make_token(deployment, tmp_path, "read")
        with_code, with_token = deployment.verify("--token-file", str(file))

    assert (without_code, _failed(without)) == (1, {"rows"})
    assert "give a token" in str(without["rows"]["detail"])
    assert (with_code, _failed(with_token)) == (1, {"engage-no-op"})  # whose scope the token has not


def test_verify_deployment__plain_http_of_a_production_service__is_one_failure(
    deployment: Deployment, tmp_path: Path
) -> None:
    variables = {
        "APP_ENV": "production",
        "SECRET_KEY": "for-the-test-only-0123456789-0123456789",
        "DATABASE_URL": "postgresql://nobody:nothing@127.0.0.1:1/none",
        "ALLOWED_HOSTS": "127.0.0.1",
    }
    with GunicornServer(variables, workers=1) as server:
        code, results = Deployment(server, deployment.environment).verify()

    assert (code, _failed(results)) == (1, {"address"})
    assert "give that address as --url" in str(results["address"]["detail"])


def test_verify_deployment__other_release__fails(deployment: Deployment) -> None:
    code, results = deployment.verify("--release", "something-else")
    assert (code, _failed(results)) == (1, {"release"})


def test_verify_deployment__other_database__fails(deployment: Deployment, tmp_path: Path) -> None:
    other = {"DATABASE_URL": f"sqlite:///{tmp_path / 'other.sqlite3'}"}
    deployment.manage("migrate", "-v0", **other)
    deployment.manage("golive", "complete", "--reason", "test", **other)
    code, results = deployment.verify(**other)
    assert (code, _failed(results)) == (1, {"rows"})


def test_verify_deployment__nothing_listens__fails_without_a_traceback(deployment: Deployment) -> None:
    deployment.server.stop()
    code, results = deployment.verify()
    assert code == 1
    assert _failed(results) == {"address"}
    assert set(results) == {"address", "schema", "events"}


def test_verify_deployment__row_changed_by_sql__names_it(deployment: Deployment, tmp_path: Path) -> None:
    _execute(tmp_path, "UPDATE go_live_state SET lease_ms = 1")
    code, results = deployment.verify()
    assert (code, _failed(results)) == (1, {"events"})
    assert "lease_ms" in str(results["events"]["detail"])


def test_verify_deployment__trigger_missing__names_it(deployment: Deployment, tmp_path: Path) -> None:
    _execute(tmp_path, 'DROP TRIGGER "golive_event_no_DELETE"')
    code, results = deployment.verify()
    assert (code, _failed(results)) == (1, {"schema", "events"})
    assert "golive_event_no_DELETE" in str(results["schema"]["detail"])


def test_verify_deployment__table_missing__fails_without_a_traceback(deployment: Deployment, tmp_path: Path) -> None:
    _execute(tmp_path, "ALTER TABLE go_live_state RENAME TO elsewhere")
    code, results = deployment.verify()
    assert code == 1
    assert {"schema", "events", "rows", "GET /readyz", "GET /api/status", "GET /gate/"} <= _failed(results)


@pytest.mark.parametrize("url", ["valhalla.example.com", "ftp://example.com", ""])
def test_verify_deployment__not_a_url__wrong_usage(deployment: Deployment, url: str) -> None:
    done = deployment.manage("verify_deployment", "--url", url)
    assert done.returncode == 2
    assert "--url must begin with" in done.stderr


def test_verify_deployment__token_file_missing__wrong_usage(deployment: Deployment, tmp_path: Path) -> None:
    done = deployment.manage("verify_deployment", "--url", "http://x.example", "--token-file", str(tmp_path / "none"))
    assert done.returncode == 2
    assert "cannot be read" in done.stderr


def test_send__nothing_listens__is_an_answer_with_an_error() -> None:
    answer = send("http://127.0.0.1:1/", timeout_seconds=2)
    assert (answer.status, bool(answer.error)) == (0, True)


def _execute(folder: Path, statement: str) -> list[Any]:
    with sqlite3.connect(os.fspath(folder / "db.sqlite3")) as connection:
        return connection.execute(statement).fetchall()
