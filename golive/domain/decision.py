"""The decision: may the guarded system execute for real?"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from golive.domain.rows import GoLiveRow


class Code(StrEnum):
    """Why execution is or is not allowed, most severe first."""

    STATE_UNKNOWN = "STATE_UNKNOWN"
    KILL_SWITCH_ENGAGED = "KILL_SWITCH_ENGAGED"
    GO_LIVE_DISABLED = "GO_LIVE_DISABLED"
    ALLOWED = "ALLOWED"


MESSAGES: dict[Code, str] = {
    Code.STATE_UNKNOWN: "The go-live state cannot be known. Execution is not allowed.",
    Code.KILL_SWITCH_ENGAGED: "The kill switch is engaged. Execution is not allowed.",
    Code.GO_LIVE_DISABLED: "Go-live is disabled. Execution is not allowed.",
    Code.ALLOWED: "Execution is allowed.",
}


@dataclass(frozen=True)
class Decision:
    """The decision that every consumer acts on: `allowed` only with `Code.ALLOWED`."""

    code: Code

    @property
    def allowed(self) -> bool:
        return self.code is Code.ALLOWED

    @property
    def message(self) -> str:
        return MESSAGES[self.code]


def decide(row: GoLiveRow | None) -> Decision:
    """Decide from the row of `go_live_state`; None means that the row is unknown.

    Tests identity with True and False, not truthiness: a value of another type (a string, 1, a database default that
    was never loaded) is unknown, and unknown is closed.
    """
    switches: tuple[object, ...] = () if row is None else (row.kill_switch_engaged, row.go_live_enabled)
    if row is None or not all(isinstance(switch, bool) for switch in switches):
        return Decision(Code.STATE_UNKNOWN)
    if row.kill_switch_engaged is not False:
        return Decision(Code.KILL_SWITCH_ENGAGED)
    if row.go_live_enabled is not True:
        return Decision(Code.GO_LIVE_DISABLED)
    return Decision(Code.ALLOWED)
