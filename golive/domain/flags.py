"""The state as feature flags, for programs that speak OpenFeature."""

from __future__ import annotations

from dataclasses import dataclass

from golive.domain.decision import Code, decide
from golive.domain.rows import GoLiveRow, SystemRow

# Each flag, with what it says while its row is not known. Whether execution is stopped is then: yes.
SAFE_VALUES: dict[str, bool] = {
    "execution-allowed": False,
    "go-live-enabled": False,
    "kill-switch-engaged": True,
    "backend-complete": False,
}


@dataclass(frozen=True)
class Evaluation:
    """What a flag says. `code` is why (None where there is nothing to tell), `revision` that of the row behind it.

    `lease_ms`, in milliseconds, is how old the state may be in an answer; None while it is not known.
    """

    key: str
    value: bool
    code: Code | None
    revision: int | None
    lease_ms: int | None = None

    @property
    def is_known(self) -> bool:
        """False: the value is the safe one, and says nothing about the row."""
        return self.code is not Code.STATE_UNKNOWN


def evaluate_flags(go_live: GoLiveRow | None, system: SystemRow | None) -> tuple[Evaluation, ...]:
    """Every flag, from the rows; None for one that is not known."""
    code = decide(go_live).code
    found: dict[str, Evaluation] = {}
    lease_ms = None
    if go_live is not None and code is not Code.STATE_UNKNOWN:
        lease_ms = go_live.lease_ms
        values = {
            "execution-allowed": code is Code.ALLOWED,
            "go-live-enabled": go_live.go_live_enabled,
            "kill-switch-engaged": go_live.kill_switch_engaged,
        }
        found = {key: Evaluation(key, value, code, go_live.revision, lease_ms) for key, value in values.items()}
    if system is not None:
        key = "backend-complete"
        found[key] = Evaluation(key, system.backend_complete, None, system.revision, lease_ms)
    unknown = (Evaluation(key, safe, Code.STATE_UNKNOWN, None) for key, safe in SAFE_VALUES.items())
    return tuple(found.get(safe.key, safe) for safe in unknown)
