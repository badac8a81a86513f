"""What a stop and the checklist read of the record does not grow with it, as the database's own plans say."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest
from django.db import connection

from golive.controls.apply import apply_change
from golive.domain.changes import CHANGES, Channel
from golive.models import Event
from golive.readiness import checks
from golive.state import history
from tests.support.changes import apply
from tests.support.factories import make_actor
from tests.support.faults import is_postgresql, run_sql

LENGTH = 100_000
# `recent_leases` looks at the newest 2,000 at most; nothing else of a stop reads more than one event at a time.
MAX_ROWS_OF_A_STOP, MAX_ROWS_OF_A_CHECK = history._RECENT_EVENTS, checks.EVENTS_VERIFIED

pytestmark = pytest.mark.usefixtures("database")

# As a client leaves them that repeats a stop in a loop: events that change nothing, of one table.
_FILL = """
INSERT INTO golive_event (sequence, at, actor, channel, subject, action, reason, changed, override, before, after,
                          salt, hash_version, previous_hash, hash)
SELECT newest.sequence + n.i, newest.at, 'token:loop', 'api', newest.subject, 'engage', 'again', {false}, {false},
       newest.after, newest.after, '00112233445566778899aabbccddeeff', 2,
       CASE WHEN n.i = 1 THEN newest.hash ELSE 'hash ' || (n.i - 1) END, 'hash ' || n.i
FROM golive_event AS newest, {numbers} WHERE newest.sequence = (SELECT max(sequence) FROM golive_event)
"""
_NUMBERS = {
    "postgresql": f"generate_series(1, {LENGTH}) AS n (i)",
    "sqlite": "(WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n "
    f"WHERE i < {LENGTH}) SELECT i FROM n) n",
}


@pytest.fixture
def long_record() -> None:
    # At the far end of the record: a drift, and an event of each table that changed something.
    run_sql("UPDATE system_metadata SET version = 'by hand'")
    apply("edit", notes="by the controls")
    apply("engage")
    run_sql(_FILL.format(false="false" if is_postgresql() else "0", numbers=_NUMBERS[connection.vendor]))
    head = run_sql("SELECT hash FROM golive_event ORDER BY sequence DESC LIMIT 1")[0][0]
    run_sql("UPDATE go_live_state SET event_head = %s", [head])
    run_sql("ANALYZE golive_event" if is_postgresql() else "ANALYZE")


@contextmanager
def explained() -> Iterator[list[tuple[str, Any]]]:
    """The plan of each SELECT from golive_event inside, as it is run."""
    plans: list[tuple[str, Any]] = []
    explain = "EXPLAIN (ANALYZE, FORMAT JSON) " if is_postgresql() else "EXPLAIN QUERY PLAN "

    def watch(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
        if sql.startswith("SELECT") and "golive_event" in sql:
            with closing(context["connection"].connection.cursor()) as cursor:
                cursor.execute(explain + (sql if is_postgresql() else sql.replace("%s", "?")), params)
                plans.append((sql, cursor.fetchall()))
        return execute(sql, params, many, context)

    with connection.execute_wrapper(watch):
        yield plans


def check_plans(plans: list[tuple[str, Any]], *, max_rows: int) -> None:
    assert plans
    for sql, plan in plans:
        if is_postgresql():
            text = plan[0][0]
            nodes = list(_walk((json.loads(text) if isinstance(text, str) else text)[0]["Plan"]))
            assert not [node for node in nodes if node["Node Type"] == "Seq Scan"], sql
            assert max(map(_rows, nodes)) <= max_rows + 1, (sql, nodes)
        elif "WHERE" in sql:
            assert all("SEARCH" in row[-1] for row in plan if "golive_event" in row[-1]), (sql, plan)


def _walk(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("Plans", ()):
        yield from _walk(child)


def _rows(node: dict[str, Any]) -> float:
    """Rows that a node looked at, not only those that it passed on."""
    looked_at = node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
    return float(looked_at * node["Actual Loops"])


@pytest.mark.parametrize("name", ["engage", "disable", "reopen", "edit", "release"])
def test_change__of_a_long_record__reads_no_more_than_of_a_short_one(
    long_record: None, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("golive.controls.apply._check_checklist", lambda *_: ())
    monkeypatch.setattr("golive.controls.apply._check_backend_again", lambda *_: ())
    # The others ask who changed the row last, under its lock.
    table = CHANGES[name].subject
    revision = run_sql(f"SELECT revision FROM {table}")[0][0]
    fields = {"expected_revision": revision} if name in ("edit", "release") else {}

    with explained() as plans:
        apply_change(CHANGES[name], actor=make_actor(), reason="why", channel=Channel.CLI, fields=fields)

    check_plans(plans, max_rows=MAX_ROWS_OF_A_STOP)


def test_events_intact__of_a_long_record__reads_no_more_than_of_a_short_one(long_record: None) -> None:
    with explained() as plans:
        found = checks.check_events_intact()

    check_plans(plans, max_rows=MAX_ROWS_OF_A_CHECK)
    # The filling is no chain of ours: what was read was looked at.
    assert not found.ok


def test_known_before__a_drift_at_the_far_end__is_known_at_once(long_record: None) -> None:
    newest = run_sql("SELECT max(sequence) FROM golive_event")[0][0]

    with explained() as plans:
        known = history._known_before(newest, "default")

    check_plans(plans, max_rows=1)
    assert [(event["subject"], event["action"]) for event in known] == [
        ("system_metadata", "drift"),
        ("system_metadata", "edit"),
        ("go_live_state", "engage"),
    ]


def test_indexes__of_the_model__are_those_of_the_lookups() -> None:
    names = {index.name: index.condition for index in Event._meta.indexes}

    assert set(names) == {"golive_event_subject", "golive_event_marks"}
