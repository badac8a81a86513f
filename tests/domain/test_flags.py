"""The flags: what each says for every state, and what all say for one that is not known."""

from __future__ import annotations

from itertools import product
from typing import Any, cast

import pytest

from golive.domain.decision import Code
from golive.domain.flags import SAFE_VALUES, Evaluation, evaluate_flags
from golive.domain.rows import GoLiveRow, SystemRow


def make_go_live(*, enabled: object, engaged: object) -> GoLiveRow:
    return GoLiveRow(cast(bool, enabled), cast(bool, engaged), None, None, None, 7, 250, None)


def make_system(*, complete: bool) -> SystemRow:
    return SystemRow("1.0.0", complete, None, None, None, 3)


def values_of(evaluations: tuple[Evaluation, ...]) -> dict[str, bool]:
    return {evaluation.key: evaluation.value for evaluation in evaluations}


@pytest.mark.parametrize(("enabled", "engaged", "complete"), tuple(product([True, False], repeat=3)))
def test_flags__known_state__say_what_the_rows_say(enabled: bool, engaged: bool, complete: bool) -> None:
    found = evaluate_flags(make_go_live(enabled=enabled, engaged=engaged), make_system(complete=complete))

    assert values_of(found) == {
        "execution-allowed": enabled and not engaged,
        "go-live-enabled": enabled,
        "kill-switch-engaged": engaged,
        "backend-complete": complete,
    }
    assert all(evaluation.is_known for evaluation in found)
    assert [evaluation.revision for evaluation in found] == [7, 7, 7, 3]
    assert [evaluation.lease_ms for evaluation in found] == [250] * 4


@pytest.mark.parametrize(
    "row",
    [None, make_go_live(enabled=1, engaged=False), make_go_live(enabled=True, engaged="false")],
    ids=["no row", "number", "text"],
)
def test_flags__unknown_state__are_safe(row: GoLiveRow | None) -> None:
    found = {evaluation.key: evaluation for evaluation in evaluate_flags(row, make_system(complete=True))}

    assert found.pop("backend-complete").value is True
    for key, evaluation in found.items():
        assert evaluation == Evaluation(key, SAFE_VALUES[key], Code.STATE_UNKNOWN, None)
        assert not evaluation.is_known


def test_flags__nothing_known__all_are_safe() -> None:
    found = evaluate_flags(None, None)

    assert values_of(found) == {
        "execution-allowed": False,
        "go-live-enabled": False,
        "kill-switch-engaged": True,
        "backend-complete": False,
    }


def test_flags__unknown_backend__leaves_the_others_known() -> None:
    found: dict[str, Any] = values_of(evaluate_flags(make_go_live(enabled=True, engaged=False), None))

    assert found["execution-allowed"] is True
    assert found["backend-complete"] is False
