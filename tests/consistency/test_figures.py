"""Which answers to a stop explain nothing."""

from __future__ import annotations

import pytest

from tests.consistency.figures import find_unexplained
from tests.consistency.record import Operation, Outcome

REFUSAL = '503 {"title": "Not applied", "status": 503, "detail": "The database is read-only.", "code": "NOT_APPLIED"}'


def stop(outcome: Outcome, detail: str) -> Operation:
    return Operation("op-1-1", "engage", "api", 0.0, 1.0, outcome, detail)


@pytest.mark.parametrize(
    ("outcome", "detail"),
    [
        (Outcome.ACKNOWLEDGED, "250"),
        (Outcome.NOT_DONE, REFUSAL),
        (Outcome.UNKNOWN, REFUSAL.replace("NOT_APPLIED", "OUTCOME_UNKNOWN")),
        (Outcome.UNKNOWN, "ConnectionResetError(104)"),
    ],
)
def test_stop__acknowledged_explained_or_unanswered__is_no_fault(outcome: Outcome, detail: str) -> None:
    assert find_unexplained([stop(outcome, detail)]) == []


@pytest.mark.parametrize(
    "detail",
    ["500 <h1>Server Error</h1>", "403 " + REFUSAL[4:], '503 {"status": 503, "detail": "", "code": "NOT_APPLIED"}'],
)
def test_stop__answered_without_a_cause__is_a_fault(detail: str) -> None:
    assert find_unexplained([stop(Outcome.NOT_DONE, detail)]) != []
