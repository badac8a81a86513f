from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from golive.domain.rows import format_time, record_of
from tests.support.factories import make_go_live, make_system

RFC_3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


def test_format_time__none__is_none() -> None:
    assert format_time(None) is None


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC), "2026-01-02T03:04:05.000006Z"),
        (datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), "2026-01-02T03:04:05.000000Z"),
        (datetime(2026, 1, 1, 1, 30, tzinfo=timezone(timedelta(hours=2))), "2025-12-31T23:30:00.000000Z"),
        # Years that a database takes and other tools write for "never".
        (datetime(1, 1, 1, tzinfo=UTC), "0001-01-01T00:00:00.000000Z"),
        (datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC), "9999-12-31T23:59:59.999999Z"),
    ],
)
def test_format_time__a_moment__is_utc_with_microseconds(moment: datetime, text: str) -> None:
    assert format_time(moment) == text


def test_format_time__without_time_zone__is_refused() -> None:
    with pytest.raises(ValueError, match="time zone"):
        format_time(datetime(2026, 1, 1))  # noqa: DTZ001 - the very thing that is refused


@given(
    st.datetimes(
        min_value=datetime(1000, 1, 3),  # noqa: DTZ001 - hypothesis adds the zone
        max_value=datetime(9999, 12, 29),  # noqa: DTZ001 - hypothesis adds the zone
        timezones=st.sampled_from([UTC, timezone(timedelta(hours=-11, minutes=-30)), timezone(timedelta(hours=14))]),
    )
)
def test_format_time__any_moment__names_the_same_moment(moment: datetime) -> None:
    text = format_time(moment)

    assert text is not None
    assert RFC_3339.fullmatch(text)
    assert datetime.fromisoformat(text) == moment


def test_record_of__go_live__is_every_column_but_id_and_event_head() -> None:
    assert record_of(make_go_live()) == {
        "go_live_enabled": False,
        "kill_switch_engaged": True,
        "changed_by": "ann",
        "reason": "because",
        "updated_at": "2026-01-02T03:04:05.678901Z",
        "revision": 7,
        "lease_ms": 250,
    }


def test_record_of__system__is_every_column_but_id() -> None:
    assert record_of(make_system(backend_complete=True)) == {
        "version": "1.0.0",
        "backend_complete": True,
        "notes": "a note",
        "updated_at": "2026-01-02T03:04:05.678901Z",
        "completed_at": "2026-01-02T03:04:05.678901Z",
        "revision": 3,
    }
