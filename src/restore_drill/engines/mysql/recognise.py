r"""How a dump of MySQL or MariaDB begins, and what its first lines say of it.

The two families' own programs write ``-- MySQL dump`` or ``-- MariaDB dump``; MariaDB's, since 10.5.25 and 10.11.8, put
``/*M!999999\- enable the sandbox mode */`` before it. Without comments (``--skip-comments``) a dump begins with the
statements that keep the session's settings. Other programs' exports say who they are in a comment.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

#: What :meth:`Engine.recognises` answers: SQL text, and a physical backup, which is known only to be refused in words.
TEXT: Final = "mysql-dump"
STREAM: Final = "mysql-physical-stream"

MYSQL: Final = "mysql"
MARIADB: Final = "mariadb"

#: A complaint that the backup job wrote into the dump (``2>&1``), the sandbox line, and a byte order mark.
_BEFORE: Final = (
    rb"(?:\xef\xbb\xbf)?(?:(?:mysqldump|mariadb-dump|mysqlpump): [^\n]*\n)*"
    rb"(?:/\*M?!999999\\- enable the sandbox mode \*/\s*)?\s*"
)
_WRITERS: Final = {
    "mysqldump": rb"-- (?:MySQL|MariaDB) dump \d",
    "mysqlpump": rb"-- Dump created by MySQL pump utility",
    "phpMyAdmin": rb"-- phpMyAdmin SQL Dump",
    "Adminer": rb"-- Adminer \d[^\n]*(?:MySQL|MariaDB) ",
    "HeidiSQL": rb"-- -{20,}\r?\n-- Host: ",
    "Navicat": rb"/\*\r?\n Navicat [^\n]*\n(?:[^\n]*\n){1,6}? Source Server Type +: (?:MySQL|MariaDB)",
    "Sequel": rb"# \*{20,}\r?\n# Sequel [^\n]*SQL dump",
    "no comments": rb"/\*!(?:40101|40103|50503) SET (?:@OLD_|@saved_cs_client|NAMES |character_set_client)|"
    rb"CREATE DATABASE (?:/\*!32312 IF NOT EXISTS\*/ )?`(?:[^`\n]|``)+` /\*!40100 DEFAULT CHARACTER SET ",
}
_BEGINNINGS: Final = {name: re.compile(_BEFORE + rb"(?:" + pattern + rb")") for name, pattern in _WRITERS.items()}
#: With ``--compact`` nothing but this line may tell where a dump is from.
_SANDBOX: Final = re.compile(rb"(?:\xef\xbb\xbf)?/\*M?!999999\\- enable the sandbox mode \*/")
_STREAM: Final = b"XBSTCK01"

_SERVER: Final = (
    re.compile(rb"^-- Server version:?\s+(\d+)\.(\d+)\.\d+(\S*)", re.M),
    re.compile(rb"^-- MariaDB dump \S+-(\d+)\.(\d+)\.\d+-(MariaDB)", re.M),
    re.compile(rb"^-- MySQL dump \S+ +Distrib (\d+)\.(\d+)\.\d+(\S*?),", re.M),
    re.compile(rb"^-- Adminer \S+ (?:MySQL|MariaDB) (?:5\.5\.5-)?(\d+)\.(\d+)\.\d+(\S*) dump", re.M),
    re.compile(rb"^ Source Server Version +: \d+ \((\d+)\.(\d+)\.\d+(\S*?)\)", re.M),
    re.compile(rb"^# Host: .*\(MySQL (?:5\.5\.5-)?(\d+)\.(\d+)\.\d+(\S*?)\)", re.M),
)
_DATABASE: Final = (
    re.compile(rb"^-- Host: [^\n]*? Database: ([^\r\n]+)", re.M),
    re.compile(rb"^-- Database: `((?:[^`\n]|``)+)`", re.M),
)
_COMPLAINT: Final = re.compile(rb"(?:\xef\xbb\xbf)?(?:mysqldump|mariadb-dump|mysqlpump): ")


@dataclass(frozen=True, slots=True)
class Header:
    """What the first lines say.

    Attributes:
        writer: The program: ``mysqldump`` (also MariaDB's), ``phpMyAdmin``, …; ``""`` when it does not say.
        family: ``mysql`` or ``mariadb``, ``""`` when it does not say.
        version: The server's major and minor number: ``10.11``.
        database: The database that was dumped, when it was one.
        complaint: The first line is a message of the dump program and no part of the dump.
    """

    writer: str = ""
    family: str = ""
    version: str = ""
    database: str = ""
    complaint: bool = False


def recognise(head: bytes) -> str | None:
    """``mysql-dump``, ``mysql-physical-stream`` (of mariadb-backup or xtrabackup), or ``None``."""
    if head.startswith(_STREAM):
        return STREAM
    return TEXT if _writer(head) else None


def read_header(head: bytes) -> Header:
    """What the first kilobytes of a dump say of it."""
    writer = _writer(head)
    server = next((found for pattern in _SERVER if (found := pattern.search(head))), None)
    family = ""
    if server:
        family = MARIADB if b"MariaDB" in server[3] or re.match(_BEFORE + rb"-- MariaDB dump", head) else MYSQL
    named = next((found for pattern in _DATABASE if (found := pattern.search(head))), None)
    return Header(
        writer=writer,
        family=family,
        version=f"{server[1].decode()}.{server[2].decode()}" if server else "",
        database=named[1].replace(b"``", b"`").decode(errors="replace").strip() if named else "",
        complaint=bool(_COMPLAINT.match(head)),
    )


def _writer(head: bytes) -> str:
    known = next((name for name, pattern in _BEGINNINGS.items() if pattern.match(head)), "")
    return known or ("no comments" if _SANDBOX.match(head) else "")
