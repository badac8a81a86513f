"""One hierarchy for every refusal and failure, each with a stable code.

The code is what programs match on; `golive.web.problems` maps it to an HTTP status, the command line to
an exit code.
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
    """One thing that is wrong with one field of a request, in words that say what to do."""

    field: str
    message: str


class GoLiveError(Exception):
    """Base of all: `code` is stable and public, `detail` is a sentence for people."""

    code = "ERROR"

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail

    @property
    def public_detail(self) -> str:
        """`detail` for those who may not see names and reasons."""
        return self.detail


class RefusedError(GoLiveError):
    """A rule said no; nothing was changed, and asking again in the same way gives the same answer."""

    code = "REFUSED"


class PermissionRequiredError(RefusedError):
    """The actor lacks `permission` (for example `golive.release_kill_switch`)."""

    code = "PERMISSION_DENIED"

    def __init__(self, permission: str) -> None:
        super().__init__(f"This needs the permission {permission}.")
        self.permission = permission


class InvalidRequestError(RefusedError):
    """The request's content is refused; `errors` names each field and what to do."""

    code = "INVALID_REQUEST"

    def __init__(self, errors: Sequence[FieldError]) -> None:
        super().__init__("; ".join(f"{error.field}: {error.message}" for error in errors))
        self.errors = tuple(errors)


class ChecklistFailedError(RefusedError):
    """Required checks fail that no override names; `failed` holds them, empty where there is no check at all."""

    code = "CHECKLIST_FAILED"

    def __init__(self, failed: Sequence[CheckResult]) -> None:
        names = ", ".join(result.id for result in failed)
        what = f"The go-live checklist fails: {names}." if failed else "The go-live checklist has no required check."
        super().__init__(f"{what} Put {'these' if len(failed) > 1 else 'this'} right and try again.")
        self.failed = tuple(failed)


@dataclass(frozen=True)
class RecordedChange:
    """Who made a row what it is: `change` is the action of the event, for example `engage`."""

    actor: str
    at: datetime | None
    change: str
    reason: str


class RevisionMismatchError(RefusedError):
    """Somebody changed the row since the requester looked; `current` is the row as it is now.

    `changed_by`, `changed_at`, `change` and `reason` are as far as the record tells, else None. They and `detail` are
    for those who may see names and reasons; `public_detail` is for everybody.
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
    """Not a refusal: the system could not find out or could not do it. Asking again may work."""

    code = "UNAVAILABLE"

    def describe(self) -> str:
        """The code and all that is known, for the log and for whoever has a shell."""
        return f"{self.code}: {self.detail}"


class StateUnknownError(UnavailableError):
    """The two rows cannot be read, are missing, or hold values that mean nothing. Execution is not allowed.

    `detail` is for everybody; `cause`, where there is more to say, for the log and for whoever has a shell.
    """

    code = "STATE_UNKNOWN"

    def __init__(self, detail: str, *, cause: str | None = None) -> None:
        super().__init__(detail)
        self.cause = cause or detail

    def describe(self) -> str:
        return f"{self.code}: {self.cause}"


class NotAppliedError(UnavailableError):
    """The change was certainly not made. `detail` says why, and whether repeating it can help.

    `summary` and `advice` are for everybody: no role, no host, no words of the database. `holders` are the sessions in
    the way.
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
        """For somebody who may not see who does what."""
        holders = [holder.redacted() for holder in self.holders]
        return NotAppliedError(f"{self.summary}{self.advice}", summary=self.summary, holders=holders)


class OutcomeUnknownError(UnavailableError):
    """The connection was lost at COMMIT: the change may or may not stand. Repeating a toward-safe change is right."""

    code = "OUTCOME_UNKNOWN"

    def __init__(self, detail: str, *, cause: str | None = None) -> None:
        super().__init__(detail)
        self.cause = cause or ""

    def describe(self) -> str:
        return f"{self.code}: {self.detail}" + (f" The cause: {self.cause}." if self.cause else "")


class ExecutionDenied(GoLiveError):  # noqa: N818 - the name is the contract's
    """The guarded system may not execute now; `code` is that of the decision, STATE_UNKNOWN where nobody knows."""

    code = "STATE_UNKNOWN"

    def __init__(self, decision: Decision) -> None:
        super().__init__(decision.message)
        self.code = str(decision.code)
        self.decision = decision
