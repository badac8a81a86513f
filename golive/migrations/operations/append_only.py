"""Triggers that keep `golive_event` append-only in the database itself, so that no code can bypass it."""

from typing import Any

_POSTGRESQL = """
CREATE FUNCTION golive_event_refuse_alteration() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'golive_event is append only: % is refused', TG_OP USING ERRCODE = 'restrict_violation';
END
$$;
CREATE TRIGGER golive_event_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON golive_event
    FOR EACH STATEMENT EXECUTE FUNCTION golive_event_refuse_alteration();
"""
_POSTGRESQL_REVERSE = """
DROP TRIGGER golive_event_append_only ON golive_event;
DROP FUNCTION golive_event_refuse_alteration();
"""
_SQLITE = """
CREATE TRIGGER golive_event_no_{verb} BEFORE {verb} ON golive_event
BEGIN SELECT RAISE(ABORT, 'golive_event is append only: {verb} is refused'); END
"""
# REPLACE deletes a conflicting row without firing the trigger above.
_SQLITE_REPLACE = """
CREATE TRIGGER golive_event_no_REPLACE BEFORE INSERT ON golive_event
WHEN EXISTS (SELECT 1 FROM golive_event WHERE sequence = NEW.sequence OR hash = NEW.hash
             OR previous_hash = NEW.previous_hash)
BEGIN SELECT RAISE(ABORT, 'golive_event is append only: REPLACE is refused'); END
"""
_VERBS = ("UPDATE", "DELETE")


def refuse_alteration(apps: Any, schema_editor: Any) -> None:
    if schema_editor.connection.vendor == "postgresql":
        # Per statement, not per row: TRUNCATE does not fire row triggers.
        schema_editor.execute(_POSTGRESQL, params=None)
        return
    for verb in _VERBS:
        schema_editor.execute(_SQLITE.format(verb=verb))
    schema_editor.execute(_SQLITE_REPLACE)


def allow_alteration(apps: Any, schema_editor: Any) -> None:
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(_POSTGRESQL_REVERSE, params=None)
        return
    for verb in (*_VERBS, "REPLACE"):
        schema_editor.execute(f"DROP TRIGGER golive_event_no_{verb}")
