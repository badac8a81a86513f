from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from golive.domain.checklist import Checklist, Severity
from tests.support.factories import make_result


def test_checklist__no_checks__is_not_ok() -> None:
    checklist = Checklist.of([])

    assert checklist.ok is False
    assert checklist.failed == ()


def test_checklist__only_warnings_and_facts__is_not_ok() -> None:
    results = [make_result("a", severity=Severity.WARN), make_result("b", severity=Severity.INFO)]

    assert Checklist.of(results).ok is False


@pytest.mark.parametrize("outcomes", list(itertools.product([True, False], repeat=3)))
def test_checklist__required_checks__is_ok_only_if_all_hold(outcomes: tuple[bool, ...]) -> None:
    results = [make_result(str(number), ok=ok) for number, ok in enumerate(outcomes)]

    checklist = Checklist.of(results)

    assert checklist.ok is all(outcomes)
    assert [result.id for result in checklist.failed] == [str(n) for n, ok in enumerate(outcomes) if not ok]


@pytest.mark.parametrize("severity", [Severity.WARN, Severity.INFO])
def test_checklist__something_else_fails__is_still_ok(severity: Severity) -> None:
    checklist = Checklist.of([make_result("needed"), make_result("other", ok=False, severity=severity)])

    assert checklist.ok is True
    assert checklist.failed == ()


def test_checklist__mixed__sorts_by_severity_in_the_order_of_registration() -> None:
    severities = (Severity.WARN, Severity.BLOCKER, Severity.INFO, Severity.BLOCKER, Severity.WARN)
    checklist = Checklist.of(make_result(str(n), severity=severity) for n, severity in enumerate(severities))

    assert [result.id for result in checklist.results] == ["0", "1", "2", "3", "4"]
    assert [result.id for result in checklist.required] == ["1", "3"]
    assert [result.id for result in checklist.warnings] == ["0", "4"]


def test_severity__all__are_those_of_the_contract() -> None:
    assert [str(severity) for severity in Severity] == ["BLOCKER", "WARN", "INFO"]


@given(
    outcomes=st.lists(st.tuples(st.booleans(), st.sampled_from(Severity)), max_size=6),
    override=st.sets(st.sampled_from([str(number) for number in range(8)])),
)
def test_find_blocking__any_checklist_and_override__is_what_fails_and_is_not_named(
    outcomes: list[tuple[bool, Severity]], override: set[str]
) -> None:
    checklist = Checklist.of(make_result(str(n), ok=ok, severity=severity) for n, (ok, severity) in enumerate(outcomes))

    blocking = {result.id for result in checklist.find_blocking(override)}

    fails = {str(n) for n, (ok, severity) in enumerate(outcomes) if severity is Severity.BLOCKER and not ok}
    assert blocking == fails - override
