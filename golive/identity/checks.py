"""The check `token_owners` of the checklist: no token may do more than its maker."""

from __future__ import annotations

from datetime import UTC, datetime

from golive.identity import token_owners
from golive.readiness import Finding, Severity, register


@register("token_owners", severity=Severity.WARN, message="Tokens do no more than those who made them may do")
def check_token_owners() -> Finding:
    count = len(token_owners.find_owner_faults(now=datetime.now(UTC)))
    if not count:
        return Finding(True, "Every valid token's maker still has its rights.")
    # The detail is public: it has the count only; token names are in the event log, which is not public.
    tokens = "1 valid token outlives" if count == 1 else f"{count} valid tokens outlive"
    return Finding(False, f"{tokens} the rights of whoever made it. `manage.py golive token list` says which and why.")
