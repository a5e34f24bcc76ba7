"""Names that nobody chose to be shown, made harmless."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restore_drill.printable import printable, printable_values


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", ""),
        ("orders 2026.db", "orders 2026.db"),
        ("Größe \N{GRINNING FACE} \u65e5\u672c", "Größe \N{GRINNING FACE} \u65e5\u672c"),
        ("a\tb", "a\tb"),
        (r"a\x1b", r"a\x1b"),
        ("a\x1b[31m", r"a\x1b[31m"),
        ("a\r\nb\x00", r"a\r\nb\x00"),
        ("\u202egpj.exe", r"\u202egpj.exe"),
        ("a\u2028b\x85c\x9bd", r"a\u2028b\x85c\x9bd"),
        ("\U000e0001", r"\U000e0001"),
        (os.fsdecode(b"caf\xe9.db"), r"caf\xe9.db"),
        ("\ud800", r"\ud800"),
    ],
)
def test_what_is_not_printed_is_written_as_an_escape(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(st.text(st.characters(codec=None)))
def test_whatever_a_name_holds_it_is_one_line_and_can_be_encoded(text: str) -> None:
    shown = printable(text)
    assert shown.replace("\t", "").isprintable()
    assert shown.encode().decode() == shown
    assert printable(shown) == shown


def test_plain_values_keep_their_form() -> None:
    value = {"a\n": ["b\x1b", ("c", 1, None, 2.5, True)], "d": {"e": "f"}}
    assert printable_values(value) == {r"a\n": [r"b\x1b", ["c", 1, None, 2.5, True]], "d": {"e": "f"}}
