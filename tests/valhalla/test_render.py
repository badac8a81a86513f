"""render.yaml: what it must say, and its three commands run as Render runs them, against a real PostgreSQL.

The commands run literally, in a shell, in a copy of the files that git would deploy, in the environment that Render
makes, and in a virtual environment of their own that holds what requirements.txt names and nothing else: what
production needs but only developers have would be missing. Two things differ from Render: the distributions are linked
from the environment of the tests, and pip may reach no index, so that `pip install` downloads nothing and succeeds only
if exactly the pinned versions are there.
"""

from __future__ import annotations

import base64
import contextlib
import importlib.metadata
import os
import re
import secrets
import signal
import subprocess
import venv
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.patience import await_start
from tests.support.postgres import fresh_database
from tests.support.requirements import read_locked
from tests.support.server import ROOT, STOP_SECONDS, Response, find_free_port, request

HOSTNAME = "valhalla.onrender.com"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
HTTPS = {"Host": HOSTNAME, "X-Forwarded-Proto": "https"}
HTTP = {"Host": HOSTNAME}


# -- what it says ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def blueprint() -> dict[str, Any]:
    content = yaml.safe_load((ROOT / "render.yaml").read_text())
    assert isinstance(content, dict)
    return content


@pytest.fixture(scope="module")
def service(blueprint: dict[str, Any]) -> dict[str, Any]:
    (service,) = blueprint["services"]
    assert isinstance(service, dict)
    return service


@pytest.fixture(scope="module")
def variables(service: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {entry["key"]: entry for entry in service["envVars"]}


def test_blueprint__whole__has_one_web_service_and_one_database(
    blueprint: dict[str, Any], service: dict[str, Any]
) -> None:
    assert set(blueprint) == {"databases", "services"}
    assert len(blueprint["databases"]) == 1
    assert (service["type"], service["runtime"]) == ("web", "python")


def test_blueprint__fields__are_current_ones(service: dict[str, Any]) -> None:
    deprecated = {"env", "autoDeploy", "pullRequestPreviewsEnabled"}

    assert not deprecated & set(service)
    assert service["autoDeployTrigger"] in ("commit", "checksPass", "off")


def test_blueprint__plans__are_paid(blueprint: dict[str, Any], service: dict[str, Any]) -> None:
    """The free web plan has no pre-deploy command, the free database is deleted after a month."""
    assert service["plan"] != "free"
    assert blueprint["databases"][0]["plan"] not in ("free", "starter", "standard", "pro")


def test_blueprint__commands__build_migrate_and_serve(service: dict[str, Any]) -> None:
    assert service["buildCommand"] == ("pip install -r requirements.txt && python manage.py collectstatic --noinput")
    assert service["preDeployCommand"] == "python manage.py migrate --noinput"
    assert service["startCommand"] == "gunicorn valhalla.wsgi:application"
    assert service["healthCheckPath"] == "/health"


def test_blueprint__database__is_private_and_in_the_region_of_the_service(
    blueprint: dict[str, Any], service: dict[str, Any]
) -> None:
    (database,) = blueprint["databases"]

    assert database["ipAllowList"] == []
    assert database["region"] == service["region"]
    assert database["postgresMajorVersion"] == "18"


def test_blueprint__variables__come_from_where_they_belong(
    blueprint: dict[str, Any], variables: dict[str, dict[str, Any]]
) -> None:
    database = blueprint["databases"][0]["name"]

    assert variables["APP_ENV"]["value"] == "production"
    assert variables["SECRET_KEY"] == {"key": "SECRET_KEY", "generateValue": True}
    assert variables["DATABASE_URL"]["fromDatabase"] == {"name": database, "property": "connectionString"}
    assert [key for key, entry in variables.items() if entry.get("sync") is False] == [
        "ALLOWED_HOSTS",
        "CORS_ALLOWED_ORIGINS",
    ]
    assert all(len(entry) == 2 for entry in variables.values()), "each has exactly one source"


def test_blueprint__python__is_pinned_once_and_everywhere_the_same(variables: dict[str, dict[str, Any]]) -> None:
    """Render wants all three parts in the variable; the file, which other tools read too, may leave out the patch."""
    pinned = variables["PYTHON_VERSION"]["value"]

    assert re.fullmatch(r"3\.11\.\d+", pinned)
    assert pinned.startswith((ROOT / ".python-version").read_text().strip())


def test_blueprint__values__hold_no_secret(variables: dict[str, dict[str, Any]]) -> None:
    literal = {key: entry["value"] for key, entry in variables.items() if "value" in entry}

    assert set(literal) == {"APP_ENV", "PYTHON_VERSION", "WEB_CONCURRENCY", "GUNICORN_CMD_ARGS"}
    assert all(isinstance(value, str) and len(value) < 32 and "://" not in value for value in literal.values())


def test_blueprint__shutdown__leaves_gunicorn_the_time_it_takes(service: dict[str, Any]) -> None:
    (graceful,) = re.findall(r"^graceful_timeout = (\d+)$", (ROOT / "gunicorn.conf.py").read_text(), re.MULTILINE)

    assert int(graceful) < service["maxShutdownDelaySeconds"]


# -- what it does ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Deployment:
    """A copy of the project with an environment for Render's commands, and the address where it will be served."""

    folder: Path
    settings: Mapping[str, str]
    port: int

    def call(self, command: str) -> str:
        """Run a command as Render does, in a shell; its output. Fails if it exits with anything but 0."""
        done = subprocess.run(
            command,
            shell=True,
            cwd=self.folder,
            env=self.settings,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    @contextlib.contextmanager
    def serve(self, command: str) -> Iterator[None]:
        """Run the start command until the block ends; before that the health check must have passed."""
        log = self.folder / "start.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                command,
                shell=True,
                cwd=self.folder,
                env=self.settings,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        try:
            await_start(process, lambda: self.get("/health", HTTP).status == 200, read_log=log.read_text)
            yield
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)  # the group that start_new_session made: shell and gunicorn
            process.wait(STOP_SECONDS)

    def get(self, path: str, headers: Mapping[str, str]) -> Response:
        return request("GET", f"http://127.0.0.1:{self.port}{path}", headers=headers)


@pytest.fixture(scope="module")
def deployment(
    tmp_path_factory: pytest.TempPathFactory, service: dict[str, Any], variables: dict[str, dict[str, Any]]
) -> Iterator[Deployment]:
    """Built, migrated and serving."""
    folder = tmp_path_factory.mktemp("render")
    project, environment, port = folder / "project", folder / "venv", find_free_port()
    _copy_project(project)
    _make_production_environment(environment)
    with fresh_database("valhalla_render") as database_url:
        settings = _make_settings(variables, environment, database_url=database_url, port=port)
        deployment = Deployment(project, settings, port)
        built = deployment.call(service["buildCommand"])
        assert "Successfully installed" not in built, "the environment did not hold what requirements.txt pins"
        deployment.call(service["preDeployCommand"])
        deployment.call(service["preDeployCommand"])  # every deploy runs it, mostly with nothing to do
        with deployment.serve(service["startCommand"]):
            yield deployment


def _copy_project(target: Path) -> None:
    """What would be deployed if all changes were committed: the files that git tracks or would add."""
    listing = ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    for name in filter(None, names):
        if (ROOT / name).is_file():  # a deleted file is tracked until that is committed
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            (target / name).write_bytes((ROOT / name).read_bytes())
            (target / name).chmod((ROOT / name).stat().st_mode)


def _make_production_environment(target: Path) -> None:
    """A virtual environment with pip and the distributions of requirements.txt, linked from the running one."""
    venv.create(target, with_pip=True, symlinks=True)
    python = target / "bin" / "python"
    (packages,) = target.glob("lib/python*/site-packages")
    for name in read_locked("requirements.txt"):
        distribution = importlib.metadata.distribution(name)
        for top in {file.parts[0] for file in distribution.files or [] if file.parts[0] not in ("..", "__pycache__")}:
            (packages / top).symlink_to(Path(str(distribution.locate_file(top))))
        for script in distribution.entry_points.select(group="console_scripts"):
            module, _, function = script.value.partition(":")
            program = target / "bin" / script.name
            program.write_text(f"#!{python}\nimport sys\nfrom {module} import {function}\nsys.exit({function}())\n")
            program.chmod(0o755)


def _make_settings(
    variables: Mapping[str, Mapping[str, Any]], environment: Path, *, database_url: str, port: int
) -> dict[str, str]:
    """Render's own variables, those of the Blueprint, and two that keep pip from looking for distributions."""
    settings = {
        "PATH": f"{environment / 'bin'}:{os.defpath}",
        "HOME": str(environment),
        "LANG": "C.UTF-8",
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_NO_INDEX": "1",
        "RENDER": "true",
        "RENDER_EXTERNAL_HOSTNAME": HOSTNAME,
        "RENDER_GIT_COMMIT": COMMIT,
        "PORT": str(port),
        "FORWARDED_ALLOW_IPS": "*",
        "GUNICORN_CMD_ARGS": "--preload --access-logfile - --bind=0.0.0.0:10000",
    }
    for key, entry in variables.items():
        if "value" in entry:
            settings[key] = entry["value"]
        elif entry.get("generateValue"):
            settings[key] = base64.b64encode(secrets.token_bytes(32)).decode()
        elif "fromDatabase" in entry:
            settings[key] = database_url
        else:
            assert entry["sync"] is False
            settings[key] = ""
    assert len(settings["SECRET_KEY"]) == 44
    return settings


def deployed(test: Callable[..., None]) -> Callable[..., None]:
    """Asks the service as it answers behind Render's proxy, which ends TLS and says so in X-Forwarded-Proto."""
    return pytest.mark.postgresql(pytest.mark.slow(test))


@pytest.mark.parametrize("headers", [HTTPS, HTTP, {"Host": "10.0.0.1"}])
@deployed
def test_deployed_health__with_and_without_tls_or_known_host__is_200(
    deployment: Deployment, headers: dict[str, str]
) -> None:
    answer = deployment.get("/health", headers)

    assert (answer.status, answer.json()) == (200, {"status": "ok"})


@deployed
def test_deployed_readyz__after_the_pre_deploy_command__is_200_with_the_commit(deployment: Deployment) -> None:
    answer = deployment.get("/readyz", HTTPS)

    assert answer.status == 200, answer.text
    assert answer.json()["release"] == COMMIT


@deployed
def test_deployed_status__over_tls__is_200_and_not_allowed(deployment: Deployment) -> None:
    answer = deployment.get("/api/status", HTTPS)

    assert answer.status == 200, answer.text
    assert answer.json()["execution"]["allowed"] is False
    assert answer.json()["execution"]["code"] == "KILL_SWITCH_ENGAGED"
    assert answer.json()["release"] == COMMIT


@deployed
def test_deployed_pages__without_tls__are_sent_to_https(deployment: Deployment) -> None:
    answer = deployment.get("/admin/login/", HTTP)

    assert (answer.status, answer.headers["Location"]) == (301, f"https://{HOSTNAME}/admin/login/")


@deployed
def test_deployed_status__for_an_unknown_host__is_400(deployment: Deployment) -> None:
    answer = deployment.get("/api/status", {**HTTPS, "Host": "elsewhere.example"})

    assert answer.status == 400


@deployed
def test_deployed_login__over_tls__has_secure_cookies_and_hsts(deployment: Deployment) -> None:
    answer = deployment.get("/admin/login/", HTTPS)
    cookies = answer.headers.get_all("Set-Cookie") or []

    assert answer.status == 200, answer.text
    assert cookies
    assert all("; secure" in cookie.lower() for cookie in cookies)
    assert int(re.findall(r"max-age=(\d+)", answer.headers["Strict-Transport-Security"])[0]) >= 31_536_000


@deployed
def test_deployed_stylesheet__that_the_build_collected__is_served(deployment: Deployment) -> None:
    answer = deployment.get("/static/admin/css/base.css", HTTPS)

    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("text/css")


@deployed
def test_deployed_log__of_the_service__has_requests_and_no_secret(deployment: Deployment) -> None:
    deployment.get("/health?token=vgl_must_not_be_kept", HTTP)

    log = (deployment.folder / "start.log").read_text()
    assert '"GET /health HTTP/1.1" 200' in log
    assert "vgl_must_not_be_kept" not in log
    assert deployment.settings["SECRET_KEY"] not in log
    assert deployment.settings["DATABASE_URL"] not in log
    assert "UserWarning" not in log
