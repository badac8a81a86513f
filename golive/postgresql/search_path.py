"""Decides which schemas of the search path may hold our tables.

`"$user"` comes first in PostgreSQL's default search path, so any role that may create schemas in the database could
make one named after the service's role, with tables of the same names that shadow ours. A schema's owner cannot be
forged: CREATE SCHEMA ... AUTHORIZATION requires membership in the owner.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

logger = logging.getLogger(__name__)

_IS_TRUSTED = (
    "{0}.rolsuper OR {0}.oid = d.datdba OR {0}.rolname = current_user OR {0}.rolname = 'pg_database_owner'::name"
)
_READ_PATH = f"""
SELECT p.name, n.oid, r.rolname, p.name = current_user, {_IS_TRUSTED.format("r")}, c.oid IS NOT NULL,
       coalesce(c.relkind IN ('r', 'p') AND ({_IS_TRUSTED.format("t")}), false)
FROM unnest(pg_catalog.current_schemas(false)) WITH ORDINALITY AS p (name, position)
JOIN pg_catalog.pg_namespace n ON n.nspname = p.name
JOIN pg_catalog.pg_roles r ON r.oid = n.nspowner
JOIN pg_catalog.pg_database d ON d.datname = pg_catalog.current_database()
LEFT JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = 'go_live_state'::name
LEFT JOIN pg_catalog.pg_roles t ON t.oid = c.relowner
ORDER BY p.position
"""  # noqa: S608 - constants
_SET = """
SELECT pg_catalog.set_config('search_path',
    pg_catalog.array_to_string(ARRAY(SELECT pg_catalog.quote_ident(s) FROM unnest(%s::text[]) AS s), ', '), %s)
"""


@dataclass(frozen=True)
class Schema:
    """A schema of the search path. `is_named_as_role`: it has the name of the current role, like `"$user"`.

    `has_table`: it contains a relation named go_live_state; `is_table_trusted`: that is a table with a trusted owner.
    """

    name: str
    oid: int
    owner: str
    is_named_as_role: bool
    is_trusted: bool
    has_table: bool
    is_table_trusted: bool


def choose(path: Sequence[Schema]) -> tuple[list[Schema], list[Schema]]:
    """The schemas to use and those to drop, both in order.

    Schemas of the role itself, of the database's owner and of superusers are used. A schema of any other owner, such as
    a separate migration role, is used only if none of those holds the tables, and never if it has the role's name.

    If two hold the tables and not both are trusted, there is no telling which are ours: none is used, and the state is
    unknown. A table left behind in `public` must not replace the real one.
    """
    holders = [schema for schema in path if schema.has_table and not _is_in_front(schema)]
    trusted = [schema for schema in holders if schema.is_trusted and schema.is_table_trusted]
    has_trusted = bool(trusted)
    if len(holders) > 1 and len(trusted) < len(holders):
        return [], list(path)
    used = [schema for schema in path if schema.is_trusted or not (has_trusted or schema.is_named_as_role)]
    return used, [schema for schema in path if schema not in used]


def _is_in_front(schema: Schema) -> bool:
    """Whether it comes first in the path only because it has the role's name, and its owner is not trusted."""
    return schema.is_named_as_role and not schema.is_trusted


def read_path(cursor: Any) -> list[Schema]:
    """The effective search path."""
    cursor.execute(_READ_PATH)
    return [Schema(*row) for row in cursor.fetchall()]


_dropped: set[tuple[str, str]] = set()


def drop_foreign_schemas(cursor: Any, *, is_local: bool) -> tuple[list[Schema], list[Schema]]:
    """Remove the schemas that may not be used from the search path of the transaction (`is_local`) or the session.

    Returns those that are left and those dropped, which are logged once per process.

    A session always gets an explicit list: `"$user"` would take effect as soon as such a schema is created.
    """
    used, dropped = choose(read_path(cursor))
    if dropped or (used and not is_local):
        cursor.execute(_SET, [[schema.name for schema in used], is_local])
    for schema in dropped:
        if (schema.name, schema.owner) not in _dropped:
            _dropped.add((schema.name, schema.owner))
            logger.error(
                "the schema %s is left out of the search path: it belongs to %s, and another one may hold the "
                "tables of golive; set search_path to the right one alone, or drop the others",
                schema.name,
                schema.owner,
            )
    return used, dropped
