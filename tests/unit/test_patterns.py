"""What a name says: its time in whatever zone, its kind, its number, and what it must not be taken for."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from restore_drill.model import Kind
from restore_drill.patterns import Match, PathPattern, PatternError

BERLIN = ZoneInfo("Europe/Berlin")
ZONES = [
    ZoneInfo(name)
    for name in (
        "UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "America/Havana",
        "America/St_Johns", "Africa/Casablanca", "Pacific/Apia",
    )
]  # fmt: skip
#: From 1990 to 2037, where zones have whole minutes.
INSTANTS = st.integers(631152000, 2145916800).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))
WITH_OFFSET = ["{time:%Y%m%dT%H%M%S%z}", "{time:%FT%T%z}", "{time:%s}", "db-{time:%Y-%m-%d_%H-%M-%SZ%z}.gz",
               "{time:%y%j%H%M%S%z}", "{time:%d%b%Y-%I%M%S%p%z}", "{time:%Y}/{time:%m}/{time:%d}/{time:%H%M%S%z}",
               "{time:%G-W%V-%u_%H%M%S%z}", "{time:%d_%B_%Y_%H%M%S%Z}"]  # fmt: skip
LOCAL = ["{time:%Y%m%d_%H%M%S}", "{time:%F}/{time:%T}", "x{time:%Y%j%H%M%S}", "{time:%G%V%u-%H%M%S}"]


def taken(pattern: str, name: str, zone: ZoneInfo | None = None, near: float | None = None) -> datetime | None:
    match = PathPattern(pattern, zone).match(name, near)
    return match.taken_at if match else None


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[misc, arg-type]


@given(instant=INSTANTS, zone=st.sampled_from(ZONES), text=st.sampled_from(WITH_OFFSET))
def test_a_name_with_an_offset_means_the_instant_it_was_made_of(instant: datetime, zone: ZoneInfo, text: str) -> None:
    pattern = PathPattern(text, zone)
    assert pattern.match(pattern.format(instant)) == Match(instant)


@given(instant=INSTANTS, zone=st.sampled_from(ZONES), text=st.sampled_from(LOCAL), delay=st.integers(0, 900))
@example(instant=utc(2026, 10, 25, 0, 30), zone=BERLIN, text=LOCAL[0], delay=0)
@example(instant=utc(2026, 10, 25, 1, 30), zone=BERLIN, text=LOCAL[0], delay=900)
@example(instant=utc(2026, 4, 4, 15, 0), zone=ZoneInfo("Australia/Lord_Howe"), text=LOCAL[0], delay=300)
def test_a_local_name_means_its_instant_when_it_was_written_soon_after(
    instant: datetime, zone: ZoneInfo, text: str, delay: int
) -> None:
    pattern = PathPattern(text, zone)
    match = pattern.match(pattern.format(instant), near=instant.timestamp() + delay)
    assert match is not None
    assert match.taken_at == instant


@given(instant=INSTANTS, zone=st.sampled_from(ZONES))
def test_a_local_name_is_ambiguous_exactly_in_the_double_hour(instant: datetime, zone: ZoneInfo) -> None:
    pattern = PathPattern("{time:%Y%m%d%H%M%S}", zone)
    local = instant.astimezone(zone)
    twice = local.replace(fold=0).utcoffset() != local.replace(fold=1).utcoffset()
    match = pattern.match(pattern.format(instant))
    assert match is not None
    assert match.ambiguous is twice
    assert match.taken_at == (local.replace(fold=0).astimezone(UTC) if twice else instant)


def test_the_double_hour_is_told_apart_by_when_it_was_written() -> None:
    pattern = PathPattern("{time:%Y%m%d_%H%M}.db", BERLIN)
    first, second = utc(2026, 10, 25, 0, 30), utc(2026, 10, 25, 1, 30)
    name = "20261025_0230.db"
    assert pattern.match(name, first.timestamp() + 60) == Match(first, ambiguous=True)
    assert pattern.match(name, second.timestamp() - 60) == Match(first, ambiguous=True)
    assert pattern.match(name, second.timestamp()) == Match(second, ambiguous=True)
    assert pattern.match(name) == Match(first, ambiguous=True)
    assert pattern.match("20261025_0330.db") == Match(utc(2026, 10, 25, 2, 30))


def test_a_time_in_the_hour_that_does_not_exist_is_read_as_if_the_clock_had_not_changed() -> None:
    assert taken("{time:%Y%m%d_%H%M}", "20260329_0230", BERLIN) == utc(2026, 3, 29, 1, 30)
    assert taken("{time:%Y%m%d_%H%M}", "20260329_0159", BERLIN) == utc(2026, 3, 29, 0, 59)
    assert taken("{time:%Y%m%d_%H%M}", "20260329_0300", BERLIN) == utc(2026, 3, 29, 1)


@pytest.mark.parametrize(
    ("pattern", "name", "instant"),
    [
        ("{time:%Y%m%d_%H%M%S}.gz", "20261123_020304.gz", utc(2026, 11, 23, 2, 3, 4)),
        ("{time:%Y%m%dT%H%M%S%z}", "20261123T020000+0130", utc(2026, 11, 23, 0, 30)),
        ("{time:%Y%m%dT%H%M%S%z}", "20261123T020000-05:00", utc(2026, 11, 23, 7)),
        ("{time:%Y%m%dT%H%M%S%z}", "20261123T020000Z", utc(2026, 11, 23, 2)),
        ("{time:%Y%m%dT%H%M%S%Z}", "20261123T020000GMT", utc(2026, 11, 23, 2)),
        ("{time:%Y%m%d}", "20261123", utc(2026, 11, 23)),
        ("{time:%Y-%m}", "2026-11", utc(2026, 11, 1)),
        ("{time:%Y}", "2026", utc(2026, 1, 1)),
        ("{time:%Y%j}", "2024366", utc(2024, 12, 31)),
        ("{time:%G-W%V}", "2026-W53", utc(2026, 12, 28)),
        ("{time:%y%m%d}", "261123", utc(2026, 11, 23)),
        ("{time:%y%m%d}", "991231", utc(1999, 12, 31)),
        ("{time:%y%m%d}", "680101", utc(2068, 1, 1)),
        ("{time:%d%b%Y}", "23NOV2026", utc(2026, 11, 23)),
        ("{time:%d-%B-%Y}", "23-november-2026", utc(2026, 11, 23)),
        ("{time:%Y%m%d %I%p}", "20261123 12AM", utc(2026, 11, 23)),
        ("{time:%Y%m%d %I%p}", "20261123 12pm", utc(2026, 11, 23, 12)),
        ("{time:%Y%m%d_%H%M}", "20261123_2400", utc(2026, 11, 24)),
        ("{time:%Y%m%d_%H%M%S}", "20161231_235960", utc(2016, 12, 31, 23, 59, 59)),
        ("{time:%s}", "1795399200", utc(2026, 11, 23, 2)),
        ("{time:%s}.{time:%f}", "1795399200.25", utc(2026, 11, 23, 2) + timedelta(milliseconds=250)),
        ("{time:%Y%m%d%H%M%S.%f}", "20261123020000.000007", utc(2026, 11, 23, 2) + timedelta(microseconds=7)),
        ("{time:%Y}/{time:%m%d}/{time:%Y%m%d_%H%M}", "2026/1123/20261123_0200", utc(2026, 11, 23, 2)),
        ("100%25 {time:%Y%%%m}", "100%25 2026%11", utc(2026, 11, 1)),
        ("{time:%Y%m%d}%%F{time:%%F}", "20261123%%F%F", utc(2026, 11, 23)),
        ("ünï c/{time:%Y%m%d}\n.db", "ünï c/20261123\n.db", utc(2026, 11, 23)),
        ("a+b(1)[x].{time:%Y%m%d}$", "a+b(1)[x].20261123$", utc(2026, 11, 23)),
    ],
)
def test_a_name_means_this_instant(pattern: str, name: str, instant: datetime) -> None:
    assert taken(pattern, name) == instant


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("{time:%Y%m%d}", "20260230"),
        ("{time:%Y%m%d}", "20261301"),
        ("{time:%Y%m%d}", "00000101"),
        ("{time:%Y%m%d}", "20261123\n"),
        ("{time:%Y%m%d}", "2026112"),
        ("{time:%Y%m%d}", "٢٠٢٦1123"),
        ("{time:%Y%m%d}.db", "20261123xdb"),
        ("db/{time:%Y%m%d}", "20261123"),
        ("{time:%Y%j}", "2026366"),
        ("{time:%Y%j}", "2026000"),
        ("{time:%Y%m%d}-{time:%j}", "20261123-001"),
        ("{time:%G-W%V}", "2025-W53"),
        ("{time:%Y%m%d_%H%M}", "20261123_2430"),
        ("{time:%Y%m%d_%H%M}", "20261123_2500"),
        ("{time:%Y%m%d_%H%M%S}", "20261123_235961"),
        ("{time:%Y%m%d%H%z}", "2026112302+9900"),
        ("{time:%Y%m%d%H%z}", "2026112302+0199"),
        ("{time:%Y}/{time:%Y%m%d}", "2025/20261123"),
        ("{time:%Y%m}/{time:%b}/{time:%d}", "202611/oct/23"),
        ("{time:%Y%m%d}_{any}.gz", "20261123_a/b.gz"),
        ("{time:%Y%m%d}_{seq}", "20261123_x"),
        ("{time:%s}", "179539920"[:8]),
    ],
)
def test_a_name_that_means_nothing_is_no_snapshot(pattern: str, name: str) -> None:
    assert taken(pattern, name) is None


@pytest.mark.parametrize(
    ("pattern", "resolution"),
    [
        ("{time:%Y%m%d%H%M%S.%f}", timedelta(microseconds=1)),
        ("{time:%s}", timedelta(seconds=1)),
        ("{time:%Y%m%d%H%M}", timedelta(minutes=1)),
        ("{time:%Y%m%d%I%p}", timedelta(hours=1)),
        ("{time:%F}", timedelta(days=1)),
        ("{time:%G%V}", timedelta(days=7)),
        ("{time:%Y%m}", timedelta(days=31)),
        ("{time:%Y}", timedelta(days=366)),
    ],
)
def test_a_pattern_knows_how_exactly_it_states_the_time(pattern: str, resolution: timedelta) -> None:
    assert PathPattern(pattern).resolution == resolution


def test_kinds_and_numbers_are_read_from_the_name() -> None:
    pattern = PathPattern("{time:%Y%m%d}-{kind:full=F|incremental=I|log=FI}-{seq}.bak")
    assert pattern.kinds == {Kind.FULL, Kind.INCREMENTAL, Kind.LOG}
    assert pattern.match("20261123-F-000.bak") == Match(utc(2026, 11, 23), kind=Kind.FULL, sequence=0)
    assert pattern.match("20261123-FI-12.bak") == Match(utc(2026, 11, 23), kind=Kind.LOG, sequence=12)
    assert pattern.match("20261123-D-12.bak") is None
    assert pattern.format(utc(2026, 11, 23)) == "20261123-F-{seq}.bak"
    assert PathPattern("{time:%Y}{kind:full|differential}").match("2026differential") == Match(
        utc(2026, 1, 1), kind=Kind.DIFFERENTIAL
    )


def test_a_kind_may_be_told_by_the_absence_of_a_word() -> None:
    pattern = PathPattern("{time:%Y%m%d}{kind:full=|incremental=.inc}.dump")
    assert pattern.match("20261123.dump") == Match(utc(2026, 11, 23))
    assert pattern.match("20261123.inc.dump") == Match(utc(2026, 11, 23), kind=Kind.INCREMENTAL)
    assert pattern.format(utc(2026, 11, 23)) == "20261123.dump"


def test_a_name_without_time_matches_and_says_so() -> None:
    pattern = PathPattern("legacy/{any}.sql")
    assert not pattern.has_time
    assert pattern.match("legacy/a.sql") == Match(datetime.fromtimestamp(0, UTC))
    assert pattern.match("legacy/a.sql.gz") is None


@pytest.mark.parametrize(
    ("pattern", "offset", "directory", "prefix"),
    [
        ("db/{time:%Y%m%d%z}", True, False, "db/"),
        ("db/x-{time:%s}.gz", True, False, "db/x-"),
        ("{time:%Y%m%d}/", False, True, ""),
        ("a/b{any}{time:%Y%m%d%Z}/", True, True, "a/b"),
    ],
)
def test_a_pattern_knows_what_it_needs(pattern: str, offset: bool, directory: bool, prefix: str) -> None:
    parsed = PathPattern(pattern)
    assert (parsed.has_offset, parsed.is_directory, parsed.prefix) == (offset, directory, prefix)


@pytest.mark.parametrize(
    ("pattern", "says"),
    [
        ("{tim:%Y}", "unknown field {tim}"),
        ("{time}", "needs a format"),
        ("{time:plain}", "needs a format"),
        ("{time:%Q}", "unknown time directive %Q"),
        ("{time:%-d}", "unknown time directive %-"),
        ("{time:%Y%}", "unknown time directive %;"),
        ("{time:%Y}}", "stray brace"),
        ("a{b", "stray brace"),
        ("{seq}-{seq}{time:%Y}", "{seq} may stand once"),
        ("{kind:full}{kind:full}", "{kind} may stand once"),
        ("{kind:whole=W}", "maps full"),
        ("{kind:full=X|incremental=X}", "the word 'X' for both"),
        ("/db/{time:%Y}", "relative"),
        ("db//{time:%Y}", "relative"),
        ("../{time:%Y}", "relative"),
        ("./db/{time:%Y}", "relative"),
        ("{time:%Y-W%V}", "%G-W%V"),
        ("{time:%G%m%d}", "write %Y"),
        ("{time:%Y%m%d_%I%M}", "%p"),
        ("{time:%Y%m%d_%H%p}", "%I%p"),
        ("{time:%Y%d}", "needs its month"),
        ("{time:%Y%H}", "needs its day"),
        ("{time:%Y%m%d%M}", "needs its hour"),
        ("{time:%Y%m%d%H%S}", "needs its minute"),
        ("{time:%Y%m%d%H%M.%f}", "needs its second"),
        ("{time:%G%V%u}{time:%Y}{time:%u%H%S}", "needs its minute"),
    ],
)
def test_a_pattern_that_can_never_be_right_is_refused_with_a_hint(pattern: str, says: str) -> None:
    with pytest.raises(PatternError) as raised:
        PathPattern(pattern)
    assert says in str(raised.value)


def test_a_pattern_travels_to_another_process() -> None:
    pattern = PathPattern("{time:%Y%m%d_%H%M}", BERLIN)
    pattern.match("20261123_0200")
    again = pickle.loads(pickle.dumps(pattern))
    assert again == pattern
    assert again.match("20261123_0200") == Match(utc(2026, 11, 23, 1))


@given(st.text(max_size=60))
def test_any_text_is_a_pattern_or_is_refused_as_one(text: str) -> None:
    try:
        pattern = PathPattern(text)
    except PatternError:
        return
    pattern.match(text, near=0.0)
    assert pattern.prefix == text.split("{", 1)[0]


@given(name=st.text(max_size=40), zone=st.sampled_from(ZONES))
def test_no_name_breaks_a_pattern(name: str, zone: ZoneInfo) -> None:
    for text in ("{any}{time:%Y%m%d}{any}", "{time:%s}{any}", "{time:%H%Y%m%d%z}"):
        match = PathPattern(text, zone).match(name, near=0.0)
        assert match is None or match.taken_at.tzinfo is UTC
