"""Most of the built-in checks, registered when the app is ready.

The others are in `golive.controls.checks` and `golive.identity.checks`.
"""

from __future__ import annotations

from datetime import UTC, datetime

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core import checks as system_checks
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.migrations.loader import MigrationLoader

from golive.domain.changes import ENGAGE
from golive.domain.checklist import Severity
from golive.domain.decision import decide
from golive.domain.effects import BACKEND_COMPLETE, judge_backend
from golive.migration_graph.findings.lock_file import UnusableLockError
from golive.migration_graph.model import UnusableInputError
from golive.readiness import Finding, project_graph, register
from golive.state import failover, history, singletons

# Readers may be many and a check has one second; `manage.py golive history --verify` recomputes the whole chain.
EVENTS_VERIFIED = 500
CLOCK_TOLERANCE_SECONDS = 2.0

DATABASE, MIGRATIONS_APPLIED, SINGLETON_ROWS = "database", "migrations_applied", "singleton_rows"


@register(DATABASE, severity=Severity.BLOCKER, message="The database answers", is_in_checklist=False)
def check_database() -> Finding:
    with connections[DEFAULT_DB_ALIAS].cursor() as cursor:
        cursor.execute("SELECT 1")
        cursor.fetchone()
    return Finding(True, "The database answers.")


@register(SINGLETON_ROWS, severity=Severity.BLOCKER, message="Both rows can be read", is_in_checklist=False)
def check_singleton_rows() -> Finding:
    singletons.read_both()
    return Finding(True, "Row 1 of system_metadata and of go_live_state can be read.")


@register(BACKEND_COMPLETE, severity=Severity.BLOCKER, message="The backend is complete")
def check_backend_complete() -> Finding:
    result = judge_backend(singletons.read_system())
    return Finding(result.ok, result.detail)


@register(MIGRATIONS_APPLIED, severity=Severity.BLOCKER, message="All migrations are applied")
def check_migrations_applied() -> Finding:
    # Every node, not a plan to the leaves: a plan assumes that the ancestors of applied migrations are applied too.
    loader = MigrationLoader(connections[DEFAULT_DB_ALIAS])
    pending = sorted(".".join(node) for node in loader.graph.nodes if node not in loader.applied_migrations)
    if not pending:
        return Finding(True, "All migrations are applied.")
    return Finding(False, f"Not applied: {', '.join(pending)}. Run `manage.py migrate`.")


@register(
    "migration_graph", severity=Severity.BLOCKER, message="The graph of migrations is sound", needs_database=False
)
def check_migration_graph() -> Finding:
    try:
        report = project_graph.audit_project()
    except UnusableLockError:
        return Finding(False, "The lock file of the migrations cannot be read. `manage.py audit_migrations` says why.")
    except UnusableInputError as error:
        return Finding(False, f"The migrations could not be audited: {error}.")
    # The detail is public: it names the error codes, not the project's files.
    if new := {f"{finding.code} {finding.name}" for finding in report.findings if finding.is_new_error}:
        return Finding(False, f"The audit finds {', '.join(sorted(new))}. `manage.py audit_migrations` names the edit.")
    if known := {f"{finding.code} {finding.name}" for finding in report.findings if finding.is_known}:
        return Finding(True, f"The audit finds only what the lock file keeps as known: {', '.join(sorted(known))}.")
    return Finding(True, "The audit of the migrations finds no error.")


@register(
    "environment", severity=Severity.BLOCKER, message="The environment is fit for production", needs_database=False
)
def check_environment() -> Finding:
    if getattr(settings, "APP_ENV", "production") != "production":
        return Finding(True, f"APP_ENV is {settings.APP_ENV}; production settings are not required.")
    messages = system_checks.run_checks(tags=[system_checks.Tags.security], include_deployment_checks=True)
    open_messages = [
        message for message in messages if message.level >= system_checks.WARNING and not message.is_silenced()
    ]
    faults = [message.id or message.msg for message in open_messages]
    if "*" in settings.ALLOWED_HOSTS:
        faults.append("ALLOWED_HOSTS allows every host")
    if connections[DEFAULT_DB_ALIAS].vendor != "postgresql":
        faults.append("the database is not PostgreSQL")
    if faults:
        return Finding(False, f"Put right: {', '.join(faults)}. `manage.py check --deploy` explains each.")
    return Finding(True, "The deployment checks find nothing.")


@register("events_intact", severity=Severity.BLOCKER, message="The event log agrees with the rows")
def check_events_intact() -> Finding:
    verification = history.verify(newest=EVENTS_VERIFIED)
    if verification.is_sound:
        return Finding(True, "Chain, event_head and rows agree.")
    details = " ".join(problem.detail for problem in verification.problems[:3])
    more = f" And {len(verification.problems) - 3} more." if len(verification.problems) > 3 else ""
    return Finding(
        False, f"{details}{more} Look into it, then record it with `manage.py golive reconcile --reason ...`."
    )


if failover.is_enabled():

    @register("failover", severity=Severity.BLOCKER, message="The database has not failed over since the last change")
    def check_failover() -> Finding:
        problem = failover.find_problem(DEFAULT_DB_ALIAS)
        return Finding(problem is None, problem.detail if problem else "No failover since the last change.")


@register("kill_switch_reach", severity=Severity.WARN, message="Somebody besides superusers can stop execution")
def check_kill_switch_reach() -> Finding:
    users = get_user_model().objects.with_perm(ENGAGE.permission, include_superusers=False)
    if users.filter(is_staff=True).exists():
        return Finding(True, "At least one operator can engage the kill switch.")
    return Finding(False, "Put the people on duty into the group Operators.")


@register("release_known", severity=Severity.WARN, message="The served release is known", needs_database=False)
def check_release_known() -> Finding:
    if getattr(settings, "RELEASE", None):
        return Finding(True, "The served release is known.")
    return Finding(False, "RENDER_GIT_COMMIT is not set, so answers cannot say which release gave them.")


@register("clocks_agree", severity=Severity.WARN, message="The clocks of service and database agree")
def check_clocks_agree() -> Finding:
    connection = connections[DEFAULT_DB_ALIAS]
    if connection.vendor != "postgresql":
        return Finding(True, "The database has no clock of its own.")
    with connection.cursor() as cursor:
        # Converted to UTC in SQL, since a project without USE_TZ gets naive times.
        cursor.execute("SELECT clock_timestamp() AT TIME ZONE 'UTC'")
        (database_now,) = cursor.fetchone()
    if abs((database_now.replace(tzinfo=UTC) - datetime.now(UTC)).total_seconds()) <= CLOCK_TOLERANCE_SECONDS:
        return Finding(True, f"They differ by less than {CLOCK_TOLERANCE_SECONDS:g} s.")
    return Finding(
        False, f"They differ by more than {CLOCK_TOLERANCE_SECONDS:g} s; times in the event log are misleading."
    )


@register(
    "kill_switch_released",
    severity=Severity.BLOCKER,
    message="The kill switch is released",
    # The switch is released first, so the checklist for a release cannot require it; the runbook can.
    is_in_checklist=False,
)
def check_kill_switch_released() -> Finding:
    if singletons.read_go_live().kill_switch_engaged:
        return Finding(False, "The kill switch is engaged. Release it before go-live is enabled.")
    return Finding(True, "The kill switch is released.")


@register("execution", severity=Severity.INFO, message="What the controls say now", is_in_checklist=False)
def check_execution() -> Finding:
    decision = decide(singletons.read_go_live())
    return Finding(True, decision.message)
