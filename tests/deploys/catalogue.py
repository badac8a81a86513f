"""Everything that PostgreSQL's catalogue knows of a database's tables, in words, so that two can be compared."""

from __future__ import annotations

from tests.deploys.project import Project

_QUERIES = {
    "columns": """
        SELECT attrelid::regclass::text, attname, attnum, format_type(atttypid, atttypmod), attnotnull, attidentity,
            attgenerated, pg_get_expr(adbin, adrelid), col_description(attrelid, attnum)
        FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
        WHERE attrelid IN ({relations}) AND attnum > 0 AND NOT attisdropped""",
    "relations": """
        SELECT oid::regclass::text, relkind, relpersistence, relowner::regrole::text, relacl::text,
            obj_description(oid, 'pg_class')
        FROM pg_class WHERE oid IN ({relations})""",
    "constraints": """
        SELECT conrelid::regclass::text, conname, contype, convalidated, pg_get_constraintdef(oid)
        FROM pg_constraint WHERE conrelid IN ({relations})""",
    "indexes": "SELECT indexrelid::regclass::text, indisvalid, pg_get_indexdef(indexrelid) FROM pg_index "
    "WHERE indrelid IN ({relations})",
    "triggers": "SELECT tgrelid::regclass::text, tgname, tgenabled, pg_get_triggerdef(oid) FROM pg_trigger "
    "WHERE tgrelid IN ({relations}) AND NOT tgisinternal",
    "functions": "SELECT oid::regprocedure::text, pg_get_functiondef(oid) FROM pg_proc "
    "WHERE pronamespace = 'public'::regnamespace",
    "rows": "SELECT app, name, count(*) FROM django_migrations GROUP BY 1, 2",
    "permissions": "SELECT app_label, model, codename FROM auth_permission p JOIN django_content_type c "
    "ON c.id = p.content_type_id",
    "groups": "SELECT g.name, codename FROM auth_group g JOIN auth_group_permissions gp ON gp.group_id = g.id "
    "JOIN auth_permission p ON p.id = gp.permission_id",
}
_RELATIONS = "SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace"


def describe_database(project: Project) -> dict[str, list[str]]:
    """All relations of the schema `public` with what hangs on them, and the rows that Django keeps about itself."""
    with project.connect() as connection:
        return {
            name: sorted(repr(row) for row in connection.execute(query.format(relations=_RELATIONS).encode()))
            for name, query in _QUERIES.items()
        }
