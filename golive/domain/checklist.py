"""Check results, aggregated into the checklist (what must pass before going toward live) and the runbook.

`golive.readiness.runner` runs the checks.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """A failing BLOCKER fails the checklist, a failing WARN is only shown, INFO is a fact that cannot fail."""

    BLOCKER = "BLOCKER"
    WARN = "WARN"
    INFO = "INFO"


@dataclass(frozen=True)
class CheckResult:
    """The result of one check. `message` says what is checked, `detail` the outcome and the remedy.

    `could_run` False: the check could not run, so it counts as failed; the next run may differ.
    """

    id: str
    ok: bool
    severity: Severity
    message: str
    detail: str
    could_run: bool = True


@dataclass(frozen=True)
class Checklist:
    """The results of one run, in the order of registration."""

    results: tuple[CheckResult, ...]

    @classmethod
    def of(cls, results: Iterable[CheckResult]) -> Checklist:
        return cls(tuple(results))

    @property
    def required(self) -> tuple[CheckResult, ...]:
        return tuple(result for result in self.results if result.severity is Severity.BLOCKER)

    @property
    def warnings(self) -> tuple[CheckResult, ...]:
        return tuple(result for result in self.results if result.severity is Severity.WARN)

    @property
    def failed(self) -> tuple[CheckResult, ...]:
        """The required checks that fail: what blocks going live."""
        return tuple(result for result in self.required if not result.ok)

    def find_blocking(self, override: Collection[str]) -> tuple[CheckResult, ...]:
        """The required checks that fail and are not overridden."""
        return tuple(result for result in self.failed if result.id not in override)

    @property
    def ok(self) -> bool:
        """Whether every required check passes. False if there are none: an empty checklist proves nothing."""
        return bool(self.required) and not self.failed
