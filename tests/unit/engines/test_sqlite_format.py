"""What is told of SQLite's files by their bytes."""

from __future__ import annotations

import sqlite3
import struct
from pathlib import Path

import pytest

from restore_drill.engines.sqlite_format import (
    DATABASE,
    SQL_TEXT,
    Header,
    JournalHeader,
    WalHeader,
    names_super_journal,
    recognise,
    wal_checksum,
)

_LICENCE = b"-- " + b"All rights reserved. " * 60

OURS = [
    b"PRAGMA foreign_keys=OFF;\nBEGIN TRANSACTION;\n",
    b"\xef\xbb\xbfPRAGMA foreign_keys=OFF;\n",
    b"BEGIN;\nCREATE TABLE t(a);\n",
    b"begin immediate transaction;",
    b"-- a title\r\n\r\n/* and\n a comment */ CREATE TABLE t (a);",
    b"# a remark\ncreate unique index i on t(a);",
    b"CREATE VIRTUAL TABLE f USING fts5(t);",
    b"CREATE TEMP TABLE t(a);",
    b"INSERT INTO t VALUES('see; USE the force; SET sail');",
    b"insert or replace into t values (1);",
    b"REPLACE INTO t VALUES(1);",
    b'UPDATE "a table" SET a = 1;',
    b"UPDATE t\nSET a = 1;",
    b"DROP TABLE IF EXISTS [Categories];",
    b"ALTER TABLE t ADD b;",
    b"SAVEPOINT s;",
    b"ANALYZE;",
    b"VACUUM INTO 'x';",
    b"ATTACH 'x' AS y;",
    b".read other.sql\n",
    b"INSERT INTO notes VALUES('-- MySQL dump, not really');",
    _LICENCE,
    b"/*" + b"*" * 1100,
]
OTHERS = [
    b"",
    b" \n ",
    b"--\n",
    b"--\n-- PostgreSQL database dump\n--\n\nCREATE TABLE t (a integer);",
    b"-- MySQL dump 10.13  Distrib 8.0\n" + b"-- \n" * 400,
    b"-- MariaDB dump 10.19\nDROP TABLE IF EXISTS `t`;",
    b"/*M!999999\\- enable the sandbox mode */\n-- MariaDB dump\n",
    b"-- phpMyAdmin SQL Dump\nCREATE TABLE t (a int);",
    b"SET statement_timeout = 0;",
    b"USE shop;",
    b"CREATE DATABASE shop;",
    b"DROP TABLE IF EXISTS `t`;\n/*!40101 SET character_set_client = utf8 */;",
    b"CREATE TABLE `t` (`a` int NOT NULL AUTO_INCREMENT) ENGINE=InnoDB;",
    b"CREATE TABLE t (a integer);\nSET search_path = public;",
    b"CREATE TABLE t (a int);\nCOPY t (a) FROM stdin;",
    b"CREATE TABLE t (a int)\nGO\n",
    b"Drop table? no",
    b"Begin again.",
    b"Update failed: nothing set",
    b"---\nyaml: true\n",
    b"CREATE TABLE t(\0a);",
    "CREATE TABLE t(a);".encode("utf-16"),
    b"SQLite format 2\0",
    b"** This file contains an SQLite 2.1 database **",
]


@pytest.mark.parametrize("head", OURS, ids=lambda head: repr(head[:30]))
def test_sql_text_is_recognised(head: bytes) -> None:
    assert recognise(head) == SQL_TEXT


@pytest.mark.parametrize("head", OTHERS, ids=lambda head: repr(head[:30]))
def test_other_text_is_not(head: bytes) -> None:
    assert recognise(head) is None


def test_a_database_is_recognised_by_its_header(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    sqlite3.connect(path).executescript("CREATE TABLE t(a)")
    head = path.read_bytes()[:1024]
    assert recognise(head) == DATABASE
    assert recognise(head[1:]) is None
    assert recognise(bytes(byte ^ 0x55 for byte in head)) is None


@pytest.mark.parametrize("page_size", [512, 4096, 65536])
@pytest.mark.parametrize("encoding", ["UTF-8", "UTF-16le", "UTF-16be"])
def test_header(tmp_path: Path, page_size: int, encoding: str) -> None:
    path = tmp_path / "x.db"
    connection = sqlite3.connect(path)
    connection.executescript(
        f"PRAGMA page_size={page_size}; PRAGMA encoding='{encoding}'; PRAGMA auto_vacuum=1; CREATE TABLE t(a)"
    )
    connection.close()
    header = Header.parse(path.read_bytes()[:100])
    assert header is not None
    assert (header.page_size, header.encoding, header.auto_vacuum) == (page_size, encoding, True)
    assert header.pages * page_size == path.stat().st_size
    assert header.written_by == sqlite3.sqlite_version
    assert not header.wal_mode


def test_header_of_something_else() -> None:
    assert Header.parse(b"SQLite format 3\0") is None
    assert Header.parse(b"x" * 100) is None
    assert Header.parse(b"SQLite format 3\0" + struct.pack(">H", 1000) + bytes(82)) is None


def test_header_says_wal_mode_and_forgets_a_stale_size(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    connection = sqlite3.connect(path)
    connection.executescript("PRAGMA journal_mode=WAL; CREATE TABLE t(a)")
    connection.close()
    data = bytearray(path.read_bytes()[:100])
    header = Header.parse(bytes(data))
    assert header is not None
    assert header.wal_mode
    assert header.pages > 0
    data[24] ^= 1
    stale = Header.parse(bytes(data))
    assert stale is not None
    assert stale.pages == 0


def test_wal_header_and_checksum(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    connection = sqlite3.connect(path)
    connection.executescript(
        "PRAGMA page_size=1024; PRAGMA journal_mode=WAL; CREATE TABLE t(a); INSERT INTO t VALUES(1)"
    )
    log = Path(f"{path}-wal").read_bytes()
    header = WalHeader.parse(log[:32])
    assert header is not None
    assert header.intact
    assert header.page_size == 1024
    frames, rest = header.frames(len(log))
    assert frames >= 2
    assert rest == 0
    running = header.checksum
    for number in range(frames):
        frame = log[32 + number * 1048 :][:1048]
        assert frame[8:16] == header.salt
        running = wal_checksum(frame[:8], running, big_endian=header.big_endian)
        running = wal_checksum(frame[24:], running, big_endian=header.big_endian)
        assert running == struct.unpack(">II", frame[16:24])
    damaged = WalHeader.parse(log[:20] + bytes([log[20] ^ 0xFF]) + log[21:32])
    assert damaged is not None
    assert not damaged.intact
    assert WalHeader.parse(log[:31]) is None
    assert WalHeader.parse(b"x" * 32) is None


def test_journal_header() -> None:
    magic = bytes.fromhex("d9d505f920a163d7")
    intact = JournalHeader.parse(magic + bytes(16) + struct.pack(">I", 4096))
    assert (intact.intact, intact.spent, intact.page_size) == (True, False, 4096)
    spent = JournalHeader.parse(bytes(28))
    assert (spent.intact, spent.spent) == (False, True)
    other = JournalHeader.parse(b"something else entirely, but long")
    assert (other.intact, other.spent) == (False, False)
    assert names_super_journal(b"..." + magic)
    assert not names_super_journal(bytes(100))
