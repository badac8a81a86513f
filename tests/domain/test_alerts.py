"""The fields of a message of which only the beginning is there."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from golive.domain.alerts import read_cut_object

TEXT = '{"receiver": "r", "status": "firing", "alerts": [ {"a": [1]} , {"b": "]"} ] , "empty": [], "version": "4"}'
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def test_cut_object__whole__has_every_field() -> None:
    assert read_cut_object(TEXT) == json.loads(TEXT)


@pytest.mark.parametrize("length", range(len(TEXT)))
def test_cut_object__cut_anywhere__has_only_what_is_whole(length: int) -> None:
    whole = json.loads(TEXT)

    for name, value in read_cut_object(TEXT[:length]).items():
        if isinstance(value, list):
            assert value == whole[name][: len(value)]
        else:
            assert value == whole[name]


@given(st.dictionaries(st.text(), VALUES))
def test_cut_object__any_object__is_read_as_json_does(value: dict[str, object]) -> None:
    assert read_cut_object(json.dumps(value)) == value


@pytest.mark.parametrize("text", ["", " ", "[", "null", '"', '{"a" 1}', "{1: 2}", '{"a": ' + "[" * 100_000])
def test_cut_object__that_is_none__is_empty_and_no_error(text: str) -> None:
    assert read_cut_object(text) in ({}, {"a": []})


def test_cut_object__that_names_a_field_twice__is_empty() -> None:
    assert read_cut_object('{"status": "resolved", "status": "firing", ') == {}
