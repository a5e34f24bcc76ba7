"""What the text of a dump says before a server sees it: where it ends, what it holds, and what it may not hold."""

# ruff: noqa: E501 - statements and dumps stand as they are

from __future__ import annotations

import mmap
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from restore_drill.engines.mysql import scan
from restore_drill.engines.mysql.answers import Problem
from restore_drill.engines.mysql.findings import Circumstances, changed, first, verdict
from restore_drill.engines.mysql.lexer import End, statements
from restore_drill.engines.mysql.recognise import Header, read_header, recognise
from restore_drill.engines.mysql.samples import dump
from restore_drill.errors import BackupFailed, CouldNotVerify, DeadlineExceeded
from restore_drill.process import Completed
from restore_drill.sandboxes.base import Call

GOOD = dump()
PLACE = GOOD.index(b"\n--\n-- Table structure for table `orders`") + 1


def examined(text: bytes, tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "dump.sql").write_bytes(text)
    call = cast("Call", SimpleNamespace(work=tmp_path))
    return scan.examine(call, "dump.sql")


def cut(text: bytes, tmp_path: Path, *, escaped: bool = False) -> list[tuple[bytes, End]]:
    (tmp_path / "text").write_bytes(text)
    with (tmp_path / "text").open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        return [(bytes(mapped[one.start : one.end]), one.how) for one in statements(mapped, escaped=escaped)]


# --- how it begins ----------------------------------------------------------------------------------------------

HEADS = {
    b"-- MySQL dump 10.13  Distrib 8.0.36, for Linux (x86_64)\n--\n-- Host: db    Database: shop\n-- Server version\t8.0.36\n":
        Header("mysqldump", "mysql", "8.0", "shop"),
    b"/*M!999999\\- enable the sandbox mode */ \n-- MariaDB dump 10.19-11.4.2-MariaDB, for Linux (x86_64)\n":
        Header("mysqldump", "mariadb", "11.4"),
    b"-- MySQL dump 10.19  Distrib 10.6.16-MariaDB, for Linux\n-- Server version\t10.6.16-MariaDB-1:10.6.16\n":
        Header("mysqldump", "mariadb", "10.6"),
    b"-- Dump created by MySQL pump utility, version: 8.0.30, Linux (x86_64)\n-- Server version: 8.0.30\n":
        Header("mysqlpump", "mysql", "8.0"),
    b"-- phpMyAdmin SQL Dump\n-- version 5.2.1\n-- Server version: 10.4.28-MariaDB\n\n-- Database: `a``b`\n":
        Header("phpMyAdmin", "mariadb", "10.4", "a`b"),
    b"-- Adminer 4.8.1 MySQL 5.5.5-10.11.2-MariaDB dump\n": Header("Adminer", "mariadb", "10.11"),
    b"/*!40101 SET @OLD_CHARACTER_SET_CLIENT=@@CHARACTER_SET_CLIENT */;\n": Header("no comments"),
    b"\xef\xbb\xbf/*M!999999\\- enable the sandbox mode */ \n\n/*!40101 SET NAMES utf8mb4 */;\n": Header("no comments"),
    b"/*M!999999\\- enable the sandbox mode */ \nCREATE TABLE `x` (i INT);\n": Header("no comments"),
    b"\nCREATE DATABASE /*!32312 IF NOT EXISTS*/ `a` /*!40100 DEFAULT CHARACTER SET utf8mb4 */;\n": Header("no comments"),
    b"mysqldump: [Warning] Using a password on the command line\n-- MySQL dump 10.13\n-- Server version\t5.7.1\n":
        Header("mysqldump", "mysql", "5.7", complaint=True),
}  # fmt: skip


@pytest.mark.parametrize(
    ("head", "header"), HEADS.items(), ids=[f"{n}-{one.writer}" for n, one in enumerate(HEADS.values())]
)
def test_it_is_known_by_how_it_begins(head: bytes, header: Header) -> None:
    assert recognise(head) == "mysql-dump"
    assert read_header(head) == header


@pytest.mark.parametrize(
    "head",
    [
        b"-- PostgreSQL database dump\n",
        b"PRAGMA foreign_keys=OFF;\n",
        b"CREATE TABLE x (i INT);",
        b"CREATE DATABASE a;",
    ],
)
def test_other_text_is_not_taken_for_it(head: bytes) -> None:
    assert recognise(head) is None


def test_a_stream_of_a_physical_backup_is_known() -> None:
    assert recognise(b"XBSTCK01\0\0\0\0") == "mysql-physical-stream"


# --- statements ----------------------------------------------------------------------------------------------


def test_statements_are_cut_as_the_client_cuts_them(tmp_path: Path) -> None:
    text = (
        b"-- a ; comment\n# another;\n/* ; */ SELECT ';', \"a\\\";\", `odd;``name`, 'it''s', 1--1; INSERT INTO t VALUES (1);\n"
        b"DELIMITER ;;\nCREATE TRIGGER x BEGIN SELECT 1; END ;;\ndelimiter //\nSELECT 4/2 //\nDELIMITER ;\n"
        b"/*!50003 SET x = ';' */; SELECT 2"
    )
    assert cut(text, tmp_path) == [
        (b"SELECT ';', \"a\\\";\", `odd;``name`, 'it''s', 1--1", End.DELIMITED),
        (b"INSERT INTO t VALUES (1)", End.DELIMITED),
        (b"CREATE TRIGGER x BEGIN SELECT 1; END ", End.DELIMITED),
        (b"SELECT 4/2 ", End.DELIMITED),
        (b"/*!50003 SET x = ';' */", End.DELIMITED),
        (b"SELECT 2", End.EOF),
    ]


@pytest.mark.parametrize(("text", "how"), [(b"SELECT 'a", End.QUOTE), (b"SELECT `a", End.QUOTE), (b"SELECT /* a", End.QUOTE),
    (b"SELECT 1 \\! x", End.COMMAND), (b"SELECT 1", End.EOF)])  # fmt: skip
def test_how_a_statement_ends(text: bytes, how: End, tmp_path: Path) -> None:
    assert cut(text, tmp_path)[-1][1] is how


VALUES = st.text(st.sampled_from("a;'\"`\\\n\r-#/*! ☂"), max_size=12)


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(st.lists(VALUES, min_size=1, max_size=3), min_size=1, max_size=6), escaped=st.booleans())
def test_values_never_end_a_statement(
    rows: list[list[str]], escaped: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    def written(value: str) -> str:
        text = value.replace("\\", "\\\\").replace("'", "\\'")
        return f"'{text.replace(chr(10), chr(92) + 'n') if escaped else text}'"

    made = [f"INSERT INTO `t` VALUES ({','.join(map(written, row))})".encode() for row in rows]
    text = b"".join(one + b";\n" for one in made)
    assert cut(text, tmp_path_factory.mktemp("text"), escaped=escaped) == [(one, End.DELIMITED) for one in made]


# --- whether it is whole ---------------------------------------------------------------------------------------------


def test_a_whole_dump_is_read(tmp_path: Path) -> None:
    found = examined(GOOD, tmp_path)
    assert (found["witness"], found["family"], found["version"], found["database"]) == (
        "trailer",
        "mariadb",
        "10.11",
        "shop",
    )
    assert (found["tables"], found["row_statements"], found["definers"], found["cuts"]) == (3, 3, [("app", "%")], [])


def test_what_other_writers_give_back_is_a_witness(tmp_path: Path) -> None:
    text = b"\n".join(line for line in GOOD.splitlines() if not line.startswith(b"--"))
    assert examined(text, tmp_path)["witness"] == "settings"
    with pytest.raises(BackupFailed) as caught:
        examined(text[: text.rindex(b"/*!40111")], tmp_path)
    assert "cut short" in caught.value.cause


def test_a_dump_without_any_witness_says_so(tmp_path: Path) -> None:
    assert (
        examined(b"-- Adminer 4.8.1 MySQL 8.0.33 dump\n\nSET NAMES utf8;\nCREATE TABLE t (i INT);\n", tmp_path)[
            "witness"
        ]
        == ""
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (GOOD[: GOOD.rindex(b"-- Dump completed")], "end that its program writes last is missing"),
        (GOOD[: GOOD.index(b"customer 30, it")], "inside a value"),
        (GOOD[:PLACE], "end that its program writes last is missing"),
        (GOOD[: GOOD.index(b"`customer_id` int")], "in the middle of a statement"),
        (GOOD[: GOOD.index(b"\\n-- no")] + b"\n-- Dump completed\n", "inside a value"),
        (GOOD + b"mariadb-dump: Error 2013: Lost connection\n", ""),
        (GOOD + b"CREATE TABLE more (i INT);\n", "something follows"),
        (b"mysqldump: [Warning] Using a password\n" + GOOD, "a message of the dump program"),
        (b"", "nothing came back"),
    ],
)
def test_what_is_not_whole_is_told(text: bytes, words: str, tmp_path: Path) -> None:
    with pytest.raises(BackupFailed) as caught:
        examined(text, tmp_path)
    assert words in caught.value.cause
    assert "customer" not in f"{caught.value}"


# --- what it may not hold --------------------------------------------------------------------------------------------

REACHING = {
    rb"\! touch owned": r"client command \!",
    rb"SELECT 1 \! touch owned": r"client command \!",
    rb"/*!40101 SET x = 1 \! touch owned */;": r"client command \!",
    b"system touch owned": "client command system",
    b"source /etc/passwd": "client command source",
    b"tee owned\n;": "client command tee",
    b"LOAD DATA LOCAL INFILE '/etc/passwd' INTO TABLE orders;": "LOAD DATA",
    b"/*!50000 LOAD DATA INFILE '/etc/passwd' INTO TABLE orders */;": "LOAD DATA",
    b"SELECT 1 INTO OUTFILE 'x';": "INTO OUTFILE",
    b"INSTALL SONAME 'ha_x';": "plugin",
    b"CREATE FUNCTION sys_exec RETURNS INT SONAME 'x.so';": "library",
    b"SHUTDOWN;": "stops the server",
}


@pytest.mark.parametrize(("text", "words"), REACHING.items(), ids=[one.decode() for one in REACHING])
def test_what_reaches_outside_is_refused(text: bytes, words: str, tmp_path: Path) -> None:
    with pytest.raises(BackupFailed) as caught:
        examined(GOOD[:PLACE] + text + b"\n" + GOOD[PLACE:], tmp_path)
    assert words in caught.value.cause
    assert caught.value.looked_at == f"line {GOOD[:PLACE].count(10) + 1}"
    quoted = (
        b"INSERT INTO `settings` VALUES ('"
        + text.replace(b"\\", b"\\\\").replace(b"'", b"\\'").replace(b"\n", b"\\n")
        + b"',1);\n"
    )
    assert examined(GOOD[:PLACE] + quoted + GOOD[PLACE:], tmp_path)["witness"] == "trailer"


def test_what_concerns_the_server_is_left_out_and_lines_keep_their_numbers(tmp_path: Path) -> None:
    more = b"SET @@GLOBAL.GTID_PURGED=/*!80000 '+'*/ 'a:1-5,\nb:1-2';\n"
    own = b"CREATE DATABASE /*!32312 IF NOT EXISTS*/ `mysql`;\nUSE `mysql`;\nCREATE TABLE x (i INT);\n"
    text = GOOD[:PLACE] + more + own + b"CREATE DATABASE `shop`;\nUSE `shop`;\n" + GOOD[PLACE:]
    found = examined(text, tmp_path)
    pieces = [(text[start:end], lines, what) for start, end, lines, what in found["cuts"]]
    assert pieces == [(more[:-1], 1, "server"), (own, 3, "own")]
    assert (found["created"], found["databases"], found["own"], found["names_none"]) == (
        ["shop"],
        ["shop"],
        ["mysql"],
        False,
    )


def test_an_error_is_placed_by_what_the_text_is_about(tmp_path: Path) -> None:
    (tmp_path / "dump.sql").write_bytes(GOOD)
    call = cast("Call", SimpleNamespace(work=tmp_path))
    lines = GOOD.splitlines()
    for beginning, about in (
        (b"INSERT INTO `orders`", "the rows of orders"),
        (b"CREATE TABLE `orders`", "create table orders"),
        (b"  SET NEW", "create trigger order_amount"),
        (b"/*!50001 VIEW", "view totals"),
    ):
        number = next(at for at, line in enumerate(lines, 1) if line.startswith(beginning))
        assert about == scan.place_of(call, "dump.sql", number)


# --- what errors mean ----------------------------------------------------------------------------------------------

ALIKE = Circumstances(alike=True, server="MariaDB 10.11", dumped="MariaDB 10.11")
OTHER = Circumstances(alike=False, server="MariaDB 10.11", dumped="MySQL 8.0")


@pytest.mark.parametrize(
    ("number", "message", "how", "kind"),
    [
        (1062, "Duplicate entry 'secret' for key 'PRIMARY'", ALIKE, BackupFailed),
        (1062, "Duplicate entry 'secret' for key 'PRIMARY'", OTHER, BackupFailed),
        (1064, "You have an error near 'secret'", ALIKE, BackupFailed),
        (1064, "You have an error near 'secret'", OTHER, CouldNotVerify),
        (1273, "Unknown collation: 'secret'", ALIKE, CouldNotVerify),
        (1045, "Access denied for 'secret'", ALIKE, BackupFailed),
        (1227, "Access denied 'secret'", OTHER, BackupFailed),
        (1030, 'Got error 28 "No space left" from secret', ALIKE, CouldNotVerify),
        (1180, 'Got error 1 "Operation not permitted secret" during COMMIT', ALIKE, BackupFailed),
        (1114, "The table 'secret' is full", ALIKE, CouldNotVerify),
        (1969, "Query execution was interrupted secret", ALIKE, DeadlineExceeded),
        (2013, "Lost connection secret", ALIKE, CouldNotVerify),
        (0, "Unknown command '\\!' secret", ALIKE, BackupFailed),
        (9999, "secret", ALIKE, BackupFailed),
        (9999, "secret", OTHER, CouldNotVerify),
    ],
)
def test_what_an_error_means(number: int, message: str, how: Circumstances, kind: type[Exception]) -> None:
    problem = first(Completed(1, b"", f"ERROR {number} (HY000) at line 7: {message}\n".encode()))
    assert problem is not None
    assert problem.line == 7
    found = verdict(Problem(number, 7, message), how)
    assert type(found) is kind
    assert "secret" not in f"{found}"
    assert "line 7" in f"{found}"
    assert type(verdict(problem, Circumstances(alike=True, server="", dumped="", alive=False))) in (
        CouldNotVerify,
        DeadlineExceeded,
    )


def test_changed_values_are_told_from_other_warnings() -> None:
    other = b"Note (Code 1051): Unknown table\nWarning (Code 1287): deprecated\nx\tWarning (Code 1265): no\n"
    assert changed(Completed(0, other, b"")) is None
    found = changed(Completed(0, other + b"Warning (Code 1265): Data truncated for column 'secret' at row 1\n", b""))
    assert isinstance(found, BackupFailed)
    assert "secret" not in f"{found}"
    assert first(Completed(0, other, b"")) is None
