from __future__ import annotations

import itertools
import unicodedata
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from golive.domain.changes import CHANGES, Direction
from golive.domain.errors import InvalidRequestError
from golive.domain.requests import COMMON_FIELDS, ChangeRequest, read_request

TOWARD_SAFE = tuple(name for name, change in CHANGES.items() if change.direction is Direction.SAFE)
CHECKS = ("backend_complete", "payments", "mail")
STRICT = tuple(name for name, change in CHANGES.items() if change.direction is not Direction.SAFE)

ANY_TEXT = st.text(st.characters(), max_size=30) | st.sampled_from(
    ["\x00", "x" * 1_001, "\x00" * 2_000, "\ud800", "\r\n", " " * 5_000, "ä" * 20_000, "a\x00" * 1_000]
)
ANY_NUMBER = st.integers() | st.floats() | st.sampled_from([10**400, -(10**400), 2**63, 2**64, -1, 0, 1])
ANY_JSON = st.recursive(
    st.none() | st.booleans() | ANY_NUMBER | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ANY_TEXT, inner, max_size=4),
    max_leaves=12,
)
ANY_FIELDS = st.dictionaries(
    st.sampled_from((*COMMON_FIELDS, "version", "notes", "unknown")) | ANY_TEXT, ANY_JSON, max_size=8
)


def _is_storable(text: str, limit: int) -> bool:
    is_clean = all(unicodedata.category(c) not in ("Cc", "Cs") or c in "\n\t" for c in text)
    return is_clean and len(text) <= limit and text == text.strip() and text == text.encode().decode()


def _check_storable(request: ChangeRequest) -> None:
    assert _is_storable(request.reason, 1_000)
    assert request.on_behalf_of is None or (request.on_behalf_of and _is_storable(request.on_behalf_of, 200))
    assert request.version is None or (request.version and _is_storable(request.version, 200))
    assert request.notes is None or _is_storable(request.notes, 10_000)
    assert type(request.override) is tuple
    assert set(request.override) <= set(CHECKS)
    assert len(request.override) == len(set(request.override))
    assert request.expected_revision is None or type(request.expected_revision) is int
    for remark in request.notes_on_request:
        remark.encode()


# -- toward safe -------------------------------------------------------------------------------------------------------


@given(name=st.sampled_from(TOWARD_SAFE), fields=ANY_FIELDS)
@example(name="engage", fields={"reason": 10**5_000})
@example(name="engage", fields={"changed_by": -(10**5_000)})
@example(name="reopen", fields={"\ud800": 1, "\x00": 2, "": 3})
def test_read_request__toward_safe_with_any_fields__is_never_refused_and_can_be_stored(
    name: str, fields: dict[str, Any]
) -> None:
    request = read_request(CHANGES[name], fields)

    _check_storable(request)
    assert request.override == ()
    assert request.expected_revision is None
    assert (request.version, request.notes) == (None, None)


@pytest.mark.parametrize("name", TOWARD_SAFE)
@pytest.mark.parametrize("field", ["reason", "changed_by"])
def test_read_request__toward_safe_with_a_value_nested_too_deep__is_not_refused(name: str, field: str) -> None:
    # As deep as a parser lets pass and `str` does not.
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]

    _check_storable(read_request(CHANGES[name], {field: value}))


@pytest.mark.parametrize("name", TOWARD_SAFE)
def test_read_request__toward_safe_with_good_fields__takes_them_without_remark(name: str) -> None:
    request = read_request(CHANGES[name], {"reason": " a leak ", "changed_by": " ann "})

    assert request == ChangeRequest(reason="a leak", on_behalf_of="ann")


@pytest.mark.parametrize("name", TOWARD_SAFE)
@pytest.mark.parametrize("fields", [{}, {"reason": None}, {"reason": ""}, {"reason": " ", "changed_by": " "}])
def test_read_request__toward_safe_with_no_reason__is_taken_without_remark(name: str, fields: dict[str, Any]) -> None:
    assert read_request(CHANGES[name], fields) == ChangeRequest(reason="")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"reason": "x" * 1_001}, ["reason", "cut to 1,000"]),
        ({"reason": "a\x00b"}, ["reason", "control characters"]),
        ({"reason": 5}, ["reason", "not a text"]),
        ({"reason": {"why": "leak"}}, ["reason", "not a text"]),
        ({"changed_by": "x" * 201}, ["changed_by", "cut to 200"]),
        ({"changed_by": ["ann"]}, ["changed_by", "not a text"]),
        ({"expected_revision": 3}, ["expected_revision", "ignored"]),
        ({"expected_revision": "x"}, ["expected_revision", "ignored"]),
        ({"override": True}, ["override", "ignored"]),
        ({"override": ["backend_complete"]}, ["override", "ignored"]),
        ({"override": "yes"}, ["override", "ignored"]),
        ({"version": "2"}, ["1 unknown field was ignored"]),
        ({"a": 1, "b": 2}, ["2 unknown fields were ignored"]),
    ],
)
def test_read_request__toward_safe_with_a_fault__says_what_was_done(fields: dict[str, Any], words: list[str]) -> None:
    request = read_request(CHANGES["engage"], fields)

    assert len(request.notes_on_request) == 1
    assert all(word in request.notes_on_request[0] for word in words)


def test_read_request__toward_safe_with_unknown_names__does_not_repeat_them() -> None:
    request = read_request(CHANGES["engage"], {"<script>": 1, "\ud800": 2})

    assert request.notes_on_request == ("2 unknown fields were ignored",)


def test_read_request__toward_safe_with_every_fault__has_a_remark_for_each() -> None:
    fields = {"reason": "\x00" + "x" * 2_000, "changed_by": 7, "expected_revision": 1, "override": True, "zzz": 0}

    request = read_request(CHANGES["disable"], fields)

    assert len(request.notes_on_request) == 6


# -- toward live and edit ----------------------------------------------------------------------------------------------

GOOD: dict[str, Any] = {
    "reason": "checked",
    "changed_by": "ann",
    "override": [],
    "expected_revision": 3,
    "version": "2.0.0",
    "notes": "new",
}
BAD: dict[str, tuple[Any, ...]] = {
    "reason": (5, True, ["x"], "x" * 1_001, "a\x00b", "a\rb", "\ud800"),
    "changed_by": (5, {}, "x" * 201, "a\x1bb"),
    "override": (True, "true", "*", 1, 0, "yes", "backend_complete", {}, {"backend_complete": True}, [True], [None]),
    "expected_revision": (0, -1, True, False, 1.0, "3", [], {}),
    "version": ("", "  ", 2, "x" * 201, "a\nb\x00"),
    "notes": (1, [], "x" * 10_001, "a\x00b"),
}


def _fields_of(name: str) -> tuple[str, ...]:
    return (*COMMON_FIELDS, *CHANGES[name].takes)


@pytest.mark.parametrize("name", STRICT)
def test_read_request__good_fields__are_taken(name: str) -> None:
    change = CHANGES[name]

    request = read_request(change, {field: GOOD[field] for field in _fields_of(name)})

    assert request == ChangeRequest(
        reason="checked",
        on_behalf_of="ann",
        expected_revision=3,
        version="2.0.0" if change.takes else None,
        notes="new" if change.takes else None,
    )


@pytest.mark.parametrize("name", STRICT)
def test_read_request__texts__are_stripped(name: str) -> None:
    fields = {field: f"  {GOOD[field]}\n" for field in ("reason", "changed_by", *CHANGES[name].takes)}

    request = read_request(CHANGES[name], fields)

    assert (request.reason, request.on_behalf_of) == ("checked", "ann")
    assert not CHANGES[name].takes or (request.version, request.notes) == ("2.0.0", "new")


@pytest.mark.parametrize(("name", "field"), [(name, field) for name in STRICT for field in _fields_of(name)])
def test_read_request__one_bad_field__is_refused_with_that_fault(name: str, field: str) -> None:
    for value in BAD[field]:
        with pytest.raises(InvalidRequestError) as caught:
            read_request(CHANGES[name], {"reason": "checked", field: value})

        assert [error.field for error in caught.value.errors] == [field]
        assert caught.value.errors[0].message
        assert caught.value.code == "INVALID_REQUEST"


@pytest.mark.parametrize("name", STRICT)
def test_read_request__every_combination_of_bad_fields__lists_every_fault(name: str) -> None:
    names = (*_fields_of(name), "unknown")
    bad = {field: values[0] for field, values in BAD.items()} | {"unknown": 1}

    for flags in itertools.product([False, True], repeat=len(names)):
        wrong = {field for field, flag in zip(names, flags, strict=True) if flag}
        if not wrong:
            continue
        fields = {field: bad[field] if field in wrong else GOOD[field] for field in names if field in {*wrong, *GOOD}}
        with pytest.raises(InvalidRequestError) as caught:
            read_request(CHANGES[name], fields)
        assert {error.field for error in caught.value.errors} == wrong


@pytest.mark.parametrize("name", STRICT)
@pytest.mark.parametrize("value", [None, "", "   ", "\n"])
def test_read_request__no_reason__is_refused_where_one_is_required(name: str, value: str | None) -> None:
    for fields in ({"reason": value}, {}):
        if not CHANGES[name].is_reason_required:
            assert read_request(CHANGES[name], fields).reason == ""
            continue
        with pytest.raises(InvalidRequestError) as caught:
            read_request(CHANGES[name], fields)
        assert [error.field for error in caught.value.errors] == ["reason"]


@pytest.mark.parametrize("name", STRICT)
def test_read_request__several_unknown_fields__names_each(name: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        read_request(CHANGES[name], {"reason": "checked", "colour": 1, "size": 2, "\ud800bad\x00": 3})

    assert [error.field for error in caught.value.errors] == ["colour", "size", "bad"]
    assert all("unknown" in error.message for error in caught.value.errors)


@pytest.mark.parametrize("name", ["release", "enable"])
@pytest.mark.parametrize("field", ["version", "notes"])
def test_read_request__version_or_notes_with_a_switch__is_unknown(name: str, field: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        read_request(CHANGES[name], {"reason": "checked", field: "x"})

    assert [error.field for error in caught.value.errors] == [field]


@pytest.mark.parametrize("name", STRICT)
def test_read_request__override__counts_only_where_there_is_a_guard(name: str) -> None:
    request = read_request(CHANGES[name], {"reason": "checked", "override": ["mail"]}, checks=CHECKS)

    assert request.override == (("mail",) if name in ("release", "enable") else ())


@pytest.mark.parametrize("value", [None, False, []])
def test_read_request__override_of_nothing__is_none(value: object) -> None:
    assert read_request(CHANGES["release"], {"reason": "checked", "override": value}, checks=CHECKS).override == ()


def test_read_request__override_with_repetitions__names_each_once() -> None:
    fields = {"reason": "checked", "override": ["mail", "payments", "mail"]}

    assert read_request(CHANGES["release"], fields, checks=CHECKS).override == ("mail", "payments")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (True, "must be a list"),
        ("*", "must be a list"),
        (["*"], "an unknown checklist item: *;"),
        (["mail", "all"], "an unknown checklist item: all;"),
        (["mail "], "an unknown checklist item: mail;"),
        (["MAIL"], "an unknown checklist item: MAIL;"),
        ([""], "an unknown checklist item: ;"),
        (["\x1b[31m"], "an unknown checklist item: [31m;"),
        (["\ud800"], "an unknown checklist item: ;"),
        (["mail", 1], "must be a list"),
        ([["mail"]], "must be a list"),
        (["mail"] * 101, "names 101 items; at most 100"),
    ],
    ids=repr,
)
def test_read_request__override_that_names_no_items__is_refused_and_says_what_there_is(
    value: object, words: str
) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        read_request(CHANGES["release"], {"reason": "checked", "override": value}, checks=CHECKS)

    (fault,) = caught.value.errors
    assert fault.field == "override"
    assert words in fault.message
    assert "the items are backend_complete, payments, mail" in fault.message


@given(value=ANY_JSON | st.lists(st.sampled_from(CHECKS) | ANY_TEXT, max_size=4))
def test_read_request__any_override__names_only_items_that_there_are_or_is_refused(value: object) -> None:
    fields = {"reason": "checked", "override": value}
    is_good = value is None or value is False or (isinstance(value, list) and all(item in CHECKS for item in value))

    if is_good:
        request = read_request(CHANGES["release"], fields, checks=CHECKS)
        assert set(request.override) == set(value if isinstance(value, list) else ())
        return
    with pytest.raises(InvalidRequestError) as caught:
        read_request(CHANGES["release"], fields, checks=CHECKS)
    assert [fault.field for fault in caught.value.errors] == ["override"]


@pytest.mark.parametrize("revision", [1, 2, 2**63, 10**30])
def test_read_request__a_revision_of_any_size__is_taken(revision: int) -> None:
    request = read_request(CHANGES["release"], {"reason": "checked", "expected_revision": revision})

    assert request.expected_revision == revision


def test_read_request__empty_notes__are_told_from_none() -> None:
    assert read_request(CHANGES["edit"], {"notes": ""}).notes == ""
    assert read_request(CHANGES["edit"], {"notes": None}).notes is None
    assert read_request(CHANGES["edit"], {}).notes is None


@given(name=st.sampled_from(STRICT), fields=ANY_FIELDS)
def test_read_request__strict_with_any_fields__is_refused_in_words_or_can_be_stored(
    name: str, fields: dict[str, Any]
) -> None:
    try:
        request = read_request(CHANGES[name], fields)
    except InvalidRequestError as error:
        refusal = error
    else:
        _check_storable(request)
        assert request.reason or not CHANGES[name].is_reason_required
        assert request.notes_on_request == ()
        return

    assert refusal.errors
    assert all(error.message for error in refusal.errors)
    refusal.detail.encode()
