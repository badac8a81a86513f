from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from golive.domain.decision import MESSAGES, Code, Decision, decide
from tests.support.factories import make_go_live

# What databases, JSON and mistakes put where True or False belongs.
NEITHER_TRUE_NOR_FALSE: tuple[Any, ...] = (
    None,
    0,
    1,
    2,
    -1,
    0.0,
    1.0,
    "",
    "true",
    "false",
    "t",
    "f",
    b"\x00",
    [],
    {},
    (),
)

# enabled, engaged -> code: the whole truth table.
TABLE = (
    (False, False, Code.GO_LIVE_DISABLED),
    (False, True, Code.KILL_SWITCH_ENGAGED),
    (True, True, Code.KILL_SWITCH_ENGAGED),
    (True, False, Code.ALLOWED),
)


@pytest.mark.parametrize(("enabled", "engaged", "code"), TABLE)
def test_decide__each_state__gives_its_code(enabled: bool, engaged: bool, code: Code) -> None:
    decision = decide(make_go_live(go_live_enabled=enabled, kill_switch_engaged=engaged))

    assert decision.code is code
    assert decision.allowed is (enabled is True and engaged is False)


def test_decide__no_row__is_unknown_and_not_allowed() -> None:
    decision = decide(None)

    assert decision.code is Code.STATE_UNKNOWN
    assert decision.allowed is False


@pytest.mark.parametrize("value", NEITHER_TRUE_NOR_FALSE, ids=repr)
@pytest.mark.parametrize("other", [True, False])
@pytest.mark.parametrize("column", ["go_live_enabled", "kill_switch_engaged"])
def test_decide__a_value_that_is_no_boolean__is_unknown(column: str, other: bool, value: Any) -> None:
    switches = {"go_live_enabled": other, "kill_switch_engaged": other, column: value}

    decision = decide(make_go_live(**switches))

    assert decision.code is Code.STATE_UNKNOWN
    assert decision.allowed is False


class Pretender:
    """A database default that was never loaded: equal to anything, and true."""

    def __bool__(self) -> bool:
        return True

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 1


@given(enabled=st.just(Pretender()) | st.booleans() | st.integers(), engaged=st.just(Pretender()) | st.booleans())
def test_decide__any_values__is_allowed_only_if_enabled_is_true_and_engaged_is_false(
    enabled: Any, engaged: Any
) -> None:
    decision = decide(make_go_live(go_live_enabled=enabled, kill_switch_engaged=engaged))

    assert decision.allowed is (enabled is True and engaged is False)


def test_decide__other_columns__do_not_matter() -> None:
    expected = {(enabled, engaged): code for enabled, engaged, code in TABLE}
    extremes: dict[str, tuple[Any, ...]] = {
        "changed_by": (None, "x"),
        "reason": (None, ""),
        "updated_at": (None,),
        "revision": (0, 10**18),
        "lease_ms": (0, 5000),
        "event_head": (None, "0"),
    }

    for values in itertools.product(*extremes.values()):
        others = dict(zip(extremes, values, strict=True))
        for (enabled, engaged), code in expected.items():
            row = make_go_live(go_live_enabled=enabled, kill_switch_engaged=engaged, **others)
            assert decide(row).code is code


def test_code__all__are_the_four_of_the_contract_most_severe_first() -> None:
    assert [str(code) for code in Code] == ["STATE_UNKNOWN", "KILL_SWITCH_ENGAGED", "GO_LIVE_DISABLED", "ALLOWED"]


@pytest.mark.parametrize("code", Code)
def test_decision__each_code__has_a_message_that_says_whether_execution_is_allowed(code: Code) -> None:
    decision = Decision(code)

    assert decision.message == MESSAGES[code]
    assert ("Execution is not allowed." in decision.message) is not decision.allowed
