"""The state as feature flags, for programs that speak OpenFeature."""

from __future__ import annotations

from dataclasses import dataclass

from golive.domain.decision import Code, decide
from golive.domain.rows import GoLiveRow, SystemRow

# Each flag with its value while its row is unknown: execution counts as stopped.
SAFE_VALUES: dict[str, bool] = {
    "execution-allowed": False,
    "go-live-enabled": False,
    "kill-switch-engaged": True,
    "backend-complete": False,
}


@dataclass(frozen=True)
class Evaluation:
    """The value of a flag. `code` is why (None if there is no reason to give), `revision` that of the row behind it.

    `lease_ms`, in milliseconds, is how old the state in a response may be; None while unknown.
    """

    key: str
    value: bool
    code: Code | None
    revision: int | None
    lease_ms: int | None = None

    @property
    def is_known(self) -> bool:
        """False: the value is the safe default, and says nothing about the row."""
        return self.code is not Code.STATE_UNKNOWN


def evaluate_flags(go_live: GoLiveRow | None, system: SystemRow | None) -> tuple[Evaluation, ...]:
    """Every flag, from the rows; None for a row that is unknown."""
    code = decide(go_live).code
    known: dict[str, Evaluation] = {}
    lease_ms = None
    if go_live is not None and code is not Code.STATE_UNKNOWN:
        lease_ms = go_live.lease_ms
        values = {
            "execution-allowed": code is Code.ALLOWED,
            "go-live-enabled": go_live.go_live_enabled,
            "kill-switch-engaged": go_live.kill_switch_engaged,
        }
        known = {key: Evaluation(key, value, code, go_live.revision, lease_ms) for key, value in values.items()}
    if system is not None:
        key = "backend-complete"
        known[key] = Evaluation(key, system.backend_complete, None, system.revision, lease_ms)
    defaults = (Evaluation(key, safe, Code.STATE_UNKNOWN, None) for key, safe in SAFE_VALUES.items())
    return tuple(known.get(default.key, default) for default in defaults)
