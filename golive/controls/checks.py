"""The check `stop_possible` of checklist, runbook and `/readyz`: whether a stop could be written."""

from __future__ import annotations

from golive.controls import rehearsal
from golive.readiness import Finding, Severity, register

STOP_POSSIBLE = "stop_possible"


# It opens a connection of its own, since exhausted connections are one reason why a stop is not possible.
@register(STOP_POSSIBLE, severity=Severity.BLOCKER, message="A stop can be written", needs_database=False)
def check_stop_possible() -> Finding:
    result = rehearsal.rehearse()
    return Finding(result.ok, result.detail)
