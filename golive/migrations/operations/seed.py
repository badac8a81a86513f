"""Create row 1 of both tables and the first events. Frozen as of this migration: a migration must keep doing the same
when the app changes. A test checks the hash against that of `golive.domain.chain`.
"""

import hashlib
import json
from datetime import UTC, datetime
from typing import Any

from django.conf import settings

ACTOR = "migrate"
_GO_LIVE = ("go_live_enabled", "kill_switch_engaged", "changed_by", "reason", "updated_at", "revision", "lease_ms")
_SYSTEM = ("version", "backend_complete", "notes", "updated_at", "completed_at", "revision")
_SUBJECTS = (("SystemMetadata", "system_metadata", _SYSTEM), ("GoLiveState", "go_live_state", _GO_LIVE))


def seed(apps: Any, schema_editor: Any) -> None:
    """Create each missing row with its safe defaults; an existing row is left as it is. Record both as events."""
    alias = schema_editor.connection.alias
    event_model = apps.get_model("golive", "Event")
    newest = event_model.objects.using(alias).order_by("-sequence").first()
    sequence, head = (newest.sequence, newest.hash) if newest else (0, None)
    for model_name, table, columns in _SUBJECTS:
        row, created = apps.get_model("golive", model_name).objects.using(alias).get_or_create(id=1)
        if newest is not None and not created:
            continue  # migrated back and forward again: the row already has its first event
        sequence += 1
        event = _make_event(sequence, head, table, "seed" if created else "adopt", _record(row, columns))
        head = event["hash"]
        at = datetime.fromisoformat(event["at"])
        if not settings.USE_TZ and schema_editor.connection.vendor == "sqlite":
            at = at.replace(tzinfo=None)  # naive UTC, as every project stores it
        event_model.objects.using(alias).create(**{**event, "at": at})
    apps.get_model("golive", "GoLiveState").objects.using(alias).filter(id=1).update(event_head=head)


def _record(row: Any, columns: tuple[str, ...]) -> dict[str, Any]:
    values = {name: getattr(row, name) for name in columns}
    return {name: _format_time(value) if isinstance(value, datetime) else value for name, value in values.items()}


def _format_time(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _make_event(sequence: int, head: str | None, table: str, action: str, after: dict[str, Any]) -> dict[str, Any]:
    event = {
        "sequence": sequence,
        "at": _format_time(datetime.now(UTC)),
        "actor": ACTOR,
        "user_id": None,
        "on_behalf_of": None,
        "channel": "migration",
        "subject": table,
        "action": action,
        "reason": "",
        "changed": action == "seed",
        "override": False,
        "before": None,
        "after": after,
        "failed_checks": None,
        "request_id": None,
        "remote_addr": None,
        "hash_version": 1,
        "previous_hash": head,
    }
    canonical = json.dumps(event, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return {**event, "hash": hashlib.sha256(canonical.encode()).hexdigest()}
