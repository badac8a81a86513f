"""Whether tokens do no more than their makers may, as an item of the checklist."""

from __future__ import annotations

from datetime import UTC, datetime

from golive.identity import token_owners
from golive.readiness import Finding, Severity, register


@register("token_owners", severity=Severity.WARN, message="Tokens do no more than those who made them may do")
def check_token_owners() -> Finding:
    count = len(token_owners.find_owner_faults(now=datetime.now(UTC)))
    if not count:
        return Finding(True, "No valid token outlives the rights of whoever made it.")
    # Public: how many. Their names are in the record, which not everybody may read.
    tokens = "1 valid token outlives" if count == 1 else f"{count} valid tokens outlive"
    return Finding(False, f"{tokens} the rights of whoever made it. `manage.py golive token list` says which and why.")
