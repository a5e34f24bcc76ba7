"""Periods as people name them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from restore_drill.errors import UsageProblem
from restore_drill.reporting.span import between, named

NOW = datetime(2026, 11, 23, 6, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "first", "until", "title"),
    [
        ("2025", "2025-01-01", "2026-01-01", "2025"),
        ("2026Q3", "2026-07-01", "2026-10-01", "2026Q3"),
        ("2025-q4", "2025-10-01", "2026-01-01", "2025-q4"),
        ("2025-12", "2025-12-01", "2026-01-01", "2025-12"),
        ("2024-02", "2024-02-01", "2024-03-01", "2024-02"),
        ("2026-W01", "2025-12-29", "2026-01-05", "2026-W01"),
        ("2026-11-22", "2026-11-22", "2026-11-23", "2026-11-22"),
        ("2026-11", "2026-11-01", "2026-11-23T06:30", "2026-11 so far"),
        ("30d", "2026-10-24T06:30", "2026-11-23T06:30", "the last 30d"),
    ],
)
def test_a_period_has_a_beginning_and_an_end(text: str, first: str, until: str, title: str) -> None:
    span = named(text, NOW)
    wanted = [datetime.fromisoformat(each).replace(tzinfo=UTC).timestamp() for each in (first, until)]
    assert [span.since, span.until] == wanted and span.title == title


@pytest.mark.parametrize(
    "text", ["", "2026-13", "2026Q5", "2026-W60", "2026-02-30", "30", "yesterday", "2027", "9999999d"]
)
def test_what_names_no_period_is_refused(text: str) -> None:
    with pytest.raises(UsageProblem):
        named(text, NOW)


def test_days_are_both_included() -> None:
    span = between("2026-11-01", "2026-11-01", NOW)
    assert span.until - span.since == 86400
    assert between(None, "2026-11-01", NOW).since == 0 and between("2026-11-01", None, NOW).until == NOW.timestamp()
    with pytest.raises(UsageProblem):
        between("2026-11-01", "2026-10-31", NOW)
    with pytest.raises(UsageProblem):
        between("01.11.2026", None, NOW)
