"""Durations, sizes and percentages: what people write, and what is written for them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restore_drill.quantities import (
    as_instant,
    format_duration,
    format_instant,
    format_percentage,
    format_size,
    parse_duration,
    parse_percentage,
    parse_size,
)

_MAXIMUM = 10**9


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("15m", 900),
        ("15 min", 900),
        ("15 minutes", 900),
        (" 1h30m ", 5400),
        ("1 h 30 min", 5400),
        ("1.5h", 5400),
        ("<1 hour", 3600),
        ("< 15 min", 900),
        ("<=1h", 3600),
        ("≤ 24 h", 86400),
        ("1 week", 604800),
        ("2 weeks", 1209600),
        ("31d", 2678400),
        ("0.5s", 0.5),
        ("PT15M", 900),
        ("pt1h30m", 5400),
        ("P1D", 86400),
        ("P1W", 604800),
        ("P1DT12H", 129600),
        ("PT0.5S", 0.5),
    ],
)
def test_a_duration_is_read_as_people_write_it(text: str, seconds: float) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text",
    [
        "", "15", "1:30", "m", "15x", "1 month", "P1M", "P1Y", "PT", "P", "-5m", "- 5 m", "1h-30m", "<", "five minutes",
        "1e3s", "1,5h", "15m!", "0", "0s", "PT0S", "P0D", "0.0000001s",
    ],
)  # fmt: skip
def test_what_is_no_duration_or_lasts_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"duration|not longer than zero") as raised:
        parse_duration(text)
    assert repr(text) in str(raised.value)


@pytest.mark.parametrize("text", ["99999999999 weeks", "P99999999999W", "9" * 400 + "s"])
def test_a_duration_beyond_all_reckoning_is_refused_and_no_crash(text: str) -> None:
    with pytest.raises(ValueError, match="longer than"):
        parse_duration(text)


@given(st.integers(1, _MAXIMUM))
def test_a_duration_survives_being_written_to_its_two_largest_units(seconds: int) -> None:
    written = format_duration(seconds)
    read = parse_duration(written).total_seconds()
    assert format_duration(read) == written
    assert 0 <= seconds - read < max(seconds / 20, 1)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0 s"),
        (0.214, "0.21 s"),
        (9.5, "9.50 s"),
        (45, "45 s"),
        (59.6, "1 min"),
        (5400, "1 h 30 min"),
        (3599.7, "1 h"),
        (86400 + 300, "1 d 5 min"),
        (71 * 3600, "2 d 23 h"),
        (-90, "-1 min 30 s"),
        (timedelta(hours=26), "1 d 2 h"),
    ],
)
def test_a_duration_is_written_for_people(value: float | timedelta, text: str) -> None:
    assert format_duration(value) == text


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("500 MB", 500_000_000),
        ("10 GiB", 10 * 2**30),
        ("1kB", 1000),
        ("1 KiB", 1024),
        ("1.5 MiB", 1_572_864),
        ("0 B", 0),
        ("12b", 12),
        ("0.1 PB", 10**14),
        ("9007199254740993 B", 9007199254740993),
        ("2 TiB", 2**41),
    ],
)
def test_a_size_is_read_exactly(text: str, count: int) -> None:
    assert parse_size(text) == count


@pytest.mark.parametrize("text", ["", "5", "5%", "10G", "1 m", "GB", "-1 MB", "1e3 MB", "1,5 GB", "1 XB", "1 GB 2 MB"])
def test_what_is_no_size_or_could_be_two_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"size|could be"):
        parse_size(text)


def test_a_size_of_any_length_is_a_number() -> None:
    assert parse_size("9" * 400 + " B") == int("9" * 400)


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.00 kB"),
        (40_000, "40.0 kB"),
        (999_499, "999 kB"),
        (999_500, "1.00 MB"),
        (999_600_000, "1.00 GB"),
        (1_210_000_000, "1.21 GB"),
        (99_960_000_000, "100 GB"),
        (5 * 10**18, "5000 PB"),
        (-40_000, "-40.0 kB"),
    ],
)
def test_a_size_is_written_with_three_digits(count: int, text: str) -> None:
    assert format_size(count) == text


@given(st.integers(0, 10**18))
def test_a_written_size_can_be_read_again(count: int) -> None:
    assert abs(parse_size(format_size(count)) - count) <= count * 0.005


@pytest.mark.parametrize(("text", "share"), [("5%", 0.05), (" 4.9 % ", 0.049), ("0%", 0.0), ("100%", 1.0)])
def test_a_percentage_is_read_as_a_share(text: str, share: float) -> None:
    assert parse_percentage(text) == pytest.approx(share, abs=1e-12)


@pytest.mark.parametrize("text", ["", "5", "0.05", "101%", "100.1%", "-5%", "five%", "%", "5%%", "5 MB"])
def test_what_is_no_percentage_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="percentage"):
        parse_percentage(text)


def test_instants_are_written_for_programs() -> None:
    assert as_instant(1795312859.9) == "2026-11-22T02:00:59Z"
    assert as_instant(0) == "1970-01-01T00:00:00Z"


def test_percentages_and_instants_are_written_for_people() -> None:
    assert format_percentage(0.05) == "5 %"
    assert format_percentage(0.049) == "4.9 %"
    assert format_percentage(1.0) == "100 %"
    assert format_instant(1795312859.9) == "2026-11-22 02:00Z"
