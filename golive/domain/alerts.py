"""Reads an Alertmanager message (webhook, version 4). Anything but a clear "resolved" counts as firing."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from golive.domain.reasons import MAX_REASON_LENGTH

RESOLVED = "resolved"
UNREADABLE = "An Alertmanager message could not be read."
UNNAMED = "An alert is firing that has neither summary nor name."
_MORE = "… and more alerts."
# Not strict: raw line breaks inside strings are accepted, as in every lenient reader here.
_DECODER = json.JSONDecoder(strict=False)
_SPACE = re.compile(r"[ \t\r\n]*")


@dataclass(frozen=True)
class Message:
    """`reason` None: nothing is firing. `is_readable` False: the message is unclear, which counts as firing."""

    firing: int
    resolved: int
    reason: str | None
    receiver: str | None = None
    is_readable: bool = True


def read_message(fields: Mapping[str, object], *, is_whole: bool = True) -> Message:
    """Read the fields of a message; never fails. Alertmanager may truncate `alerts`; `status` covers all of them.

    `is_whole` False: the fields come from a truncated body, so only `status` can say that all is well.
    """
    alerts, status = fields.get("alerts"), fields.get("status")
    receiver = fields.get("receiver")
    named = f"Alertmanager, receiver {receiver}" if isinstance(receiver, str) and receiver else "Alertmanager"
    if not isinstance(alerts, list):
        if status == RESOLVED:
            return Message(0, 0, None, named)
        return Message(0, 0, UNREADABLE, named, is_readable=False)
    firing = [alert for alert in alerts if _status_of(alert, status) != RESOLVED]
    resolved = len(alerts) - len(firing)
    if firing or status == "firing" or not (is_whole or status == RESOLVED):
        return Message(len(firing), resolved, _reason(firing, fields), named)
    return Message(0, resolved, None, named)


def read_cut_object(text: str) -> dict[str, object]:
    """The fields of a truncated JSON object: the complete ones, and the complete elements of a truncated list. Empty
    if it is no object or has a duplicate field. Never fails.
    """
    fields: dict[str, object] = {}
    try:
        position = _skip(text, 0, "{")
        while True:
            name, position = _DECODER.raw_decode(text, position)
            position = _skip(text, position, ":")
            if not isinstance(name, str) or name in fields:
                return {}
            if text.startswith("[", position):
                elements: list[object] = []
                fields[name] = elements
                position = _read_elements(text, position, elements)
            else:
                fields[name], position = _DECODER.raw_decode(text, position)
            position = _skip(text, position, ",")
    except (ValueError, RecursionError):
        return fields


def _read_elements(text: str, position: int, elements: list[object]) -> int:
    """Read a list into `elements`; returns the position after it. Raises ValueError if it is truncated."""
    position = _skip(text, position, "[")
    while not text.startswith("]", position):
        element, position = _DECODER.raw_decode(text, position)
        elements.append(element)
        position = _skip(text, position, "" if text.startswith("]", _skip(text, position, "")) else ",")
    return _skip(text, position, "]")


def _skip(text: str, position: int, sign: str) -> int:
    """The position after `sign` and the whitespace around it. Raises ValueError if `sign` is missing."""
    position = _end_of_space(text, position)
    if not text.startswith(sign, position):
        raise ValueError(f"no {sign} at {position}")
    return _end_of_space(text, position + len(sign))


def _end_of_space(text: str, position: int) -> int:
    match = _SPACE.match(text, position)
    return match.end() if match else position


def _status_of(alert: object, status: object) -> object:
    return alert.get("status", status) if isinstance(alert, Mapping) else status


def _reason(firing: Iterable[object], fields: Mapping[str, object]) -> str:
    """The distinct summaries, one per line, as many as fit."""
    summaries: list[str] = []
    size = 0
    distinct = dict.fromkeys(_summary(alert) for alert in firing) or {_common_summary(fields): None}
    for summary in distinct:
        if summaries and size + len(summary) + len(_MORE) >= MAX_REASON_LENGTH:
            summaries.append(_MORE)
            break
        summaries.append(summary)
        size += len(summary) + 1
    return "\n".join(summaries)


def _summary(alert: object) -> str:
    if not isinstance(alert, Mapping):
        return UNNAMED
    return _text(alert.get("annotations"), "summary", "description", "message") or _named(alert.get("labels"))


def _common_summary(fields: Mapping[str, object]) -> str:
    summary = _text(fields.get("commonAnnotations"), "summary", "description", "message")
    return summary or _named(fields.get("commonLabels"))


def _named(labels: object) -> str:
    name = _text(labels, "alertname")
    return f"The alert {name} is firing." if name else UNNAMED


def _text(values: object, *names: str) -> str | None:
    candidates = (values.get(name) for name in names) if isinstance(values, Mapping) else ()
    return next((value.strip() for value in candidates if isinstance(value, str) and value.strip()), None)
