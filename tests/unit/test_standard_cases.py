"""The one line that brings the standard cases in finds them, and every case of the table is among them."""

from __future__ import annotations

from restore_drill import standard_cases
from restore_drill.cases import BY_FUNCTION


def test_every_standard_case_is_brought_in() -> None:
    assert set(standard_cases.__all__) == BY_FUNCTION.keys()
    assert all(callable(getattr(standard_cases, name)) for name in standard_cases.__all__)


def test_a_case_says_what_it_asserts() -> None:
    assert [name for name in standard_cases.__all__ if not getattr(standard_cases, name).__doc__] == []
