"""Adoption by a role that is no superuser: what it may alter it adopts; of the rest it says who can put it right."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pytest

from tests.deploys.defects import BASE
from tests.deploys.remedies import read_remedies
from tests.deploys.sandbox import Sandbox, open_sandbox
from tests.support.postgres import fresh_database

pytestmark = pytest.mark.postgresql


@dataclass(frozen=True)
class Roles:
    """Quoted names: who migrates, and who made the tables; and the sandbox, in which the first one works."""

    migrator: str
    maker: str
    sandbox: Sandbox

    def make(self, owner: str, *statements: str) -> None:
        self.sandbox.execute(*BASE, *statements, *(f"ALTER TABLE {t} OWNER TO {owner}" for t in _TABLES))


_TABLES = ("system_metadata", "go_live_state")


@pytest.fixture(scope="module")
def cluster(django_db_blocker: Any) -> Iterator[Roles]:
    ending, password = secrets.token_hex(4), secrets.token_hex(12)
    migrator, maker = f"migrator_{ending}", f'"The Maker {ending}"'
    with django_db_blocker.unblock(), fresh_database("roles") as url, open_sandbox(url) as sandbox:
        sandbox.execute(f"CREATE ROLE {migrator} LOGIN PASSWORD '{password}'", f"CREATE ROLE {maker}")
        parts = urlsplit(url)
        try:
            sandbox.use(urlunsplit(parts._replace(netloc=f"{migrator}:{password}@{parts.hostname}:{parts.port}")))
            yield Roles(migrator, maker, sandbox)
        finally:
            sandbox.disconnect()
            sandbox.execute(f"DROP OWNED BY {migrator}, {maker}", f"DROP ROLE {migrator}, {maker}")


@pytest.fixture
def roles(cluster: Roles) -> Iterator[Roles]:
    with cluster.sandbox.schemas() as (schema,):
        cluster.sandbox.execute(f"GRANT USAGE, CREATE ON SCHEMA {schema} TO {cluster.migrator}, {cluster.maker}")
        yield cluster
        cluster.sandbox.execute(f"REVOKE {cluster.maker} FROM {cluster.migrator}")


def _owners(sandbox: Sandbox) -> set[str]:
    found = sandbox.query(
        "SELECT relowner::regrole::text AS owner FROM pg_class WHERE oid = ANY(%s::regclass[])", [list(_TABLES)]
    )
    return {row["owner"] for row in found}


def test_adoption__by_the_owner__works(roles: Roles) -> None:
    roles.make(roles.migrator)
    roles.sandbox.migrate()
    assert roles.sandbox.find_schema_faults() == []


def test_adoption__by_a_member_of_the_owner__works_and_the_owner_stays(roles: Roles) -> None:
    roles.make(roles.maker, f"GRANT {roles.maker} TO {roles.migrator}")
    roles.sandbox.migrate()
    assert roles.sandbox.find_schema_faults() == []
    assert _owners(roles.sandbox) == {roles.maker}


@pytest.mark.parametrize("membership", ["", "GRANT {maker} TO {migrator} WITH INHERIT FALSE"])
def test_refusal__table_of_another_role__names_it_and_can_be_handed_over(roles: Roles, membership: str) -> None:
    roles.make(roles.maker, *([membership.format(maker=roles.maker, migrator=roles.migrator)] if membership else []))
    told = roles.sandbox.refuse()
    assert told.count(f"belongs to {roles.maker}, so that {roles.migrator} may not alter it") == 2
    roles.sandbox.execute(*read_remedies(told))
    roles.sandbox.migrate()
    assert _owners(roles.sandbox) == {roles.migrator}


def test_refusal__owner_without_rights__names_them(roles: Roles) -> None:
    roles.make(roles.migrator, f"ALTER TABLE go_live_state OWNER TO {roles.migrator}")
    roles.sandbox.execute(f"REVOKE SELECT, UPDATE ON go_live_state FROM {roles.migrator}")
    told = roles.sandbox.refuse()
    assert f"go_live_state: {roles.migrator} lacks SELECT, UPDATE on it" in told
    roles.sandbox.execute(*read_remedies(told))
    roles.sandbox.migrate()
    assert roles.sandbox.find_schema_faults() == []


def test_refusal__rows_that_are_hidden__are_not_taken_for_none(roles: Roles) -> None:
    roles.make(roles.migrator, "INSERT INTO go_live_state VALUES (2, 0, 1)")
    roles.sandbox.execute(
        "ALTER TABLE go_live_state ENABLE ROW LEVEL SECURITY", "ALTER TABLE go_live_state FORCE ROW LEVEL SECURITY"
    )
    told = roles.sandbox.refuse()
    assert "go_live_state: row security hides rows" in told
    roles.sandbox.execute(*read_remedies(told))
    told = roles.sandbox.refuse()
    assert "go_live_state.id is not 1 in 1 of 2 rows (2)" in told


def test_refusal__no_key_and_no_right_to_make_one__names_the_schema(cluster: Roles) -> None:
    sandbox = cluster.sandbox
    with sandbox.schemas("ours", "theirs") as (ours, theirs):
        sandbox.execute(f"GRANT USAGE, CREATE ON SCHEMA {ours} TO {cluster.migrator}")
        sandbox.execute(f"GRANT USAGE ON SCHEMA {theirs} TO {cluster.migrator}")
        sandbox.search_path = theirs
        cluster.make(cluster.migrator, "ALTER TABLE system_metadata ADD PRIMARY KEY (id)")
        sandbox.search_path = f"{ours}, {theirs}"
        told = sandbox.refuse()
        assert "system_metadata" not in told
        assert f"go_live_state: has no primary key, and {cluster.migrator} may not make one in the schema" in told
        sandbox.execute(*read_remedies(told))
        sandbox.migrate()
        assert sandbox.find_schema_faults() == []


def test_adoption__table_in_a_schema_that_is_closed_to_the_role__is_not_seen(cluster: Roles) -> None:
    sandbox = cluster.sandbox
    with sandbox.schemas("closed", "ours") as (closed, ours):
        sandbox.execute(f"GRANT USAGE, CREATE ON SCHEMA {ours} TO {cluster.migrator}", *BASE)
        before = sandbox.query("SELECT * FROM go_live_state")
        sandbox.migrate()
        assert sandbox.query(f"SELECT * FROM {closed}.go_live_state") == before
        assert sandbox.query(f"SELECT id, kill_switch_engaged FROM {ours}.go_live_state") == [
            {"id": 1, "kill_switch_engaged": True}
        ]
