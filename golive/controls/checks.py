"""Whether a stop could be written, as an item of checklist, runbook and `/readyz`."""

from __future__ import annotations

from golive.controls import rehearsal
from golive.readiness import Finding, Severity, register

STOP_POSSIBLE = "stop_possible"


# On a connection of its own, since used-up connections are a cause too.
@register(STOP_POSSIBLE, severity=Severity.BLOCKER, message="A stop can be written", needs_database=False)
def check_stop_possible() -> Finding:
    result = rehearsal.rehearse()
    return Finding(result.ok, result.detail)
