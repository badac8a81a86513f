"""What makes a legacy table unfit for adoption, one by one: the statements that do it, and what must be told."""

from __future__ import annotations

from dataclasses import dataclass

# Plain legacy tables, fit for adoption: flags as numbers, lengths, times without a zone, no key, wrong defaults.
BASE = (
    """CREATE TABLE system_metadata (id integer NOT NULL, version varchar(20) DEFAULT '0.9', backend_complete smallint,
       notes varchar, updated_at timestamp NOT NULL, completed_at timestamp)""",
    "INSERT INTO system_metadata VALUES (1, '2.4.0', 1, 'n', '2026-01-02 03:04:05.678901', '2026-01-02')",
    """CREATE TABLE go_live_state (id integer NOT NULL, go_live_enabled smallint NOT NULL DEFAULT 0, kill_switch_engaged
       smallint DEFAULT 0, changed_by varchar(80), reason varchar(500), updated_at timestamp DEFAULT now())""",
    "INSERT INTO go_live_state VALUES (1, 1, 0, 'ann', 'because', '2026-01-02 03:04:05.678901')",
)
_ANOTHER_ROW = "INSERT INTO go_live_state VALUES ({id}, 0, 1, 'bob', 'why', '2026-01-01')"
_FUNCTION = """CREATE FUNCTION act() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {} END $$"""
_NOTHING = _FUNCTION.format("RETURN NEW;")
_ALTER = "ALTER TABLE go_live_state "


@dataclass(frozen=True)
class Defect:
    """`told` must all occur in the refusal. `is_row_kept`: the row of 1 has its values after the remedies, too."""

    name: str
    statements: tuple[str, ...]
    told: tuple[str, ...]
    is_row_kept: bool = True

    @property
    def subject(self) -> str:
        """What only one of several defects can be about: the type of a column, or else nothing but itself."""
        return self.told[0].split()[0] if self in _COLUMNS else self.name


def _defect(name: str, *statements: str, told: str | tuple[str, ...], is_row_kept: bool = True) -> Defect:
    return Defect(name, statements, (told,) if isinstance(told, str) else told, is_row_kept)


_ROWS = (
    _defect("another_id", _ANOTHER_ROW.format(id=2), told=("go_live_state.id", "1 of 2 rows (2)")),
    _defect("only_another_id", "UPDATE go_live_state SET id = 7", told="go_live_state.id"),
    _defect(
        "only_another_id_always_generated",
        "UPDATE go_live_state SET id = 3",
        _ALTER + "ALTER id ADD GENERATED ALWAYS AS IDENTITY",
        told="go_live_state.id",
    ),
    _defect(
        "null_id",
        _ALTER + "ALTER id DROP NOT NULL",
        _ANOTHER_ROW.format(id="NULL"),
        told=("go_live_state.id", "NULL"),
    ),
    _defect("two_rows_of_1", _ANOTHER_ROW.format(id=1), told="go_live_state.id is 1 in 2 rows"),
    _defect(
        "many_rows_none_of_1",
        "UPDATE go_live_state SET id = 1000, updated_at = now()",
        "INSERT INTO go_live_state SELECT i, 0, 1, 'bob', 'why', '2026-01-01' FROM generate_series(2, 90) i",
        told="go_live_state.id",
    ),
    _defect(
        "flag_of_2",
        "UPDATE go_live_state SET kill_switch_engaged = 2",
        told="go_live_state.kill_switch_engaged holds 2",
    ),
    _defect("lease", _ALTER + "ADD lease_ms bigint DEFAULT 9000", told="go_live_state.lease_ms holds 9000"),
    _defect(
        "infinity", "UPDATE go_live_state SET updated_at = 'infinity'", told="go_live_state.updated_at holds infinity"
    ),
    _defect(
        "before_christ",
        "UPDATE system_metadata SET completed_at = '0044-03-15 BC'",
        told="system_metadata.completed_at",
    ),
    _defect(
        "row_that_cannot_be_made",
        "DELETE FROM go_live_state",
        _ALTER + 'ADD "Must be" text NOT NULL',
        told="go_live_state.Must be is NOT NULL",
        is_row_kept=False,
    ),
    _defect(
        "row_that_cannot_be_made_by_a_check",
        "DELETE FROM go_live_state",
        _ALTER + 'ADD must text CONSTRAINT "it must" CHECK (must IS NOT NULL)',
        told='"it must"',
        is_row_kept=False,
    ),
)
_COLUMNS = (
    _defect("missing_column", _ALTER + "DROP reason", told="go_live_state.reason is missing", is_row_kept=False),
    _defect(
        "missing_flag", _ALTER + "DROP kill_switch_engaged", told="kill_switch_engaged is missing", is_row_kept=False
    ),
    _defect("missing_id", _ALTER + "DROP id", told="go_live_state.id is missing"),
    _defect("missing_id_of_many", _ANOTHER_ROW.format(id=2), _ALTER + "DROP id", told="go_live_state.id is missing"),
    _defect(
        "other_letters", _ALTER + 'RENAME reason TO "Reason"', told=("go_live_state.reason is missing", '"Reason"')
    ),
    _defect(
        "flag_of_words",
        _ALTER + "ALTER kill_switch_engaged DROP DEFAULT, ALTER kill_switch_engaged TYPE text USING 'off'",
        _ALTER
        + "ADD CONSTRAINT words CHECK (kill_switch_engaged IN ('on', 'off')), "
        + "ALTER kill_switch_engaged SET DEFAULT 'off'",
        "CREATE VIEW words AS SELECT kill_switch_engaged FROM go_live_state",
        told="go_live_state.kill_switch_engaged is text",
    ),
    _defect(
        "flag_of_an_enumeration",
        "CREATE TYPE switch AS ENUM ('true', 'false')",
        _ALTER + "ALTER go_live_enabled DROP DEFAULT, ALTER go_live_enabled TYPE switch USING 'true'",
        told="go_live_state.go_live_enabled is switch",
    ),
    _defect(
        "flag_numeric", _ALTER + "ALTER go_live_enabled TYPE numeric", told="go_live_state.go_live_enabled is numeric"
    ),
    _defect(
        "flag_json",
        "ALTER TABLE system_metadata ALTER backend_complete TYPE jsonb USING 'true'",
        told="system_metadata.backend_complete is jsonb",
    ),
    _defect(
        "date", "ALTER TABLE system_metadata ALTER completed_at TYPE date", told="system_metadata.completed_at is date"
    ),
    _defect(
        "epoch",
        "ALTER TABLE system_metadata ALTER completed_at TYPE bigint USING extract(epoch FROM completed_at)",
        told="system_metadata.completed_at is bigint",
    ),
    _defect(
        "time_as_text",
        "ALTER TABLE system_metadata ALTER completed_at TYPE text",
        told="system_metadata.completed_at is text",
    ),
    _defect(
        "notes_json",
        "ALTER TABLE system_metadata ALTER notes TYPE jsonb USING '\"n\"'",
        told="system_metadata.notes",
        is_row_kept=False,
    ),
    _defect(
        "revision_of_alembic", _ALTER + "ADD revision varchar(32) DEFAULT 'ae1027a6acf'", told="go_live_state.revision"
    ),
    _defect("head_of_bytes", _ALTER + "ADD event_head bytea, ADD event_head_old int", told="go_live_state.event_head"),
    _defect("id_as_text", _ALTER + "ALTER id TYPE text", told="go_live_state.id is text"),
    _defect(
        "domain",
        "CREATE DOMAIN reason AS varchar(99)",
        _ALTER + "ALTER reason TYPE reason",
        told="go_live_state.reason is reason",
    ),
    _defect(
        "stored_column",
        _ALTER + "DROP reason, ADD reason varchar GENERATED ALWAYS AS ('because') STORED",
        told="go_live_state.reason is a generated column",
    ),
    _defect(
        "virtual_column",
        _ALTER + "DROP reason, ADD reason varchar(9) GENERATED ALWAYS AS ('because') VIRTUAL",
        told="go_live_state.reason is a generated column",
    ),
    _defect(
        "stored_id", _ALTER + "DROP id, ADD id int GENERATED ALWAYS AS (1) STORED", told="go_live_state.id is a gen"
    ),
)
_DEPENDENTS = (
    _defect(
        "view", "CREATE VIEW v AS SELECT updated_at FROM go_live_state", told=("go_live_state.updated_at", "view ")
    ),
    _defect(
        "materialized_view",
        "CREATE MATERIALIZED VIEW v AS SELECT upper(reason) FROM go_live_state",
        told=("go_live_state.reason", "DROP MATERIALIZED VIEW IF EXISTS"),
    ),
    _defect(
        "views_on_views",
        'CREATE VIEW "a view" AS SELECT reason, updated_at FROM go_live_state',
        'CREATE VIEW b AS SELECT reason FROM "a view"',
        'CREATE MATERIALIZED VIEW c AS SELECT b.reason, a.updated_at FROM b, "a view" a',
        told=("go_live_state.reason", "go_live_state.updated_at", '"a view"'),
    ),
    _defect(
        "rule_that_reads",
        "CREATE TABLE log (reason text)",
        "CREATE RULE log AS ON UPDATE TO go_live_state DO ALSO INSERT INTO log VALUES (NEW.reason)",
        told=("go_live_state.reason", "rule log"),
    ),
    _defect(
        "rule_instead",
        "CREATE RULE no AS ON UPDATE TO go_live_state DO INSTEAD NOTHING",
        told=("go_live_state:", "rule no"),
    ),
    _defect(
        "trigger_before",
        _NOTHING,
        'CREATE TRIGGER "My Trigger" BEFORE UPDATE ON go_live_state FOR EACH ROW EXECUTE FUNCTION act()',
        told=("go_live_state:", '"My Trigger"'),
    ),
    _defect(
        "trigger_of_a_column",
        _NOTHING,
        "CREATE TRIGGER t AFTER UPDATE OF reason ON go_live_state FOR EACH ROW EXECUTE FUNCTION act()",
        told=("go_live_state.reason", "trigger t"),
    ),
    _defect(
        "trigger_with_a_condition",
        _NOTHING,
        "CREATE TRIGGER t AFTER UPDATE ON go_live_state FOR EACH ROW WHEN (NEW.reason <> '') EXECUTE FUNCTION act()",
        told=("go_live_state.reason", "trigger t"),
    ),
    _defect(
        "policy", "CREATE POLICY p ON go_live_state USING (reason <> '')", told=("go_live_state.reason", "policy p")
    ),
    _defect(
        "function",
        "CREATE FUNCTION f(a int) RETURNS text LANGUAGE sql "
        "BEGIN ATOMIC SELECT reason FROM go_live_state WHERE id = a; END",
        told=("go_live_state.reason", "DROP FUNCTION"),
    ),
    _defect(
        "publication",
        "CREATE PUBLICATION adoption_test FOR TABLE go_live_state WHERE (kill_switch_engaged = 1)",
        told=("go_live_state.kill_switch_engaged", "publication adoption_test"),
    ),
    _defect(
        "generated_from_a_column",
        _ALTER
        + "ADD loud text GENERATED ALWAYS AS (upper(reason)) STORED, ADD low text GENERATED ALWAYS AS (lower(reason))",
        told=("go_live_state.reason", "generated column loud", "generated column low"),
    ),
    _defect(
        "index_on_an_expression",
        "CREATE INDEX i ON go_live_state ((kill_switch_engaged + 1))",
        "CREATE INDEX j ON go_live_state (id) WHERE kill_switch_engaged = 1",
        told=("go_live_state.kill_switch_engaged", "DROP INDEX"),
    ),
    _defect(
        "index_on_a_day",
        "CREATE INDEX i ON go_live_state (date_trunc('day', updated_at))",
        told=("go_live_state.updated_at", "DROP INDEX"),
    ),
    _defect("row_type", "CREATE TABLE other (state go_live_state)", told="go_live_state", is_row_kept=False),
)
_CONSTRAINTS = (
    _defect(
        "check_on_a_number", _ALTER + "ADD CHECK (kill_switch_engaged = 0)", told="go_live_state.kill_switch_engaged"
    ),
    _defect(
        "check_on_two_numbers",
        _ALTER + "ADD CONSTRAINT either CHECK (go_live_enabled + kill_switch_engaged < 2)",
        told=("go_live_state.go_live_enabled", "go_live_state.kill_switch_engaged", "DROP CONSTRAINT IF EXISTS either"),
    ),
    _defect(
        "check_of_the_row",
        _ALTER + "ADD CONSTRAINT whole CHECK (go_live_state IS NOT NULL)",
        told="DROP CONSTRAINT IF EXISTS whole",
    ),
    _defect(
        "key_on_another_column",
        _ALTER + "ADD PRIMARY KEY (changed_by)",
        'CREATE TABLE trail (who varchar(80) CONSTRAINT "of whom" REFERENCES go_live_state)',
        told=("primary key on changed_by", '"of whom"'),
    ),
    _defect(
        "name_taken", _ALTER + "ADD CONSTRAINT go_live_state_singleton UNIQUE (id)", told="go_live_state_singleton"
    ),
    _defect(
        "short_reasons", _ALTER + "ADD CONSTRAINT short CHECK (length(reason) < 100)", told=("go_live_state:", "short")
    ),
    _defect(
        "some_reason",
        _ALTER + "ALTER reason TYPE text, ADD CONSTRAINT always CHECK (reason IS NOT NULL)",
        told="always",
    ),
    _defect(
        "never_both",
        _ALTER + "ALTER go_live_enabled DROP DEFAULT, ALTER kill_switch_engaged DROP DEFAULT",
        _ALTER + "ALTER go_live_enabled TYPE boolean USING true, ALTER kill_switch_engaged TYPE boolean USING false",
        _ALTER + "ADD CONSTRAINT never CHECK (NOT (go_live_enabled AND kill_switch_engaged))",
        told=("go_live_state:", "DROP CONSTRAINT IF EXISTS never"),
    ),
    _defect(
        "known_people_only",
        "CREATE TABLE people (name varchar(80) PRIMARY KEY)",
        "INSERT INTO people VALUES ('ann')",
        _ALTER + "ADD CONSTRAINT known FOREIGN KEY (changed_by) REFERENCES people DEFERRABLE INITIALLY DEFERRED",
        told=("go_live_state:", "DROP CONSTRAINT IF EXISTS known"),
    ),
    _defect(
        "trigger_that_refuses",
        _FUNCTION.format("RAISE EXCEPTION 'not on my watch';"),
        "CREATE CONSTRAINT TRIGGER t AFTER UPDATE ON system_metadata INITIALLY DEFERRED "
        "FOR EACH ROW EXECUTE FUNCTION act()",
        told=("system_metadata", "not on my watch", "DISABLE TRIGGER USER"),
    ),
)
_FAMILY = (
    _defect("child", "CREATE TABLE child () INHERITS (go_live_state)", told=("go_live_state:", "NO INHERIT")),
    _defect(
        "parent",
        "CREATE TABLE parent (reason varchar(500))",
        _ALTER + "INHERIT parent",
        told=("go_live_state:", "inherits from"),
    ),
    _defect(
        "partition",
        "CREATE TABLE parent (LIKE go_live_state) PARTITION BY LIST (id)",
        "ALTER TABLE parent ATTACH PARTITION go_live_state FOR VALUES IN (1)",
        told=("go_live_state:", "DETACH PARTITION"),
    ),
    _defect(
        "typed",
        "CREATE TYPE state AS (id int, go_live_enabled smallint, kill_switch_engaged smallint, changed_by varchar(80), "
        "reason varchar(500), updated_at timestamp)",
        _ALTER + "OF state",
        told=("go_live_state:", "NOT OF"),
    ),
)


def _instead(name: str, *statements: str) -> Defect:
    moved = "ALTER TABLE go_live_state RENAME TO moved"
    return _defect(name, moved, *statements, told="go_live_state:", is_row_kept=False)


_KINDS = (
    _instead("a_view", "CREATE VIEW go_live_state AS SELECT * FROM moved"),
    _instead("a_materialized_view", "CREATE MATERIALIZED VIEW go_live_state AS SELECT * FROM moved"),
    _instead("a_partitioned_table", "CREATE TABLE go_live_state (LIKE moved) PARTITION BY LIST (id)"),
    _instead("a_sequence", "CREATE SEQUENCE go_live_state"),
    _instead("a_composite_type", "CREATE TYPE go_live_state AS (id int)"),
    _instead("an_enumeration", "CREATE TYPE go_live_state AS ENUM ('on', 'off')"),
    _instead("a_domain", "CREATE DOMAIN go_live_state AS text"),
    _instead("an_index", "CREATE INDEX go_live_state ON moved (id)"),
    _instead(
        "a_foreign_table",
        "CREATE FOREIGN DATA WRAPPER adoption_test",
        "CREATE SERVER adoption_test FOREIGN DATA WRAPPER adoption_test",
        "CREATE FOREIGN TABLE go_live_state (id int) SERVER adoption_test",
    ),
)
DEFECTS = (*_ROWS, *_COLUMNS, *_DEPENDENTS, *_CONSTRAINTS, *_FAMILY, *_KINDS)
# What defects make outside of any schema.
GLOBALS = ("PUBLICATION IF EXISTS adoption_test", "FOREIGN DATA WRAPPER IF EXISTS adoption_test CASCADE")
