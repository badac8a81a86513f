"""What is watched: two control planes of two workers each and a guarded project, on one PostgreSQL of their own."""

from __future__ import annotations

import itertools
import json
import random
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from golive.domain.scopes import SCOPES
from tests.consistency import APPLICATION
from tests.consistency.checker import Read
from tests.consistency.journal import Journal
from tests.consistency.operators import PASSWORD, USERNAME, Operators
from tests.consistency.readers import KINDS, SHOP_KINDS, Reader
from tests.consistency.sabotage import SABOTAGE
from tests.support.postgres import PostgresServer
from tests.support.server import ROOT, GunicornServer, clean_environment

SERVED = "tests.consistency.served:application"
_MAKE_USER = "from django.contrib.auth.models import User; User.objects.create_superuser({!r}, '', {!r})"


@dataclass
class Testbed:
    """The running system; `planes` and `shop` are services, in `environment` run further processes of the project.

    The services have the role of docs/deploy/database.md, the shell is the owner's.
    """

    postgres: PostgresServer
    environment: dict[str, str]
    planes: list[GunicornServer]
    shop: GunicornServer
    journal: Journal
    operators: Operators

    @property
    def url(self) -> str:
        return self.environment["DATABASE_URL"]

    @property
    def services(self) -> list[GunicornServer]:
        return [*self.planes, self.shop]


def make_environment(database_url: str, sabotage: str = "", **variables: str) -> dict[str, str]:
    return {
        "DATABASE_URL": database_url,
        "SECRET_KEY": "only-for-tests-" + "0" * 40,
        # One line for each of thousands of requests is of no use to anybody.
        "LOG_LEVEL": "ERROR",
        SABOTAGE: sabotage,
        **variables,
    }


def make_web_role(postgres: PostgresServer, url: str) -> str:
    """Make the role of docs/deploy/database.md on a migrated database; the URL of the database as that role."""
    sql = re.search(r"```sql\n-- web-role\n(.*?)```", (ROOT / "docs/deploy/database.md").read_text(), re.DOTALL)
    assert sql is not None
    parts = urlsplit(url)
    for statement in sql.group(1).replace(":'password'", f"'{PASSWORD}'").split(";"):
        if statement.strip():
            postgres.execute(statement, parts.path[1:])
    return urlunsplit(parts._replace(netloc=f"valhalla_web:{PASSWORD}@{parts.hostname}:{parts.port}"))


def prepare_database(environment: Mapping[str, str]) -> str:
    """Migrate and make the operator; a token with all scopes."""
    _manage(environment, "migrate", "--noinput")
    _manage(environment, "shell", "--no-imports", "-c", _MAKE_USER.format(USERNAME, PASSWORD))
    scopes = [part for scope in SCOPES for part in ("--scope", scope)]
    return _manage(environment, "golive", "token", "create", "operators", *scopes).strip()


def _manage(environment: Mapping[str, str], *arguments: str) -> str:
    command = [sys.executable, "manage.py", *arguments]
    settings = clean_environment(environment)
    done = subprocess.run(command, cwd=ROOT, env=settings, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(arguments)}: {done.stdout}{done.stderr}"
    return done.stdout


@contextmanager
def running_testbed(rng: random.Random, *, sabotage: str = "") -> Iterator[Testbed]:
    with ExitStack() as stack:
        postgres = stack.enter_context(PostgresServer())
        environment = make_environment(postgres.create_database("valhalla"), sabotage)
        token = prepare_database(environment)
        serving = {**environment, "DATABASE_URL": make_web_role(postgres, environment["DATABASE_URL"])}
        planes = [stack.enter_context(GunicornServer(serving, application=SERVED)) for _ in range(2)]
        deeds = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="valhalla-shop-"))) / "deeds"
        guarded = {APPLICATION: "tests.enforced.wsgi", "ENFORCED": "true", "ENFORCED_DEEDS": str(deeds)}
        shop = stack.enter_context(
            GunicornServer({**serving, **guarded}, workers=1, application=SERVED, health_path="/alive")
        )
        journal, turns = Journal(), itertools.cycle(planes)
        operators = Operators(journal, environment, token, lambda path: next(turns).url(path))
        operators.sign_in()
        testbed = Testbed(postgres, environment, planes, shop, journal, operators)
        with running_readers(testbed, rng):
            yield testbed


@contextmanager
def running_readers(testbed: Testbed, rng: random.Random) -> Iterator[None]:
    """On each service a reader with new connections and one with some that it keeps; and a process that asks inside."""
    readers = [
        Reader(service.port, kinds, testbed.journal, random.Random(rng.random()), kept=kept)
        for service, kinds, kept in [
            *((plane, KINDS, kept) for plane in testbed.planes for kept in (0, 4)),
            (testbed.shop, SHOP_KINDS, 2),
        ]
    ]
    for reader in readers:
        reader.start()
    try:
        with running_inside(testbed.environment, testbed.journal):
            yield
    finally:
        for reader in readers:
            reader.stop()


@contextmanager
def running_inside(environment: Mapping[str, str], journal: Journal) -> Iterator[None]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.consistency.inside"],
        cwd=ROOT,
        env=clean_environment(environment),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    assert process.stdin is not None
    output = process.stdout
    assert output is not None

    def pump() -> None:
        for line in output:
            journal.add_read(Read(**json.loads(line)))

    thread = threading.Thread(target=pump, daemon=True)
    thread.start()
    try:
        yield
    finally:
        process.stdin.close()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        thread.join(5)
        output.close()
