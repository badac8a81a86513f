"""One hierarchy for every refusal and failure, each with a stable code.

Programs match on the code; `golive.web.problems` maps the error to an HTTP status, the command line to an exit code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from golive.domain.checklist import CheckResult
    from golive.domain.decision import Decision
    from golive.domain.holders import Holder
    from golive.domain.rows import GoLiveRow, SystemRow


@dataclass(frozen=True)
class FieldError:
    """One error in one field of a request, with a message that says what to do."""

    field: str
    message: str


class GoLiveError(Exception):
    """Base class: `code` is stable and public, `detail` is a sentence for people."""

    code = "ERROR"

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail

    @property
    def public_detail(self) -> str:
        """`detail` for those who may not see names and reasons."""
        return self.detail


class RefusedError(GoLiveError):
    """Refused by a rule; nothing was changed, and the same request would be refused again."""

    code = "REFUSED"


class PermissionRequiredError(RefusedError):
    """The actor lacks `permission` (for example `golive.release_kill_switch`)."""

    code = "PERMISSION_DENIED"

    def __init__(self, permission: str) -> None:
        super().__init__(f"This needs the permission {permission}.")
        self.permission = permission


class InvalidRequestError(RefusedError):
    """The request's content is invalid; `errors` names each field and what to do."""

    code = "INVALID_REQUEST"

    def __init__(self, errors: Sequence[FieldError]) -> None:
        super().__init__("; ".join(f"{error.field}: {error.message}" for error in errors))
        self.errors = tuple(errors)


class ChecklistFailedError(RefusedError):
    """Required checks fail that are not overridden; `failed` holds them, and is empty if there are no checks at all."""

    code = "CHECKLIST_FAILED"

    def __init__(self, failed: Sequence[CheckResult]) -> None:
        names = ", ".join(result.id for result in failed)
        what = f"The go-live checklist fails: {names}." if failed else "The go-live checklist has no required check."
        super().__init__(f"{what} Put {'these' if len(failed) > 1 else 'this'} right and try again.")
        self.failed = tuple(failed)


@dataclass(frozen=True)
class RecordedChange:
    """Who last changed a row, when and why: `change` is the action of the event, for example `engage`."""

    actor: str
    at: datetime | None
    change: str
    reason: str


class RevisionMismatchError(RefusedError):
    """The row was changed since the requester read it; `current` is the row now.

    `changed_by`, `changed_at`, `change` and `reason` come from the event log, None if not found there. They and
    `detail` are for readers who may see names and reasons; `public_detail` is public.
    """

    code = "REVISION_MISMATCH"

    def __init__(self, *, expected: int, current: GoLiveRow | SystemRow, last_change: RecordedChange | None) -> None:
        by = f" by {last_change.actor}" if last_change else ""
        revisions = f"since you looked: revision {current.revision}, not {expected}"
        how = _describe(last_change) if last_change else ""
        super().__init__(f"Changed{by} {revisions}{how}. Look again first.")
        self.expected = expected
        self.current = current
        self.changed_by = last_change.actor if last_change else None
        self.changed_at = last_change.at if last_change else None
        self.change = last_change.change if last_change else None
        self.reason = last_change.reason if last_change else None

    @property
    def public_detail(self) -> str:
        return f"Changed since you looked: revision {self.current.revision}, not {self.expected}. Look again first."


def _describe(last: RecordedChange) -> str:
    at = f" at {last.at.isoformat(timespec='seconds')}" if last.at else ""
    return f" ({last.change}{at}" + (f': "{last.reason}")' if last.reason else ", no reason given)")


class UnavailableError(GoLiveError):
    """Not a refusal: the system could not find out or could not do it. A retry may work."""

    code = "UNAVAILABLE"

    def describe(self) -> str:
        """The code and everything known, for the log and the command line."""
        return f"{self.code}: {self.detail}"


class StateUnknownError(UnavailableError):
    """The two rows cannot be read, are missing, or hold invalid values. Execution is not allowed.

    `detail` is public; `cause`, if there is more to say, is for the log and the command line.
    """

    code = "STATE_UNKNOWN"

    def __init__(self, detail: str, *, cause: str | None = None) -> None:
        super().__init__(detail)
        self.cause = cause or detail

    def describe(self) -> str:
        return f"{self.code}: {self.cause}"


class NotAppliedError(UnavailableError):
    """The change was certainly not made. `detail` says why, and whether a retry can help.

    `summary` and `advice` are public: no role, no host, no database message. `holders` are the blocking sessions.
    """

    code = "NOT_APPLIED"

    def __init__(
        self, detail: str, *, summary: str | None = None, advice: str = "", holders: Sequence[Holder] = ()
    ) -> None:
        super().__init__(detail)
        self.summary = summary or detail
        self.advice = advice
        self.holders = tuple(holders)

    def describe(self) -> str:
        return "".join([f"{self.code}: {self.detail}", *(f" In the way: {holder}." for holder in self.holders)])

    def redacted(self) -> NotAppliedError:
        """A copy for readers who may not see roles and queries."""
        holders = [holder.redacted() for holder in self.holders]
        return NotAppliedError(f"{self.summary}{self.advice}", summary=self.summary, holders=holders)


class OutcomeUnknownError(UnavailableError):
    """The connection was lost at COMMIT: the change may or may not have been made. Repeat a toward-safe change."""

    code = "OUTCOME_UNKNOWN"

    def __init__(self, detail: str, *, cause: str | None = None) -> None:
        super().__init__(detail)
        self.cause = cause or ""

    def describe(self) -> str:
        return f"{self.code}: {self.detail}" + (f" The cause: {self.cause}." if self.cause else "")


class ExecutionDenied(GoLiveError):  # noqa: N818 - the name is the contract's
    """The guarded system may not execute now; `code` is that of the decision, STATE_UNKNOWN if it cannot be known."""

    code = "STATE_UNKNOWN"

    def __init__(self, decision: Decision) -> None:
        super().__init__(decision.message)
        self.code = str(decision.code)
        self.decision = decision
