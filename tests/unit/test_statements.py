"""What is taken off a statement before it is asked within another one, and what is part of it."""

from __future__ import annotations

import pytest

from restore_drill.statements import bare


@pytest.mark.parametrize(
    ("sql", "text"),
    [
        ("select 1", "select 1"),
        ("  -- why\n/* and\nhow */ select 1 ; ", "select 1"),
        ("select 1; -- behind\n-- and more", "select 1"),
        ("select ';-- no comment'", "select ';-- no comment'"),
        ("select 1 -- behind", "select 1 -- behind"),
    ],
)
def test_a_statement_is_asked_without_what_stands_around_it(sql: str, text: str) -> None:
    assert bare(sql) == text
