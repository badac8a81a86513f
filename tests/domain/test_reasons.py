from __future__ import annotations

import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from golive.domain.reasons import MAX_REASON_LENGTH, clean_text, find_fault

# Every character, lone surrogates and NUL among them.
ANY_TEXT = st.text(st.characters())


def _is_control(character: str) -> bool:
    return unicodedata.category(character) in ("Cc", "Cs") and character not in "\n\t"


def test_reason_limit__is_that_of_the_contract() -> None:
    assert MAX_REASON_LENGTH == 1_000


@pytest.mark.parametrize("text", ["x", "x" * 1_000, "  " + "x" * 1_000 + "\n\n", "a\nb\tc", "Grüße 🛑 停止", "👩‍🚒"])
def test_find_fault__a_good_reason__is_none(text: str) -> None:
    assert find_fault(text, limit=MAX_REASON_LENGTH, required=True) is None


@pytest.mark.parametrize("value", [None, "", " ", "\n\t ", "\u2003"])
def test_find_fault__nothing_said__is_a_fault_only_if_required(value: str | None) -> None:
    assert "is required" in (find_fault(value, limit=MAX_REASON_LENGTH, required=True) or "")
    assert find_fault(value, limit=MAX_REASON_LENGTH, required=False) is None


@pytest.mark.parametrize("value", [0, 1, True, False, 1.5, [], ["x"], {}, {"a": 1}, b"x"], ids=repr)
@pytest.mark.parametrize("required", [True, False])
def test_find_fault__not_a_text__is_a_fault(value: Any, required: bool) -> None:
    assert find_fault(value, limit=MAX_REASON_LENGTH, required=required) == "must be a text"


def test_find_fault__one_character_too_many__is_a_fault_with_both_numbers() -> None:
    fault = find_fault("x" * 1_001, limit=MAX_REASON_LENGTH, required=True)

    assert fault is not None
    assert "1,001" in fault
    assert "1,000" in fault


def test_find_fault__characters_beyond_the_basic_plane__count_as_one_each() -> None:
    assert find_fault("🛑" * 1_000, limit=MAX_REASON_LENGTH, required=True) is None
    assert find_fault("🛑" * 1_001, limit=MAX_REASON_LENGTH, required=True) is not None


def test_find_fault__every_character__refuses_the_controls_but_newline_and_tab_and_nothing_else() -> None:
    characters = [chr(number) for number in range(0x3000)] + [chr(number) for number in range(0xD7F0, 0xE010)]

    refused = {c for c in characters if find_fault(f"a{c}b", limit=MAX_REASON_LENGTH, required=True) is not None}

    assert refused == {c for c in characters if _is_control(c)}
    assert {"\x00", "\x07", "\x1b", "\r", "\x7f", "\x85", "\ud800"} <= refused
    assert not {"\n", "\t", " ", "\u00ad", "\u200d"} & refused


@given(st.text(st.characters(), max_size=40), st.booleans())
def test_find_fault__what_it_lets_pass__can_be_stored(text: str, required: bool) -> None:
    if find_fault(text, limit=30, required=required) is None:
        stored = text.strip()
        assert len(stored) <= 30
        assert stored or not required
        assert not any(_is_control(character) for character in stored)
        stored.encode()


@pytest.mark.parametrize(
    ("value", "text", "remark"),
    [
        ("plain", "plain", None),
        ("  plain \n", "plain", None),
        (None, "", None),
        ("", "", None),
        ("a\nb\tc", "a\nb\tc", None),
        ("a\x00b", "ab", "control characters"),
        ("a\r\nb", "a\nb", "control characters"),
        ("\ud800x", "x", "control characters"),
        ("\x00", "", "control characters"),
        ("x" * 31, "x" * 30, "cut to 30"),
        (17, "17", "not a text"),
        (True, "True", "not a text"),
        (["a"], "['a']", "not a text"),
        ({"a": None}, "{'a': None}", "not a text"),
        (float("nan"), "nan", "not a text"),
    ],
)
def test_clean_text__each_value__is_made_storable_and_says_what_was_done(
    value: Any, text: str, remark: str | None
) -> None:
    cleaned, remarks = clean_text(value, limit=30)

    assert cleaned == text
    assert len(remarks) == (0 if remark is None else 1)
    assert remark is None or remark in remarks[0]


def test_clean_text__everything_at_once__has_a_remark_for_each() -> None:
    cleaned, remarks = clean_text(["\x00" * 3, "x" * 50], limit=30)

    assert len(cleaned) <= 30
    assert len(remarks) == 2


@given(ANY_TEXT, st.integers(min_value=1, max_value=20))
def test_clean_text__any_text__comes_out_clean_and_cleaning_again_changes_nothing(text: str, limit: int) -> None:
    cleaned, remarks = clean_text(text, limit=limit)

    assert find_fault(cleaned, limit=limit, required=False) is None
    assert cleaned == cleaned.strip()
    assert clean_text(cleaned, limit=limit) == (cleaned, ())
    assert bool(remarks) or cleaned == text.strip()


def _nest(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    "value", [10**5_000, -(10**5_000), _nest(100_000)], ids=["huge number", "huge negative number", "deep nesting"]
)
def test_clean_text__a_value_that_python_cannot_write_out__does_not_fail(value: Any) -> None:
    # Python refuses to write out an integer of more than 4,300 digits, and anything nested too deeply.
    cleaned, remarks = clean_text(value, limit=MAX_REASON_LENGTH)

    assert len(cleaned) <= MAX_REASON_LENGTH
    assert remarks
