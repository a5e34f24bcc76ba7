"""What pg_restore and psql say, sorted: no value of a row is published, and an exit status alone is never believed."""

# ruff: noqa: E501 - statements, dumps and messages stand as they are

from __future__ import annotations

import pytest

from restore_drill.engines.postgres import said
from restore_drill.errors import BackupFailed, CouldNotVerify
from restore_drill.process import Completed

_ENTRY = "pg_restore: from TOC entry 215; 1259 16386 TABLE orders postgres\n"
_QUERY = "pg_restore: error: could not execute query: "
FAILED = {
    f'{_ENTRY}{_QUERY}ERROR:  relation "a" does not exist\nCommand was: ALTER TABLE': "relation a is missing, on which",
    'pg_restore: error: COPY failed for table "t": ERROR:  invalid input syntax for type integer: "private"\nCONTEXT:  COPY'
    ' t, line 1, column a: "private"': "(TABLE DATA t)",
    'psql:/x:7: ERROR:  duplicate key value violates unique constraint "k"\nDETAIL:  Key (a)=(private)': "unique index k",
    f'{_QUERY}ERROR:  insert or update on table "a" violates foreign key constraint "b"\nDETAIL:  private': "foreign key b",
    'psql:/x:7: ERROR:  new row for relation "a" violates check constraint "b"': "check constraint",
    'psql:/x:7: ERROR:  null value in column "a" of relation "b" violates not-null constraint': "a value in the column a",
    "psql:/x:9: ERROR:  something new: \"private\" and 'private' (private)": "a statement fails: something new",
    'pg_restore: error: COPY failed for table "t": ERROR:  invalid input syntax for type integer: "skipping private"':
        "(TABLE DATA t)",
    f'{_QUERY}ERROR:  operator class "public.gin_trgm_ops" does not exist for access method "gin"':
        "operator class public.gin_trgm_ops is missing",
    "psql:/x:9: error: invalid command \\private": "rows are garbled",
    "pg_restore: error: could not read from input file: end of file": "cannot read all of it",
    "psql:/x:3: error: backslash commands are restricted; only \\unrestrict is allowed": "metacommand",
}  # fmt: skip
UNKNOWN = {
    'psql:/x:7: ERROR:  extension "postgis" is not available\nDETAIL: private': "the extension postgis is not installed",
    'psql:/x:7: ERROR:  could not extend file "base/1/2": No space left on device': "ran out of space",
    "pg_restore: error: unsupported version (1.17) in file header": "too old for an archive of version 1.17",
    'psql:/x:7: ERROR:  could not access file "$libdir/x": No such file': "a library is not installed: $libdir/x",
    "psql:/x:7: error: connection to server was lost": "the server ended",
    f'{_QUERY}ERROR:  role "app" does not exist': "the role app does not exist",
}  # fmt: skip
NOTHING = {
    "": "",
    "pg_restore: warning: errors ignored on restore: 1": "",
    "psql:/x:7: WARNING:  wal_level is insufficient to publish logical changes\nHINT:  Set it": "",
    f'{_QUERY}ERROR:  schema "public" already exists': "",
    f'{_QUERY}ERROR:  unrecognized configuration parameter "transaction_timeout"': "transaction_timeout is unknown",
    'psql:/x:7: WARNING:  something odd about "private"': "the server warned: something odd about",
    f'{_QUERY}ERROR:  could not connect to server "remote"\nDETAIL:  private': "a foreign server remote was asked for rows",
    f'{_QUERY}ERROR:  materialized view "mv" has not been populated': "could not be filled from mv",
    f'{_QUERY}ERROR:  security label provider "anon" is not loaded': "security labels of anon were left out",
}


def told(stderr: str, status: int = 1) -> said.Said:
    return said.sort(Completed(status, b"", stderr.encode()))


@pytest.mark.parametrize("stderr", FAILED)
def test_damage_fails(stderr: str) -> None:
    for status in (0, 1):
        problem = told(stderr, status).problem()
        assert isinstance(problem, BackupFailed)
        assert FAILED[stderr] in problem.cause
        assert "private" not in str(problem)
        assert problem.details


@pytest.mark.parametrize("stderr", UNKNOWN)
def test_what_is_missing_here_is_no_damage(stderr: str) -> None:
    problem = told(f'{stderr}\n{_QUERY}ERROR:  relation "a" does not exist').problem()
    assert isinstance(problem, CouldNotVerify)
    assert UNKNOWN[stderr] in problem.cause
    assert problem.remedy
    assert "private" not in str(problem)


@pytest.mark.parametrize("stderr", NOTHING)
def test_what_is_harmless_is_at_most_a_note(stderr: str) -> None:
    words = told(stderr, 0)
    assert words.problem() is None
    assert NOTHING[stderr] in " ".join(words.notes)
    assert "private" not in " ".join(words.notes)


def test_damage_weighs_more_than_what_follows_from_it() -> None:
    problem = told(
        "psql:/x:1: ERROR:  out of memory\npg_restore: error: could not read from input file: end of file"
    ).problem()
    assert isinstance(problem, BackupFailed)


def test_a_status_without_a_word_fails_and_so_does_too_much_of_it() -> None:
    assert "without a word" in str(told("", 2).problem())
    assert told("", 0).problem() is None
    long = "psql:/x:7: NOTICE:  a\n" * 200_000
    assert "more statements fail" in str(told(long, 0).problem())


def test_a_script_that_was_given_up_is_never_a_note() -> None:
    for line in (
        'psql:/x:7: ERROR:  language "plpgsql" already exists',
        'psql:/x:7: ERROR:  unrecognized configuration parameter "later"',
        'psql:/x:7: ERROR:  could not connect to server "remote"',
    ):
        assert told(line, 0).problem() is None
        problem = told(line, 3).problem()
        assert isinstance(problem, CouldNotVerify)
        assert "psql stopped" in problem.cause
    assert isinstance(told('psql:/x:7: ERROR:  relation "a" does not exist', 3).problem(), BackupFailed)
