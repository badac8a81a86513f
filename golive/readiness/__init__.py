"""The checks behind checklist, runbook and `/readyz`: registered, run in bounded time, shared by all readers.

Exports what another app needs to add its own checks; see `golive.readiness.registry`.
"""

from golive.domain.checklist import Severity
from golive.readiness.registry import Finding, register, unregister

__all__ = ["Finding", "Severity", "register", "unregister"]
