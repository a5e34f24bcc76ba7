"""The splitter, against ``sqlite3_complete`` asked after every single character."""

from __future__ import annotations

import itertools
import re
import sqlite3
import tracemalloc

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from restore_drill.engines.sqlite_split import Kind, Piece, Splitter
from restore_drill.errors import BackupFailed, CouldNotVerify

TOKENS = [
    "'a;b'", "''", "'it''s'", '"q;"', "`b;`", "[c;]", "--x;\n", "/*;*/", "/* ** /*/", ";", " ", "\n", "\r\n", "\t", "/",
    "CREATE", "TRIGGER", "TEMP", "TEMPORARY", "END", "BEGIN", "SELECT", "x", "-", "*", "END;", "-- c\n", "; END;", "'",
    '"', "[", "`", "/*", "--", "end", "CREATE TRIGGER t BEGIN ", "create temp trigger ", "CASE WHEN 1 THEN 2 END;", ",",
    "1.5", "x'ab'", "-- END\n", "/* ; */END", "é", "]", "\f", "(", ")",
]  # fmt: skip
BLANK = re.compile(r"(?:\s+|--[^\n]*(?:\n|$)|/\*.*?\*/)*", re.DOTALL)


def by_the_book(text: str) -> tuple[list[str], str]:
    """The statements of a text and what is left, as SQLite itself finds them."""
    found, start = [], 0
    for end, character in enumerate(text, 1):
        if character == ";" and sqlite3.complete_statement(text[start:end]):
            found.append(text[start:end])
            start = end
    return found, text[start:]


def split(text: str, cuts: list[int], *, together: bool = False) -> tuple[list[Piece], Piece | None]:
    splitter, data = Splitter(together=together), text.encode()
    places = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    chunks = [data[start:end] for start, end in itertools.pairwise(places)]
    pieces = [piece for chunk in chunks for piece in splitter.feed(chunk)]
    pieces += splitter.feed(b"", last=True)
    return pieces, splitter.rest()


def without_blank(text: str) -> str:
    match = BLANK.match(text)
    assert match
    return text[match.end() :]


@settings(deadline=None, max_examples=500)
@given(st.lists(st.sampled_from(TOKENS), max_size=30).map("".join), st.lists(st.integers(0, 500), max_size=8))
@example("CREATE TRIGGER t BEGIN SELECT 1; SELECT CASE WHEN 1 THEN 2 END; END; SELECT 2;", [3, 40, 60])
@example("-- a\n; ;;'';", [5])
def test_splits_like_sqlite(text: str, cuts: list[int]) -> None:
    expected, left = by_the_book(text)
    try:
        pieces, rest = split(text, cuts)
    except BackupFailed:
        assert without_blank(left).startswith("/*")
        return
    assert [piece.text.decode() for piece in pieces] == [without_blank(statement) for statement in expected]
    assert (rest.text.decode() if rest else "") == without_blank(left)
    position = 0
    for piece, statement in zip(pieces, expected, strict=True):
        begins = position + len(statement) - len(without_blank(statement))
        assert piece.line == text.count("\n", 0, begins) + 1
        assert piece.kind is Kind.STATEMENT
        position += len(statement)


ROWS = [
    "INSERT INTO t VALUES(1);",
    "insert into\t'a b' values(';');\n",
    "INSERT INTO sqlite_sequence VALUES(1);",
    "INSERT ",
]


@settings(deadline=None, max_examples=300)
@given(
    st.lists(st.sampled_from(TOKENS + ROWS * 8), max_size=30).map("".join), st.lists(st.integers(0, 500), max_size=4)
)
def test_rows_together_are_the_same_statements(text: str, cuts: list[int]) -> None:
    try:
        expected, rest = split(text, cuts)
    except BackupFailed:
        return
    pieces, left = split(text, cuts, together=True)
    assert left == rest
    apart = []
    for piece in pieces:
        if piece.kind is Kind.ROWS:
            inside, nothing = split(piece.text.decode(), [])
            assert nothing is None
            assert all(b"sqlite_" not in one.text for one in inside)
            apart += [one._replace(line=one.line + piece.line - 1) for one in inside]
        else:
            apart.append(piece)
    assert apart == expected


def test_a_text_may_be_cut_anywhere() -> None:
    text = (
        "/* a ** comment; */ -- another;\nINSERT INTO t VALUES('it''s; -- not', \"a\"\"b;\", [c;], `d;`,"
        " 'far from its beginning', /* ; */ 'end' -- end;\n);CREATE TEMP TRIGGER x BEGIN SELECT 1 - 2 / 3;"
        " END /* ; */ ;/****** CORRUPTION ERROR *******/ SELECT 1/*;*/;SELECT 2"
    )
    expected = split(text, [])
    assert len(expected[0]) == 4
    assert expected[1] is not None
    for first in range(len(text) + 1):
        assert split(text, [first]) == expected
        assert split(text, [first, first + 1, first + 7]) == expected
    assert split(text, list(range(len(text)))) == expected


def test_commands_to_the_shell_are_lines() -> None:
    pieces, rest = split(".mode 'list\nSELECT 1;\n  .read x\n# a 'remark\nSELECT 2;.quit", [2, 20])
    assert [(piece.kind, piece.text) for piece in pieces] == [
        (Kind.COMMAND, b".mode 'list\n"),
        (Kind.STATEMENT, b"SELECT 1;"),
        (Kind.COMMAND, b".read x\n"),
        (Kind.STATEMENT, b"SELECT 2;"),
        (Kind.COMMAND, b".quit"),
    ]
    assert [piece.line for piece in pieces] == [1, 2, 3, 5, 5]
    assert rest is None


def test_a_dot_inside_of_a_statement_is_no_command() -> None:
    pieces, _ = split("INSERT INTO t VALUES('\n.shell x\n');", [])
    assert [piece.kind for piece in pieces] == [Kind.STATEMENT]


@pytest.mark.parametrize(
    "remark", ["/****** CORRUPTION ERROR *******/", "/**** ERROR: (11) database disk image *****/"]
)
def test_remarks_of_dump_about_errors_are_seen(remark: str) -> None:
    pieces, rest = split(f"SELECT 1;\n{remark}\nSELECT 2;", [4, 15])
    assert [piece.kind for piece in pieces] == [Kind.STATEMENT, Kind.REMARK, Kind.STATEMENT]
    assert pieces[1].line == 2
    assert pieces[2].text == b"SELECT 2;"
    assert rest is None
    harmless, _ = split("SELECT 1;\n/**** a title ****/\nSELECT '/****** CORRUPTION ERROR *******/';", [])
    assert [piece.kind for piece in harmless] == [Kind.STATEMENT, Kind.STATEMENT]


def test_a_statement_may_be_as_long_as_the_limit_and_no_longer() -> None:
    splitter = Splitter(limit=2000)
    literal = b"INSERT INTO t VALUES('" + b"x" * 1970 + b"');"
    assert [piece.text for piece in splitter.feed(literal)] == [literal]
    assert list(splitter.feed(b"\nSELECT '" + b"y" * 1000)) == []
    with pytest.raises(CouldNotVerify) as caught:
        list(splitter.feed(b"y" * 1000))
    assert "line 2" in caught.value.cause


def test_a_long_comment_is_not_kept() -> None:
    splitter, found = Splitter(limit=1 << 20), 0
    tracemalloc.start()
    try:
        for chunk in (b"/*", *[b"x" * (1 << 18)] * 64, b"*/ SELECT 1;"):
            found += sum(1 for _ in splitter.feed(chunk))
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()
    assert found + sum(1 for _ in splitter.feed(b"", last=True)) == 1
