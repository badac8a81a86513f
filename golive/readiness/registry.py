"""The registry of the checks behind checklist, runbook and `/readyz`.

Another app adds its own in `AppConfig.ready`:

    from golive.readiness import Finding, Severity, register

    @register("payments_configured", severity=Severity.BLOCKER, message="Payments are configured")
    def check_payments() -> Finding:
        return Finding(bool(settings.PAYMENTS_KEY), "The key is set.")

A check must only read. It runs in a savepoint of a read-only transaction, on a connection and thread of its run, so
that a check that fails, hangs or has a failing statement harms neither the other checks nor the request.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from golive.domain.checklist import Severity


@dataclass(frozen=True)
class Finding:
    """The result of a check function. `detail` is public: no secrets, no names of people, and stable between calls."""

    ok: bool
    detail: str


@dataclass(frozen=True)
class Check:
    """A registered check. `is_in_checklist` False: shown in the runbook only."""

    id: str
    severity: Severity
    message: str
    run: Callable[[], Finding]
    needs_database: bool = True
    is_in_checklist: bool = True


_registry: dict[str, Check] = {}


def register(
    id: str, *, severity: Severity, message: str, needs_database: bool = True, is_in_checklist: bool = True
) -> Callable[[Callable[[], Finding]], Callable[[], Finding]]:
    """Register a check under a unique id. Raises ValueError if the id is taken."""

    def add(function: Callable[[], Finding]) -> Callable[[], Finding]:
        if id in _registry:
            raise ValueError(f"a check named {id} is registered already")
        _registry[id] = Check(id, severity, message, function, needs_database, is_in_checklist)
        return function

    return add


def unregister(id: str) -> None:
    """Remove a check; does nothing if the id is not registered."""
    _registry.pop(id, None)


def checklist_ids() -> tuple[str, ...]:
    """The ids of the checklist's required checks, in the order of registration: those that an override may name."""
    return tuple(
        check.id for check in _registry.values() if check.is_in_checklist and check.severity is Severity.BLOCKER
    )


def all_checklist_ids() -> frozenset[str]:
    """The ids of the checks that belong to the checklist, warnings included."""
    return frozenset(check.id for check in _registry.values() if check.is_in_checklist)


def all_checks() -> tuple[Check, ...]:
    """Every registered check, in the order of registration."""
    return tuple(_registry.values())
