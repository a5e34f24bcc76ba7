"""Looks a dump through before a server sees any of it. Runs inside the sandbox.

What is looked for: whether the text is whole (a dump's last line is written when everything else was), commands to the
client and statements that reach beyond databases, which databases it fills, and whom it names as definers. What keeps a
hostile dump in is not this but the client's own modes, the account that loads it, and the sandbox.
"""

from __future__ import annotations

import mmap
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from restore_drill.engines.base import nothing_came_back
from restore_drill.engines.mysql.lexer import End, Statement, line_of, statements
from restore_drill.engines.mysql.recognise import Header, read_header
from restore_drill.engines.mysql.sections import Sections
from restore_drill.errors import BackupFailed, CouldNotVerify
from restore_drill.model import Stage
from restore_drill.sandboxes.base import Call

#: Bytes of a statement that are looked at, and how many of a kind are remembered.
_LOOK: Final = 4096
_MOST: Final = 1000
_FEW: Final = 20
_HEAD: Final = 16384
_TAIL: Final = 4096
#: Written as their last line by the programs that write one.
_TRAILERS: Final = {
    "mysqldump": re.compile(rb"^-- Dump completed(?: on [^\n]*)?\s*\Z", re.M),
    "mysqlpump": re.compile(rb"^-- Dump end time: [^\n]*\s*\Z", re.M),
}
_TRAILED: Final = re.compile(rb"^-- Dump (?:completed|end time:)", re.M)
_KEPT: Final = re.compile(rb"/\*!\d+ SET @(OLD_[A-Z_]+) ?=", re.I)
_NAME: Final = rb"(`(?:[^`]|``)+`|[A-Za-z0-9_$\x80-\xff]+)"
_COMMENT: Final = re.compile(rb"/\*(?:M?!\d*)?|\*/")
_USE: Final = re.compile(rb"USE\s+" + _NAME, re.I)
_CREATE_DATABASE: Final = re.compile(
    rb"(CREATE|DROP)\s+(?:DATABASE|SCHEMA)\s+(?:IF\s+(?:NOT\s+)?EXISTS\s+)?" + _NAME, re.I
)
_CREATE_TABLE: Final = re.compile(
    rb"CREATE\s+(?:OR\s+REPLACE\s+)?TABLE\s+(?:IF\s+NOT\s+EXISTS\s+)?" + _NAME + rb"(?:\s*\.\s*" + _NAME + rb")?", re.I
)
_ENGINE: Final = re.compile(rb"\)[^)]*?\bENGINE\s*=\s*(\w{1,40})", re.I)
_DEFINER: Final = re.compile(
    rb"DEFINER\s*=\s*(`(?:[^`]|``)*`|'(?:[^']|'')*'|[\w$]+)\s*@\s*(`(?:[^`]|``)*`|'(?:[^']|'')*'|[\w$.%]+)", re.I
)
#: Settings of the whole server, replication and privileges' reloading: no data, and never obeyed.
_SERVERS: Final = re.compile(
    rb"(?:SET\s+(?:@@)?GLOBAL[\s.]|SET\s+PERSIST|CHANGE\s+(?:MASTER|REPLICATION)|(?:START|STOP|RESET)\s+(?:ALL\s+)?"
    rb"(?:SLAVE|REPLICA|MASTER|GROUP_REPLICATION)|FLUSH\s)",
    re.I,
)
_OUTSIDE: Final = (
    (re.compile(rb"LOAD\s+(?:DATA|XML)\b", re.I), "a LOAD DATA statement, which reads a file"),
    (re.compile(rb"(?:UN)?INSTALL\s+(?:PLUGIN|SONAME|COMPONENT)\b", re.I), "a statement that loads a plugin"),
    (re.compile(rb"CREATE\s+(?:OR\s+REPLACE\s+)?(?:AGGREGATE\s+)?FUNCTION\b[^'\"]*\sSONAME\b", re.I | re.S),
     "a function that is loaded from a library"),
    (re.compile(rb"(?:SELECT|WITH|TABLE|VALUES|\().*\bINTO\s+(?:OUTFILE|DUMPFILE)\b", re.I | re.S),
     "a statement that writes a file (INTO OUTFILE)"),
    (re.compile(rb"SHUTDOWN\b", re.I), "a statement that stops the server"),
)  # fmt: skip
_COMMANDS: Final = re.compile(
    rb"(?:system|source|tee|notee|pager|nopager|edit|connect|print|resetconnection)(?:\s|\Z)", re.I
)
#: Databases that a server has of its own.
OWN: Final = frozenset({"mysql", "sys", "information_schema", "performance_schema"})
_BY_HAND: Final = "Look at the dump: a backup job writes no such thing. Do not load it by hand."


@dataclass(slots=True)
class _Found:
    """What is remembered of a dump.

    Attributes:
        sections: Where statements go over to another database: place and name.
        left_out: Places of statements that concern the server as a whole.
        apart: Which parts may be loaded at once.
    """

    tables: int = 0
    rows: int = 0
    statements: int = 0
    created: list[str] = field(default_factory=list)
    definers: list[tuple[str, str]] = field(default_factory=list)
    sections: list[tuple[int, str]] = field(default_factory=list)
    left_out: list[tuple[int, int]] = field(default_factory=list)
    uses: bool = False
    engines: set[str] = field(default_factory=set)
    last: Statement | None = None
    apart: Sections = field(default_factory=Sections)


def examine(call: Call, payload: str) -> dict[str, Any]:
    """What is in a dump, and whether it is whole.

    Raises:
        BackupFailed: It is empty, cut short, or does what no backup does.
        CouldNotVerify: It has more parts than are remembered.
    """
    path = call.work / payload
    if not path.stat().st_size:
        raise nothing_came_back("the dump is empty")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
        head = bytes(text[:_HEAD])
        header = read_header(head)
        if header.complaint:
            raise _complaint()
        found = _Found()
        for statement in statements(text, escaped=header.writer in ("mysqldump", "no comments")):
            _take(text, statement, found)
        ended = _ended(text, header, head, found)
        return _facts(text, path, header, found, ended)


def _take(text: mmap.mmap, statement: Statement, found: _Found) -> None:
    found.last = statement
    found.statements += 1
    if statement.rows:
        found.rows += 1
        found.apart.rows(text, statement)
        return
    if statement.how is End.COMMAND:
        shown = bytes(text[statement.end : statement.end + 2]).decode(errors="replace")
        raise _refused(
            text, statement.end, rf"the client command {shown}" if shown.isprintable() else "a client command"
        )
    # Comments that are executed are read without what makes them comments.
    look = _COMMENT.sub(b" ", bytes(text[statement.start : min(statement.end, statement.start + _LOOK)])).strip()
    if _COMMANDS.match(look):
        raise _refused(text, statement.start, f"the client command {look.split()[0].decode(errors='replace').lower()}")
    for pattern, what in _OUTSIDE:
        if pattern.match(look):
            raise _refused(text, statement.start, what)
    found.apart.other(text, statement, look)
    _remember(text, look, statement, found)


def _remember(text: mmap.mmap, look: bytes, statement: Statement, found: _Found) -> None:
    if use := _USE.match(look):
        found.sections.append((statement.start, _unquoted(use[1])))
        found.uses = True
    elif database := _CREATE_DATABASE.match(look):
        name = _unquoted(database[2])
        # What is dropped is nothing to a fresh server, unless it is its own.
        if database[1].upper() == b"CREATE" or name.lower() in OWN:
            found.sections.append((statement.start, name))
        if database[1].upper() == b"CREATE" and name.lower() not in OWN:
            found.created.append(name)
    elif _SERVERS.match(look):
        found.left_out.append((statement.start, statement.end))
    elif look[:6].upper() in (b"INSERT", b"REPLAC"):
        found.rows += 1
    elif _CREATE_TABLE.match(look):
        found.tables += 1
        end = bytes(text[max(statement.start, statement.end - _LOOK) : statement.end])
        found.engines |= {name.decode() for name in _ENGINE.findall(end)} if len(found.engines) < _FEW else set()
    elif look[:6].upper() == b"CREATE" and (definer := _DEFINER.search(look)):
        one = (_unquoted(definer[1]), _unquoted(definer[2]))
        if one not in found.definers:
            found.definers.append(one)
    if max(len(found.sections), len(found.created), len(found.definers)) > _MOST or len(found.left_out) > _MOST // 10:
        raise CouldNotVerify(
            "the dump has more databases, definers or settings of a server than are remembered",
            remedy="Dump databases one by one.",
            stage=Stage.RESTORE,
        )


def _ended(text: mmap.mmap, header: Header, head: bytes, found: _Found) -> str:
    """The witness of its being whole: ``trailer``, ``settings`` that are given back, or ``""`` where there is none."""
    tail = bytes(text[-_TAIL:])
    last = found.last
    # A line like a trailer's may be a value that the text ends in.
    whole = last is None or last.how is End.DELIMITED
    if whole and any(trailer.search(tail) for trailer in _TRAILERS.values()):
        return "trailer"
    kept = {name.upper() for name in _KEPT.findall(head)}
    if whole and kept and header.writer not in _TRAILERS and all(b"@" + name in tail.upper() for name in kept):
        return "settings"
    if last is not None and last.how is not End.DELIMITED:
        inside = "inside a value or name" if last.how is End.QUOTE else "in the middle of a statement"
        raise _cut(text, f"the dump is cut short: it ends {inside}", last.start)
    if _TRAILED.search(tail):
        raise BackupFailed(
            "something follows the line that says that the dump is complete",
            remedy="Look at the end of the dump: another dump, or the message of a failed one, was appended.",
            stage=Stage.RESTORE,
        )
    if header.writer in _TRAILERS or kept:
        raise _cut(text, "the dump is cut short: the end that its program writes last is missing", len(text) - 1)
    return ""


def _facts(text: mmap.mmap, path: Path, header: Header, found: _Found, ended: str) -> dict[str, Any]:
    databases = list(dict.fromkeys(name for _, name in found.sections if name.lower() not in OWN))
    cuts = _cuts(text, found)
    parts = found.apart.parts(len(text)) if ended == "trailer" and not cuts else []
    return {
        "bytes": path.stat().st_size,
        "writer": header.writer,
        "family": header.family,
        "version": header.version,
        "database": header.database,
        "witness": ended,
        "statements": found.statements,
        "tables": found.tables,
        "row_statements": found.rows,
        "created": found.created,
        "databases": databases,
        "engines": sorted(found.engines),
        "own": sorted({name.lower() for _, name in found.sections if name.lower() in OWN}),
        "definers": found.definers,
        "cuts": cuts,
        "parts": [(start, end, _lines(text, start, end), what) for start, end, what in parts],
        "crlf": b"\r\n" in bytes(text[:_HEAD]),
        "names_none": not found.uses,
    }


def _cuts(text: mmap.mmap, found: _Found) -> list[tuple[int, int, int, str]]:
    """What is not loaded: from where to where, how many lines that is, and what it is."""
    cuts: list[tuple[int, int, int, str]] = []
    for number, (start, name) in enumerate(found.sections):
        if name.lower() not in OWN:
            continue
        # Up to the next database of a user, or the end.
        later = found.sections[number + 1][0] if number + 1 < len(found.sections) else len(text)
        if cuts and cuts[-1][1] == start:
            begin, _, lines, _ = cuts.pop()
            cuts.append((begin, later, lines + _lines(text, start, later), "own"))
        else:
            cuts.append((start, later, _lines(text, start, later), "own"))
    inside = [(start, end) for start, end, _, _ in cuts]
    for start, end in found.left_out:
        if not any(first <= start < last for first, last in inside):
            cuts.append((start, min(end + 1, len(text)), _lines(text, start, end), "server"))
    return sorted(cuts)


def _lines(text: mmap.mmap, start: int, end: int) -> int:
    return sum(text[at : min(end, at + (1 << 20))].count(b"\n") for at in range(start, end, 1 << 20))


def _unquoted(name: bytes) -> str:
    quote = name[:1]
    bare = name[1:-1].replace(quote * 2, quote) if quote in (b"`", b"'") else name
    return bare.decode(errors="replace")


def _refused(text: mmap.mmap, place: int, what: str) -> BackupFailed:
    return BackupFailed(
        f"the dump holds {what}, and none of it was executed",
        looked_at=f"line {line_of(text, place)}",
        remedy=_BY_HAND,
        stage=Stage.RESTORE,
    )


def _cut(text: mmap.mmap, cause: str, place: int) -> BackupFailed:
    return BackupFailed(
        cause,
        looked_at=f"line {line_of(text, place)}",
        remedy="Compare its size with the original and take the backup again; look at how the dump program ended.",
        stage=Stage.RESTORE,
    )


def _complaint() -> BackupFailed:
    return BackupFailed(
        "the first line of the dump is a message of the dump program",
        looked_at="line 1",
        remedy="Do not redirect its messages into the dump (2>&1): no server loads it like that.",
        stage=Stage.RESTORE,
    )


def place_of(call: Call, payload: str, line: int) -> str:
    """Which object the text is about at a line: ``the rows of orders``, or ``""``.

    Reads lines up to it, a megabyte of each at most; names only, never values.
    """
    found = ""
    with (call.work / payload).open("rb") as file:
        for _ in range(line):
            text = file.readline(1 << 20)
            if not text:
                break
            found = _about(text[:_LOOK]) or found
            while text and not text.endswith(b"\n"):
                text = file.readline(1 << 20)
    return found


def _about(text: bytes) -> str:
    match = _ABOUT.match(_DEFINER.sub(b" ", _COMMENT.sub(b" ", text)))
    if match is None:
        return ""
    name = _unquoted(match[2])
    what = " ".join(match[1].decode(errors="replace").split()).lower()
    return f"the rows of {name}" if what.startswith(("insert", "replace")) else f"{what} {name}"


_ABOUT: Final = re.compile(
    rb"\s*((?:INSERT|REPLACE)\b[^`(;]{0,40}INTO|(?:(?:CREATE|DROP|ALTER|LOCK)\b[^`(;']{0,80}?)?\b"
    rb"(?:DATABASE|TABLES?|VIEW|TRIGGER|PROCEDURE|FUNCTION|EVENT|SEQUENCE)(?:\s+IF\s+(?:NOT\s+)?EXISTS)?)\s+" + _NAME,
    re.I,
)
