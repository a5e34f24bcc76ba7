"""Which engine restores a content, told by its bytes; by its name only where the bytes cannot be seen."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from restore_drill.codecs.base import HEAD
from restore_drill.discovery.heads import Head
from restore_drill.discovery.tools import MARKS, tool_of
from restore_drill.errors import CouldNotVerify
from restore_drill.recognise import archive_of, describe, is_text, unread
from restore_drill.registry import load, names

_SQL = ("sqlite", "postgres", "mysql", "mariadb")
_ENDINGS = {
    "sqlite": (".db", ".db3", ".sqlite", ".sqlite3"), "postgres": (".dump", ".pgdump", ".pg_dump", ".psql"),
    "redis": (".rdb", ".aof"), "files": (".tar", ".tgz", ".tbz", ".tbz2", ".txz", ".tzst", ".zip", ".7z"),
    "csv": (".csv", ".tsv"), "ndjson": (".ndjson", ".jsonl"), "parquet": (".parquet",), "ldif": (".ldif", ".ldf"),
    "git": (".bundle",),
}  # fmt: skip
_WORDS = (
    ("mariadb", re.compile(r"maria", re.I)), ("mysql", re.compile(r"mysql|wordpress", re.I)),
    ("postgres", re.compile(r"postgres|psql|(?<![a-z])pg(?![a-z])|pgsql|pg_?dump", re.I)),
    ("sqlite", re.compile(r"sqlite", re.I)),
)  # fmt: skip
#: Statements and types that only one family has, and what they weigh.
_DIALECT = {
    "mysql": re.compile(rb"`\w+`|ENGINE\s*=|AUTO_INCREMENT|/\*!\d{5}|UNLOCK TABLES|CREATE DATABASE `", re.I),
    "postgres": re.compile(
        rb"^COPY [^\n]*FROM stdin|SET statement_timeout|pg_catalog|\\connect|\\c\s|GENERATED (?:ALWAYS|BY"
        rb" DEFAULT)|\bSERIAL\b|::\w+|character varying|ALTER TABLE ONLY|\bBYTEA\b|WITH ENCODING", re.I | re.M),
    "sqlite": re.compile(
        rb"PRAGMA |AUTOINCREMENT|\[\w+\]|sqlite_sequence|BEGIN TRANSACTION;|WITHOUT ROWID|NVARCHAR", re.I),
}  # fmt: skip
#: What the first member of a physical backup of PostgreSQL is called.
_BASE_BACKUP = (b"backup_label", b"tablespace_map", b"PG_VERSION", b"./PG_VERSION", b"./backup_label")


@dataclass(frozen=True, slots=True)
class Choice:
    """An engine, why it is that one, and how much that is worth.

    Attributes:
        engine: ``""`` where there is none; ``why`` says what it is then.
        seen: Whether bytes told it, and not a name.
        doubt: What speaks against it: the drill is to decide.
    """

    engine: str
    why: str
    seen: bool = True
    doubt: str = ""


def choose_engine(head: Head, name: str) -> Choice:
    """Choose by what was read of an object.

    Args:
        head: How it begins.
        name: Its own, without the endings of what encodes it.
    """
    encoded = " in ".join(reversed(head.layers))
    inside = f", in {encoded}" if encoded and head.layers != ("zip",) else ""
    if head.unread and not head.closed:
        return Choice("", f"it could not be read: {head.unread}")
    if head.closed:
        return _unseen(head, name)
    if head.layers[-1:] == ("zip",):
        return _zipped(head, inside)
    content = head.content
    if tool := _repository_inside(content):
        return Choice(
            "", f"it is {tool} in an archive{inside}: that its files are whole says little of what is in them"
        )
    if engine := _engine(content, name):
        what = f"{describe(content)}{inside}" if engine != "files" else f"a {archive_of(content)} archive{inside}"
        return Choice(engine, f"by its first bytes: {what}", doubt=head.damage)
    return _unrecognised(head, name, inside)


def _engine(content: bytes, name: str) -> str:
    if not content.strip(b"\0"):
        return ""  # an empty archive begins so, and so does a file that was never written
    first = content[:HEAD]
    found = [each for each in names("engines") if each not in ("volume", "files") and _recognises(each, first)]
    tables = [each for each in found if each in ("csv", "ndjson")]
    others = [each for each in found if each not in ("csv", "ndjson")]
    sql = [each for each in others if each in _SQL]
    if len(sql) == 1 and sql[0] == "sqlite" and is_text(first):
        return _dialect(content, name) or sql[0]  # of a script that others write, too
    if len(sql) > 1:
        if {"mysql", "mariadb"} <= set(sql):
            return "mariadb" if b"mariadb" in first.lower() else "mysql"
        return _dialect(content, name) or sql[0]
    if others:
        return others[0]
    if archive_of(content):
        return "postgres" if content.startswith(_BASE_BACKUP) else "files"
    return next((each for each in tables if name.lower().endswith(_ENDINGS[each])), "")


def _repository_inside(content: bytes) -> str:
    """The program whose repository a tar archive seems to hold and nothing else, by the names of its first members."""
    if archive_of(content) != "tar":
        return ""
    names_inside = set(_members(content))
    for name in names_inside:
        if not (found := tool_of(name)):
            continue
        root, tool = found
        is_all = all(each.startswith(root) or root.startswith(each) for each in names_inside)
        if is_all and MARKS[tool]({each.removeprefix(root) for each in names_inside}):
            return tool
    return ""


def _members(content: bytes) -> Iterator[str]:
    """Names of the members whose headers lie in these first bytes (POSIX ustar, pax and GNU alike)."""
    at = 0
    while at + 512 <= len(content) and content[at : at + 1] != b"\0":
        header = content[at : at + 512]
        name = header[:100].rstrip(b"\0").decode("utf-8", "replace")
        if header[257:263] == b"ustar\0" and (above := header[345:500].partition(b"\0")[0]):
            name = f"{above.decode('utf-8', 'replace')}/{name}"
        try:
            size = int(header[124:136].strip(b"\0 ") or b"0", 8)
        except ValueError:
            return
        if header[156:157] not in b"xgLK":  # what speaks of the next member
            yield name.removeprefix("./")
        at += 512 + -(-size // 512) * 512


def _recognises(engine: str, head: bytes) -> bool:
    try:
        return load("engines", engine).recognises(head) is not None
    except CouldNotVerify:
        return False  # the library that it needs is not installed


def _dialect(content: bytes, name: str) -> str:
    """The family whose own statements are most in it; by its name where they do not tell."""
    worth = {family: len(words.findall(content[: 64 << 10])) for family, words in _DIALECT.items()}
    best = max(worth, key=lambda family: worth[family])
    if worth[best] > 2 * sorted(worth.values())[-2]:
        return best
    return _by_word(name)


def _by_word(name: str) -> str:
    return next((engine for engine, word in _WORDS if word.search(name)), "")


def by_name(name: str) -> str:
    """The engine that a name (without the endings of codecs) suggests, ``""`` when none."""
    lower = name.lower()
    found = next((engine for engine, endings in _ENDINGS.items() if lower.endswith(endings)), "")
    if not found and lower.endswith((".sql", ".bak", ".backup", ".sql.dump")):
        return _by_word(name)
    return (_by_word(name) or found) if found == "postgres" else found


def _unseen(head: Head, name: str) -> Choice:
    engine = by_name(name)
    why = f"it is encrypted by {head.encrypted}" if head.encrypted else f"{head.layers[-1]} is read as a whole only"
    if engine:
        reason = f" ({head.unread})" if head.unread else ""
        return Choice(engine, f"by its name: {why}, and could not be looked into{reason}", seen=False)
    return Choice("", f"{why}, and its name does not say what is in it", seen=False)


def _zipped(head: Head, inside: str) -> Choice:
    if head.alone:
        engine = _engine(head.content, head.member)
        if engine and engine != "files":
            return Choice(engine, f"by its first bytes: {describe(head.content)}, alone in a zip archive{inside}")
    return Choice("files", f"by its first bytes: a zip archive{inside}", doubt=head.damage)


def _unrecognised(head: Head, name: str, inside: str) -> Choice:
    foreign = unread(head.content)
    what = f"it begins like {describe(head.content)}{inside}" if head.content else f"nothing can be read of it{inside}"
    if foreign:
        return Choice("", f"it is {foreign[0]}{inside}. {foreign[1]}")
    engine = by_name(name) or (_sql_like(head, name) if name.lower().endswith(".sql") else "")
    if engine:
        doubt = head.damage or f"{what}, which is nothing that the engine {engine} knows"
        return Choice(engine, "by its name", seen=False, doubt=doubt)
    damage = f" ({head.damage})" if head.damage else ""
    return Choice("", f"{what}{damage}: no engine restores that")


def _sql_like(head: Head, name: str) -> str:
    return _dialect(head.content, name) if head.content and is_text(head.content) else ""


def directory_engine(names_inside: list[str], look: Callable[[str], Head | None]) -> Choice:
    """Which engine restores a directory, by the names in it (of the newest one, some of them)."""
    bases = {name.rpartition("/")[2] for name in names_inside}
    if "PG_VERSION" in names_inside or "backup_manifest" in names_inside or bases & {"base.tar", "base.tar.gz"}:
        return Choice("postgres", "by the names in it: a base backup of PostgreSQL", seen=False)
    if "toc.dat" in names_inside:
        return Choice("postgres", "by the names in it: pg_dump's directory format", seen=False)
    if {"HEAD", "config"} <= set(names_inside) and any(name.startswith(("objects/", "refs/")) for name in names_inside):
        return Choice("git", "by the names in it: a bare Git repository", seen=False)
    if any(
        name.endswith("appendonly.aof.manifest") or (name.endswith(".manifest") and "aof" in name) for name in bases
    ):
        return Choice("redis", "by the names in it: a directory of append-only files", seen=False)
    if any(name.endswith((".sql.gz", ".sql.zst")) for name in bases) and "metadata" in bases:
        return Choice("", "it is a directory that mydumper wrote, which no engine restores")
    databases = [name for name in names_inside if name.endswith(_ENDINGS["sqlite"])]
    if len(databases) == 1 and len(names_inside) <= 3 and look(databases[0]) is not None:
        return Choice("files", "a directory with a database among its files; engine: sqlite would examine that")
    return Choice("files", f"a directory of {len(names_inside)} files" if len(names_inside) < 100 else "a file tree")
