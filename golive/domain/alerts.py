"""What an Alertmanager message (webhook, version 4) asks for. Anything but a clear "resolved" counts as an alarm."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from golive.domain.reasons import REASON_LIMIT

RESOLVED = "resolved"
UNREADABLE = "An Alertmanager message came that cannot be read."
UNNAMED = "An alert is firing that has neither summary nor name."
_MORE = "… and more alerts."


@dataclass(frozen=True)
class Message:
    """`reason` None: nothing is firing. `is_readable` False: it could not be told, which counts as firing."""

    firing: int
    resolved: int
    reason: str | None
    receiver: str | None = None
    is_readable: bool = True


def read_message(fields: Mapping[str, object]) -> Message:
    """Read the fields of a message; never fails. `alerts` may have been cut by Alertmanager, `status` covers all."""
    alerts, status = fields.get("alerts"), fields.get("status")
    receiver = fields.get("receiver")
    named = f"Alertmanager, receiver {receiver}" if isinstance(receiver, str) and receiver else "Alertmanager"
    if not isinstance(alerts, list):
        if status == RESOLVED:
            return Message(0, 0, None, named)
        return Message(0, 0, UNREADABLE, named, is_readable=False)
    firing = [alert for alert in alerts if _status_of(alert, status) != RESOLVED]
    resolved = len(alerts) - len(firing)
    if firing or status == "firing":
        return Message(len(firing), resolved, _reason(firing, fields), named)
    return Message(0, resolved, None, named)


def _status_of(alert: object, status: object) -> object:
    return alert.get("status", status) if isinstance(alert, Mapping) else status


def _reason(firing: Iterable[object], fields: Mapping[str, object]) -> str:
    """The different summaries, one a line, as many as fit."""
    told: list[str] = []
    size = 0
    found = dict.fromkeys(_summary(alert) for alert in firing) or {_common_summary(fields): None}
    for summary in found:
        if told and size + len(summary) + len(_MORE) >= REASON_LIMIT:
            told.append(_MORE)
            break
        told.append(summary)
        size += len(summary) + 1
    return "\n".join(told)


def _summary(alert: object) -> str:
    if not isinstance(alert, Mapping):
        return UNNAMED
    return _text(alert.get("annotations"), "summary", "description", "message") or _named(alert.get("labels"))


def _common_summary(fields: Mapping[str, object]) -> str:
    told = _text(fields.get("commonAnnotations"), "summary", "description", "message")
    return told or _named(fields.get("commonLabels"))


def _named(labels: object) -> str:
    name = _text(labels, "alertname")
    return f"The alert {name} is firing." if name else UNNAMED


def _text(values: object, *names: str) -> str | None:
    found = (values.get(name) for name in names) if isinstance(values, Mapping) else ()
    return next((value.strip() for value in found if isinstance(value, str) and value.strip()), None)
