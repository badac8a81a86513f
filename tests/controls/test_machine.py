"""The controls against a model of them that is independent and simple: random sequences of changes by people with
different permissions, of SQL behind the controls, and of reconciling.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from golive.controls.apply import apply_change
from golive.controls.reconcile import reconcile
from golive.domain.changes import ALL_PERMISSIONS, CHANGES, Acknowledgement, Actor, Channel
from golive.domain.errors import GoLiveError
from golive.models import Event
from golive.state import history, singletons
from tests.conftest import reset_database
from tests.support.changes import SEEDED, newest, problem_keys
from tests.support.factories import make_actor
from tests.support.faults import run_sql
from tests.support.profiles import examples

TOWARD_SAFE = ("engage", "disable", "reopen")
GUARDED = ("release", "enable")
NEEDS_REASON = ("release", "enable", "complete")
TABLE_OF = dict.fromkeys(("engage", "disable", "release", "enable"), "go_live_state") | dict.fromkeys(
    ("reopen", "complete", "edit"), "system_metadata"
)
PERMISSION_OF = {
    "engage": "golive.engage_kill_switch",
    "disable": "golive.disable_go_live",
    "release": "golive.release_kill_switch",
    "enable": "golive.enable_go_live",
    "reopen": "golive.complete_backend",
    "complete": "golive.complete_backend",
    "edit": "golive.complete_backend",
}


@dataclass
class Model:
    """Both rows as plain values, what the newest events say of them, and how many events there are."""

    rows: dict[str, dict[str, Any]] = field(
        default_factory=lambda: {
            "go_live_state": {"enabled": False, "engaged": True, "revision": 1},
            "system_metadata": {"complete": False, "version": "1.0.0", "revision": 1},
        }
    )
    recorded: dict[str, dict[str, Any]] = field(default_factory=dict)
    drifted: set[str] = field(default_factory=set)
    events: int = SEEDED
    # How often the revision of each was raised.
    revisions: dict[str, int] = field(default_factory=lambda: {"go_live_state": 0, "system_metadata": 0})
    # Why the kill switch may be released although the backend is not complete: by override, or by SQL.
    is_excused: bool = False

    def __post_init__(self) -> None:
        for table in self.rows:
            self.record(table)

    def record(self, table: str) -> None:
        self.recorded[table] = dict(self.rows[table])

    def is_altered(self, table: str) -> bool:
        return self.rows[table] != self.recorded[table]

    @property
    def broken(self) -> set[str]:
        return {table for table in self.rows if table in self.drifted or self.is_altered(table)}

    def set(self, table: str, **values: Any) -> bool:
        """Change a row as an effective change does, or not at all."""
        row = self.rows[table]
        if all(row[name] == value for name, value in values.items()):
            return False
        row.update(values)
        self.raise_revision(table)
        return True

    def stop(self, table: str, **values: Any) -> bool:
        """Change a row as a stop does: its revision is another one, whatever was so already."""
        is_changed = self.set(table, **values)
        if not is_changed:
            self.raise_revision(table)
        return is_changed

    def raise_revision(self, table: str) -> None:
        self.rows[table]["revision"] += 1
        self.revisions[table] += 1

    def refusal(self, name: str, held: frozenset[str], reason: str, override: bool, offset: int | None) -> str | None:
        """The code with which the rules refuse, or None."""
        asks_override = override and name in GUARDED
        if PERMISSION_OF[name] not in held:
            return "PERMISSION_DENIED"
        is_strict = name not in TOWARD_SAFE
        if is_strict and ("\x00" in reason or (not reason and name in NEEDS_REASON)):
            return "INVALID_REQUEST"
        if asks_override and "golive.override_checklist" not in held:
            return "PERMISSION_DENIED"
        is_ready = self.rows["system_metadata"]["complete"] and not self.broken
        if name in GUARDED and not asks_override and not is_ready:
            return "CHECKLIST_FAILED"
        return "REVISION_MISMATCH" if is_strict and offset else None

    def apply(self, name: str, version: str) -> tuple[bool, int]:
        """Whether anything changes, and how many events it takes. The rules have let it pass."""
        count = 0
        touched = ("go_live_state",) if name in ("engage", "disable") else ("system_metadata", "go_live_state")
        for table in touched:
            if self.is_altered(table):
                self.drifted.add(table)
                count += 1
        changed, more = self._do(name, version)
        for table in touched:
            self.record(table)
        self.events += count + more
        return changed, count + more

    def _do(self, name: str, version: str) -> tuple[bool, int]:
        if name == "engage":
            return self.stop("go_live_state", engaged=True), 1
        if name == "release":
            is_excused = not self.rows["system_metadata"]["complete"]
            if self.rows["go_live_state"]["engaged"] or is_excused:
                self.is_excused = is_excused
            return self.set("go_live_state", engaged=False), 1
        if name == "disable":
            return self.stop("go_live_state", enabled=False), 1
        if name == "enable":
            return self.set("go_live_state", enabled=True), 1
        if name == "edit":
            return self.set("system_metadata", version=version), 1
        if name == "complete":
            return self.set("system_metadata", complete=True), 1
        is_reopened = self.stop("system_metadata", complete=False)
        is_engaged = self.set("go_live_state", engaged=True)
        return is_reopened or is_engaged, 1 + is_engaged


class ControlsMachine(RuleBasedStateMachine):
    @initialize()
    def start(self) -> None:
        reset_database()
        self.model = Model()

    @rule(
        name=st.sampled_from(tuple(CHANGES)),
        missing=st.sampled_from((None, None, None, "own", "golive.override_checklist")),
        reason=st.sampled_from(("why", "why", "why", "", "a\x00b")),
        override=st.booleans(),
        offset=st.sampled_from((None, None, 0, 0, 1, -1)),
        version=st.sampled_from(("1.0.0", "2.0.0")),
    )
    def change(
        self, name: str, missing: str | None, reason: str, override: bool, offset: int | None, version: str
    ) -> None:
        held = ALL_PERMISSIONS - {PERMISSION_OF[name] if missing == "own" else missing}
        # What fails is one of these two; which, the model need not know.
        fields: dict[str, object] = {"override": ["backend_complete", "events_intact"] if override else []}
        if offset is not None:
            # Never below 1, which would be a fault of the request.
            current = self.model.rows[TABLE_OF[name]]["revision"]
            offset = abs(offset) if current == 1 else offset
            fields["expected_revision"] = current + offset
        if name == "edit":
            fields["version"] = version
        refusal = self.model.refusal(name, held, reason, override, offset)

        outcome: str | None = None
        done: Acknowledgement | None = None
        try:
            done = apply_change(
                CHANGES[name], actor=Actor("bea", held), reason=reason, channel=Channel.API, fields=fields
            )
        except GoLiveError as error:
            outcome = error.code

        assert outcome == refusal
        if done is not None:
            changed, _ = self.model.apply(name, version)
            assert done.changed is changed
            assert done.sequence == self.model.events

    @rule(table=st.sampled_from(("go_live_state", "system_metadata")))
    def alter_by_sql(self, table: str) -> None:
        row = self.model.rows[table]
        if table == "go_live_state":
            row["engaged"] = not row["engaged"]
            self.model.is_excused = True
            run_sql("UPDATE go_live_state SET kill_switch_engaged = NOT kill_switch_engaged")
        else:
            row["version"] = f"{row['version']}!"
            run_sql("UPDATE system_metadata SET version = version || '!'")

    @rule()
    def reconcile(self) -> None:
        broken = self.model.broken

        told = reconcile(actor=make_actor(), reason="looked into it", channel=Channel.CLI)

        assert len(told) == len(broken)
        for table in broken:
            if self.model.is_altered(table):
                self.model.raise_revision(table)
            self.model.record(table)
        self.model.drifted.clear()
        self.model.events += len(broken)

    @invariant()
    def rows_agree_with_the_model(self) -> None:
        go_live, system = singletons.read_both()

        assert self.model.rows == {
            "go_live_state": {
                "enabled": go_live.go_live_enabled,
                "engaged": go_live.kill_switch_engaged,
                "revision": go_live.revision,
            },
            "system_metadata": {
                "complete": system.backend_complete,
                "version": system.version,
                "revision": system.revision,
            },
        }
        assert go_live.revision == self.model.revisions["go_live_state"] + 1
        assert system.revision == self.model.revisions["system_metadata"] + 1
        assert (system.completed_at is not None) is system.backend_complete

    @invariant()
    def record_agrees_with_the_rows(self) -> None:
        assert problem_keys() == {f"row:{table}" for table in self.model.broken}
        assert history.verify().checked == Event.objects.count() == self.model.events
        assert singletons.read_go_live().event_head == newest().hash

    @invariant()
    def released_means_complete_or_excused(self) -> None:
        is_released = not self.model.rows["go_live_state"]["engaged"]

        assert not is_released or self.model.rows["system_metadata"]["complete"] or self.model.is_excused


@pytest.mark.slow
@pytest.mark.usefixtures("database")
def test_controls__random_sequences_of_changes__do_what_the_model_does() -> None:
    run_state_machine_as_test(
        ControlsMachine,
        settings=settings(
            max_examples=examples(20),
            stateful_step_count=25,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
            # A failure is told as it was found: making it shorter on a real database would take minutes.
            phases=(Phase.explicit, Phase.reuse, Phase.generate),
        ),
    )
