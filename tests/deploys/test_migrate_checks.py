"""`manage.py migrate` looks at what it leaves: tables, checks, triggers and both rows."""

from __future__ import annotations

import pytest

from golive.deploys.record import DeployError, check_after
from tests.deploys.conftest import SEED_EVENTS, Alias
from tests.deploys.project import Project

pytestmark = pytest.mark.postgresql

ROW = "INSERT INTO system_metadata (id) VALUES (1)"
REMEDY = f"""
CREATE TRIGGER golive_event_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON golive_event
    FOR EACH STATEMENT EXECUTE FUNCTION golive_event_refuse_alteration();
ALTER TABLE go_live_state ADD COLUMN reason text;
{ROW}
"""


def test_migrate__trigger_column_and_row_missing__fails_with_the_list_until_they_are_back(project: Project) -> None:
    project.query("DROP TRIGGER golive_event_append_only ON golive_event")
    project.query("ALTER TABLE go_live_state DROP COLUMN reason")
    project.query("DELETE FROM system_metadata")

    done = project.run("migrate")

    assert done.returncode == 1
    head, *told = done.stderr.splitlines()
    assert head == "CommandError: The migrations are applied, but the database is not as it must be:"
    assert [line.split(" Remedy")[0].strip() for line in told] == [
        "go_live_state.reason: the column is missing",
        "golive_event: the trigger golive_event_append_only is missing",
        "system_metadata: row 1 is missing, and migrate makes it only once.",
    ]
    assert ROW in told[2]
    project.query(REMEDY)
    project.migrate()
    assert project.events() == SEED_EVENTS


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        ("DROP TABLE go_live_state", "go_live_state: the table is missing"),
        ("DELETE FROM go_live_state", "go_live_state: row 1 is missing"),
        ("ALTER TABLE golive_event DISABLE TRIGGER ALL", "golive_event: the trigger golive_event_append_only is "),
        (
            "ALTER TABLE go_live_state ALTER kill_switch_engaged SET DEFAULT false",
            "go_live_state.kill_switch_engaged: default is false, not true",
        ),
    ],
    ids=["table", "row", "trigger", "default"],
)
def test_check_after__one_fault__is_told_alone(project: Project, alias: Alias, harm: str, told: str) -> None:
    project.query(harm)

    with alias(project) as using, pytest.raises(DeployError) as caught:
        check_after(using)

    assert str(caught.value).splitlines()[1].startswith(f"  {told}")
    assert len(str(caught.value).splitlines()) == 2
