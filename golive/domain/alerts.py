"""What an Alertmanager message (webhook, version 4) asks for. Anything but a clear "resolved" counts as an alarm."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from golive.domain.reasons import REASON_LIMIT

RESOLVED = "resolved"
UNREADABLE = "An Alertmanager message came that cannot be read."
UNNAMED = "An alert is firing that has neither summary nor name."
_MORE = "… and more alerts."
# Line breaks as they are in a text, as elsewhere for what is read leniently.
_DECODER = json.JSONDecoder(strict=False)
_SPACE = re.compile(r"[ \t\r\n]*")


@dataclass(frozen=True)
class Message:
    """`reason` None: nothing is firing. `is_readable` False: it could not be told, which counts as firing."""

    firing: int
    resolved: int
    reason: str | None
    receiver: str | None = None
    is_readable: bool = True


def read_message(fields: Mapping[str, object], *, is_whole: bool = True) -> Message:
    """Read the fields of a message; never fails. `alerts` may have been cut by Alertmanager, `status` covers all.

    `is_whole` False: the fields are those of the beginning only, so that nothing but `status` can say that all is well.
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
    """The fields of a JSON object of which only the beginning is there: those that are whole, and the whole elements of
    a list that is cut. Empty if it is no object, or names a field twice. Never fails.
    """
    fields: dict[str, object] = {}
    try:
        place = _skip(text, 0, "{")
        while True:
            name, place = _DECODER.raw_decode(text, place)
            place = _skip(text, place, ":")
            if not isinstance(name, str) or name in fields:
                return {}
            if text.startswith("[", place):
                elements: list[object] = []
                fields[name] = elements
                place = _read_elements(text, place, elements)
            else:
                fields[name], place = _DECODER.raw_decode(text, place)
            place = _skip(text, place, ",")
    except (ValueError, RecursionError):
        return fields


def _read_elements(text: str, place: int, elements: list[object]) -> int:
    """Read a list into `elements`; the place after it. Raises ValueError where it is cut."""
    place = _skip(text, place, "[")
    while not text.startswith("]", place):
        element, place = _DECODER.raw_decode(text, place)
        elements.append(element)
        place = _skip(text, place, "" if text.startswith("]", _skip(text, place, "")) else ",")
    return _skip(text, place, "]")


def _skip(text: str, place: int, sign: str) -> int:
    """The place of what follows `sign` and the space around it. Raises ValueError if it is not there."""
    place = _end_of_space(text, place)
    if not text.startswith(sign, place):
        raise ValueError(f"no {sign} at {place}")
    return _end_of_space(text, place + len(sign))


def _end_of_space(text: str, place: int) -> int:
    found = _SPACE.match(text, place)
    return found.end() if found else place


def _status_of(alert: object, status: object) -> object:
    return alert.get("status", status) if isinstance(alert, Mapping) else status


def _reason(firing: Iterable[object], fields: Mapping[str, object]) -> str:
    """The different summaries, one a line, as many as fit."""
    summaries: list[str] = []
    size = 0
    found = dict.fromkeys(_summary(alert) for alert in firing) or {_common_summary(fields): None}
    for summary in found:
        if summaries and size + len(summary) + len(_MORE) >= REASON_LIMIT:
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
    found = (values.get(name) for name in names) if isinstance(values, Mapping) else ()
    return next((value.strip() for value in found if isinstance(value, str) and value.strip()), None)
