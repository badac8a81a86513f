"""Which schemas of the search path may hold our tables.

`"$user"` comes first in PostgreSQL's own search path, so whoever may create schemas in the database can make one with
the service's name, put tables of the same names into it, and answer in their place. Who owns a schema cannot be forged:
CREATE SCHEMA ... AUTHORIZATION asks for membership in the owner.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

logger = logging.getLogger(__name__)

_READ_PATH = """
SELECT p.name, n.oid, r.rolname, p.name = current_user,
       r.rolsuper OR r.oid = d.datdba OR r.rolname = current_user OR r.rolname = 'pg_database_owner'::name,
       EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.relnamespace = n.oid AND c.relname = 'go_live_state'::name)
FROM unnest(pg_catalog.current_schemas(false)) WITH ORDINALITY AS p (name, position)
JOIN pg_catalog.pg_namespace n ON n.nspname = p.name
JOIN pg_catalog.pg_roles r ON r.oid = n.nspowner
JOIN pg_catalog.pg_database d ON d.datname = pg_catalog.current_database()
ORDER BY p.position
"""
_SET = """
SELECT pg_catalog.set_config('search_path',
    pg_catalog.array_to_string(ARRAY(SELECT pg_catalog.quote_ident(s) FROM unnest(%s::text[]) AS s), ', '), %s)
"""


@dataclass(frozen=True)
class Schema:
    """A schema of the search path. `is_named_as_role`: it has the name of the role that asks, as `"$user"` does."""

    name: str
    oid: int
    owner: str
    is_named_as_role: bool
    is_trusted: bool
    has_table: bool


def choose(path: Sequence[Schema]) -> tuple[list[Schema], list[Schema]]:
    """Those to use, and those to drop, both in order.

    Used are the schemas of the role itself, of the database's owner and of superusers. A schema of somebody else, as
    where a role of its own migrates, is used only if none of those holds the tables, and never under the role's name.
    """
    is_held = any(schema.is_trusted and schema.has_table for schema in path)
    used = [schema for schema in path if schema.is_trusted or not (is_held or schema.is_named_as_role)]
    return used, [schema for schema in path if schema not in used]


def read_path(cursor: Any) -> list[Schema]:
    """The search path as it takes effect now."""
    cursor.execute(_READ_PATH)
    return [Schema(*row) for row in cursor.fetchall()]


_dropped: set[tuple[str, str]] = set()


def drop_foreign_schemas(cursor: Any, *, is_local: bool) -> tuple[list[Schema], list[Schema]]:
    """Take the schemas that may not be used out of the search path, of the transaction or (not `is_local`) the session.

    Returns those that are left, and those dropped, which are logged once in the life of a process.
    """
    used, dropped = choose(read_path(cursor))
    if dropped:
        cursor.execute(_SET, [[schema.name for schema in used], is_local])
    for schema in dropped:
        if (schema.name, schema.owner) not in _dropped:
            _dropped.add((schema.name, schema.owner))
            logger.error(
                "the schema %s is left out of the search path: it belongs to %s, who is neither this role nor the "
                "owner of the database",
                schema.name,
                schema.owner,
            )
    return used, dropped
