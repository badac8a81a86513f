"""The checks behind checklist, runbook and `/readyz`: registered, run in bounded time, shared by all who read.

What another app needs to add its own is here; see `golive.readiness.registry`.
"""

from golive.domain.checklist import Severity
from golive.readiness.registry import Finding, register, unregister

__all__ = ["Finding", "Severity", "register", "unregister"]
