"""What the catalogue asks of path patterns before anything is matched."""

from __future__ import annotations

import pickle
from datetime import UTC
from zoneinfo import ZoneInfo

import pytest

from restore_drill.model import Kind
from restore_drill.patterns import PathPattern, PatternError


@pytest.mark.parametrize(
    ("text", "directives", "has_offset"),
    [
        ("{time:%F}/{time:%H%M}", {"Y", "m", "d", "H", "M"}, False),
        ("{time:%Y%z}", {"Y", "z"}, True),
        ("{time:%s}", {"s"}, True),
        ("latest.db", set(), False),
    ],
)
def test_says_which_parts_of_the_time_a_name_has(text: str, directives: set[str], has_offset: bool) -> None:
    pattern = PathPattern(text)
    assert (pattern.directives, pattern.has_offset, pattern.has_time) == (directives, has_offset, bool(directives))


def test_says_which_kinds_names_tell_apart() -> None:
    assert PathPattern("{kind:full=F|incremental=I}_{time:%F}").kinds == {Kind.FULL, Kind.INCREMENTAL}
    assert PathPattern("{time:%F}").kinds == frozenset()


@pytest.mark.parametrize(
    "text", ["{seq}{seq}", "{kind:full}{kind:full}", "{time:%Q}", "{tim:%Y}", "a{", "/a", "a//b", "../a"]
)
def test_a_pattern_that_cannot_be_used_is_refused_before_it_matches_anything(text: str) -> None:
    with pytest.raises(PatternError):
        PathPattern(text)


def test_a_pattern_travels_without_what_it_compiled() -> None:
    pattern = PathPattern("db/{time:%Y%m%d}.gz", ZoneInfo("Europe/Berlin"))
    assert pattern.match("db/20261123.gz") is not None
    received = pickle.loads(pickle.dumps(pattern))
    assert received == pattern
    assert "_compiled" not in vars(received)
    match = received.match("db/20261123.gz")
    assert match is not None and match.taken_at.astimezone(UTC).hour == 23
