"""Reads the fields of a request for a change: strict toward live, lenient toward safe."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from golive.domain.changes import Change, Direction
from golive.domain.errors import FieldError, InvalidRequestError
from golive.domain.reasons import MAX_NAME_LENGTH, MAX_NOTES_LENGTH, MAX_REASON_LENGTH, clean_text, find_fault
from golive.domain.rows import MAX_LEASE_MS

COMMON_FIELDS = ("reason", "changed_by", "override", "expected_revision")
# More ids than any checklist has.
MAX_OVERRIDES = 100
_LIMITS = {
    "reason": MAX_REASON_LENGTH,
    "changed_by": MAX_NAME_LENGTH,
    "version": MAX_NAME_LENGTH,
    "notes": MAX_NOTES_LENGTH,
}


@dataclass(frozen=True)
class ChangeRequest:
    """A request, parsed and cleaned. `version` and `notes` None: leave unchanged; `notes` empty: clear.

    `override` holds the ids of the checklist items that may fail. `notes_on_request` lists, for a toward-safe request,
    what was ignored or cleaned.
    """

    reason: str
    on_behalf_of: str | None = None
    override: tuple[str, ...] = ()
    expected_revision: int | None = None
    version: str | None = None
    notes: str | None = None
    lease_ms: int | None = None
    notes_on_request: tuple[str, ...] = ()


def read_request(change: Change, fields: Mapping[str, object], *, checks: Collection[str] = ()) -> ChangeRequest:
    """Parse raw fields. Toward safe nothing is refused; otherwise raises InvalidRequestError with every error.

    `checks` are the ids that an override may name.
    """
    if change.direction is Direction.SAFE:
        return _read_leniently(fields)
    return _read_strictly(change, fields, checks)


def _read_leniently(fields: Mapping[str, object]) -> ChangeRequest:
    remarks: list[str] = []
    texts: dict[str, str] = {}
    for name in ("reason", "changed_by"):
        texts[name], notes = clean_text(fields.get(name), limit=_LIMITS[name])
        remarks += [f"{name} {note}" for note in notes]
    # `expected_revision` and `override` apply toward live only: a stop never depends on them.
    for name in ("expected_revision", "override"):
        if fields.get(name) not in (None, False):
            remarks.append(f"{name} does not apply to a change toward safe and was ignored")
    unknown = sum(1 for name in fields if name not in COMMON_FIELDS)
    if unknown:
        remarks.append(f"{unknown} unknown field{'s were' if unknown > 1 else ' was'} ignored")
    return ChangeRequest(
        reason=texts["reason"], on_behalf_of=texts["changed_by"] or None, notes_on_request=tuple(remarks)
    )


def _read_strictly(change: Change, fields: Mapping[str, object], checks: Collection[str]) -> ChangeRequest:
    errors: list[FieldError] = []
    known = (*COMMON_FIELDS, *change.takes)
    for name in fields:
        if name not in known:
            # Cleaned before it is echoed: the name is untrusted input.
            errors.append(FieldError(clean_text(name, limit=MAX_NAME_LENGTH)[0], "is unknown; remove it"))
    request = ChangeRequest(reason="")
    for name in ("reason", "changed_by", *(name for name in change.takes if name in _LIMITS)):
        value = fields.get(name)
        required = name == "reason" and change.is_reason_required
        fault = find_fault(value, limit=_LIMITS[name], required=required)
        if name == "version" and isinstance(value, str) and not value.strip():
            fault = "must not be empty; leave it out to keep the version"
        if fault is not None:
            errors.append(FieldError(name, fault))
        elif isinstance(value, str):
            request = _with_text(request, name, value.strip())
    lease_ms = _read_lease(fields, errors) if "lease_ms" in change.takes else None
    override, revision = _read_override(fields.get("override"), checks, errors), fields.get("expected_revision")
    if revision is not None and (isinstance(revision, bool) or not isinstance(revision, int) or revision < 1):
        errors.append(FieldError("expected_revision", "must be a whole number from 1"))
    if errors:
        raise InvalidRequestError(errors)
    return replace(
        request,
        override=override if change.is_guarded else (),
        expected_revision=revision if isinstance(revision, int) else None,
        lease_ms=lease_ms,
    )


def _read_override(value: object, checks: Collection[str], errors: list[FieldError]) -> tuple[str, ...]:
    """The ids without duplicates. There is no value for "all": an override covers only failures that were seen."""
    # False meant "no override" when it was a boolean.
    if value is None or value is False:
        return ()
    fault = None
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
        fault = "must be a list of ids of checklist items"
    elif len(value) > MAX_OVERRIDES:
        fault = f"names {len(value):,} items; at most {MAX_OVERRIDES} are allowed"
    elif unknown := [item for item in value if item not in checks]:
        # Cleaned before it is echoed: the id is untrusted input.
        fault = f"names an unknown checklist item: {clean_text(unknown[0], limit=MAX_NAME_LENGTH)[0]}"
    if fault is None:
        return tuple(dict.fromkeys(value))  # type: ignore[call-overload]  # a list of texts, as checked above
    errors.append(FieldError("override", f"{fault}; the items are {', '.join(checks)}" if checks else fault))
    return ()


def _read_lease(fields: Mapping[str, object], errors: list[FieldError]) -> int | None:
    value = fields.get("lease_ms")
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_LEASE_MS:
        return value
    errors.append(FieldError("lease_ms", f"must be a whole number of milliseconds from 0 to {MAX_LEASE_MS}"))
    return None


def _with_text(request: ChangeRequest, name: str, text: str) -> ChangeRequest:
    if name == "reason":
        return replace(request, reason=text)
    if name == "changed_by":
        return replace(request, on_behalf_of=text or None)
    if name == "version":
        return replace(request, version=text)
    return replace(request, notes=text)
