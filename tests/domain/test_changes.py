from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from golive.domain.changes import (
    ALL_PERMISSIONS,
    CHANGES,
    OVERRIDE_PERMISSION,
    Change,
    Direction,
    can_apply,
    check_can_apply,
)
from golive.domain.errors import PermissionRequiredError, RefusedError

# The contract, line by line: change, path, permission, reason required, guard, and what may come with it. Written out
# here once more, so that no edit of the table in the code goes unnoticed.
CONTRACT = """
engage   POST  /api/governance/go-live/kill-switch/engage  golive.engage_kill_switch  -        -         -
disable  POST  /api/governance/go-live/disable             golive.disable_go_live     -        -         -
reopen   POST  /api/system/status/reopen                   golive.complete_backend    -        -         -
release  POST  /api/governance/go-live/kill-switch/release golive.release_kill_switch required checklist -
enable   POST  /api/governance/go-live/enable              golive.enable_go_live      required checklist -
complete POST  /api/system/status/complete                 golive.complete_backend    required -         version,notes
edit     PATCH /api/system/status                          golive.complete_backend    -        -         version,notes
"""
DIRECTIONS = {
    "engage": Direction.SAFE,
    "disable": Direction.SAFE,
    "reopen": Direction.SAFE,
    "release": Direction.LIVE,
    "enable": Direction.LIVE,
    "complete": Direction.LIVE,
    "edit": Direction.NEUTRAL,
}
SUBJECTS = {
    "engage": "go_live_state",
    "disable": "go_live_state",
    "release": "go_live_state",
    "enable": "go_live_state",
    "reopen": "system_metadata",
    "complete": "system_metadata",
    "edit": "system_metadata",
}
PERMISSIONS = sorted(
    [
        "golive.engage_kill_switch",
        "golive.disable_go_live",
        "golive.release_kill_switch",
        "golive.enable_go_live",
        "golive.complete_backend",
        "golive.override_checklist",
    ]
)


def _all_subsets() -> Iterator[frozenset[str]]:
    for size in range(len(PERMISSIONS) + 1):
        for subset in itertools.combinations(PERMISSIONS, size):
            yield frozenset(subset)


def _line(change: Change) -> list[str]:
    return [
        change.name,
        change.method,
        change.path,
        change.permission,
        "required" if change.is_reason_required else "-",
        "checklist" if change.is_guarded else "-",
        ",".join(change.takes) or "-",
    ]


def test_changes__the_table__equals_the_contract_line_by_line() -> None:
    assert [_line(change) for change in CHANGES.values()] == [line.split() for line in CONTRACT.strip().splitlines()]


def test_changes__names__are_the_keys() -> None:
    assert {name: change.name for name, change in CHANGES.items()} == {name: name for name in DIRECTIONS}


def test_changes__directions_and_subjects__are_those_of_the_contract() -> None:
    assert {change.name: change.direction for change in CHANGES.values()} == DIRECTIONS
    assert {change.name: change.subject for change in CHANGES.values()} == SUBJECTS


def test_changes__toward_safe__has_neither_guard_nor_required_reason_nor_extra_fields() -> None:
    safe = [change for change in CHANGES.values() if change.direction is Direction.SAFE]

    assert [(change.is_guarded, change.is_reason_required, change.takes) for change in safe] == [(False, False, ())] * 3


def test_changes__toward_live__always_asks_for_a_reason() -> None:
    assert all(change.is_reason_required for change in CHANGES.values() if change.direction is Direction.LIVE)


def test_changes__methods_and_paths__are_unique() -> None:
    assert len({(change.method, change.path) for change in CHANGES.values()}) == len(CHANGES)


def test_changes__each__has_words_for_people() -> None:
    assert all(change.label and change.consequence.endswith(".") for change in CHANGES.values())


def test_permissions__all__are_those_of_the_contract() -> None:
    assert sorted(ALL_PERMISSIONS) == PERMISSIONS
    assert OVERRIDE_PERMISSION == "golive.override_checklist"


@pytest.mark.parametrize("name", CHANGES)
def test_can_apply__every_set_of_permissions__asks_for_the_change_s_own_and_for_override_its_own(name: str) -> None:
    change = CHANGES[name]
    is_overridable = name in ("release", "enable")

    for held in _all_subsets():
        own = change.permission in held
        assert can_apply(change, held) is own
        expected = own and (not is_overridable or "golive.override_checklist" in held)
        assert can_apply(change, held, override=True) is expected


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("override", [False, True])
def test_check_can_apply__every_set_of_permissions__agrees_with_can_apply_and_names_what_is_missing(
    name: str, override: bool
) -> None:
    change = CHANGES[name]

    for held in _all_subsets():
        if can_apply(change, held, override=override):
            check_can_apply(change, held, override=override)
            continue
        with pytest.raises(PermissionRequiredError) as caught:
            check_can_apply(change, held, override=override)
        assert caught.value.permission not in held
        assert caught.value.permission in (change.permission, OVERRIDE_PERMISSION)
        assert caught.value.permission in caught.value.detail
        # The one that is needed in any case is named first.
        assert caught.value.permission == change.permission or change.permission in held


def test_check_can_apply__refusal__has_the_stable_code() -> None:
    with pytest.raises(RefusedError) as caught:
        check_can_apply(CHANGES["engage"], frozenset())

    assert caught.value.code == "PERMISSION_DENIED"


@pytest.mark.parametrize("lookalike", ["engage_kill_switch", "golive.engage_kill_switc", "*", "golive.*"])
def test_can_apply__a_permission_that_looks_alike__is_not_it(lookalike: str) -> None:
    assert can_apply(CHANGES["engage"], {lookalike}) is False
