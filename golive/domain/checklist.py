"""The checklist (what must hold before going toward live) and the runbook (the same for people), aggregated.

Running the checks is not done here: see `golive.readiness.runner`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """A failing BLOCKER fails the checklist, a failing WARN is shown, INFO is a fact that cannot fail."""

    BLOCKER = "BLOCKER"
    WARN = "WARN"
    INFO = "INFO"


@dataclass(frozen=True)
class CheckResult:
    """What one check found. `message` says what is checked, `detail` what was found and what to do.

    `could_run` False: nothing was found out, so it has failed; the next run may say otherwise.
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
        """The required results that do not hold: what stands between here and live."""
        return tuple(result for result in self.required if not result.ok)

    def find_blocking(self, override: Collection[str]) -> tuple[CheckResult, ...]:
        """What fails and is not named in an override."""
        return tuple(result for result in self.failed if result.id not in override)

    @property
    def ok(self) -> bool:
        """Whether every required check holds. False if there is none: an empty checklist proves nothing."""
        return bool(self.required) and not self.failed
