r"""What a script of SQL will do, found before anything of it is executed. Runs inside the sandbox.

Looked for are: metacommands of psql that no dump has (``\!``, ``\copy``, ``\i``), programs in COPY, a missing end, and
what the server has to have before (roles, extensions, tablespaces). Statements that a fresh server would refuse
although the dump is good are listed as ``edits``, to be rewritten on their way into psql.
"""

from __future__ import annotations

import mmap
import re
from pathlib import Path
from typing import Any, Final

from restore_drill.engines.postgres import names
from restore_drill.engines.postgres.script_text import HEAD, Kind, Piece, pieces
from restore_drill.errors import BackupFailed, CouldNotVerify
from restore_drill.model import Stage

#: Whom our server belongs to.
_SUPERUSER: Final = "postgres"
_BEGUN: Final = re.compile(rb"-- PostgreSQL database (cluster )?dump( complete)?\s*\Z")
_SERVER: Final = re.compile(rb"-- Dumped from database version ([^\r\n]{1,100})")
_PROGRAM: Final = re.compile(rb"-- Dumped by pg_dump version ([^\r\n]{1,100})")
_NAME: Final = r'(?:"(?:[^"]|"")*"|[^\s"\'\\;]+)'
#: The metacommands that pg_dump and pg_dumpall write. A name with ``=`` or ``:`` would be read as a whole address.
_HONEST: Final = re.compile(
    r"""\\(?:restrict\s+[A-Za-z0-9]+ | unrestrict\s+[A-Za-z0-9]+ | encoding\s+'?[\w-]+'?
    | (?:connect|c)\s+(?:"?[\w.$-]+"?;? | -reuse-previous=on\s+"dbname='(?:[^'"\\]|\\.|"")*'"))\s*\Z""",
    re.X,
)
_RESTRICT: Final = re.compile(r"\\(un)?restrict\s+([A-Za-z0-9]+)")
_PROGRAM_COPY: Final = re.compile(rb"COPY\s.*\s(?:FROM|TO)\s+PROGRAM\b", re.I | re.S)
_FILE_COPY: Final = re.compile(rb"COPY\s.*\s(?:FROM|TO)\s+(?:E?'|\$)", re.I | re.S)
_SET: Final = re.compile(r"SET\s+(?:SESSION\s+|LOCAL\s+)?([a-z_]+)\s*(?:=|TO\b)", re.I)
#: A setting that a role or a database is given; those of extensions have a dot, and may be anything.
_ALTER_SET: Final = re.compile(
    rf'ALTER\s+(?:ROLE|USER|DATABASE)\s+{names.NAME}(?:\s+IN\s+DATABASE\s+{names.NAME})?\s+SET\s+"?([a-z_]+)"?\s*'
    r"(?:=|TO\b)",
    re.I,
)
_LANGUAGE: Final = re.compile(
    r"CREATE\s+(?:OR\s+REPLACE\s+)?(?:TRUSTED\s+)?(?:PROCEDURAL\s+)?LANGUAGE\s+[\"']?plpgsql\b", re.I
)
_DROP: Final = re.compile(
    r"DROP\s+(?:MATERIALIZED\s+VIEW|FOREIGN\s+(?:TABLE|DATA\s+WRAPPER)|EVENT\s+TRIGGER|TEXT\s+SEARCH\s+\w+|"
    r"ACCESS\s+METHOD|OPERATOR\s+(?:CLASS|FAMILY)|(?:PROCEDURAL\s+)?LANGUAGE|USER\s+MAPPING|\w+)\s+(?!IF\s+EXISTS\b)",
    re.I,
)
_ALTER_DROP: Final = re.compile(
    r"ALTER\s+(?:TABLE|DOMAIN|INDEX)\s+(?!IF\s+EXISTS\b)"
    r"(?=(?:[^;'\"]|\"[^\"]*\")*\b(?:DROP\s+(?:CONSTRAINT|DEFAULT|IDENTITY)|DETACH)\b)",
    re.I,
)
_STRINGS: Final = re.compile(r"SET\s+standard_conforming_strings\s*(?:=|TO)\s*'?on'?\s*;", re.I)
_DEMOTED: Final = re.compile(rf'ALTER\s+ROLE\s+"?{_SUPERUSER}"?\s+WITH\b', re.I)
_UNLINK: Final = re.compile(r"(SELECT\s+pg_catalog\.lo_unlink)\(('\d+')\);")
_DROP_CONSTRAINT: Final = re.compile(r"\bDROP\s+CONSTRAINT\s+(?!IF\s+EXISTS\b)", re.I)
_DROPPED: Final = re.compile(r"DROP\s+(ROLE|DATABASE|TABLESPACE|USER)\s+(?:IF\s+EXISTS\s+)?(" + _NAME + ")", re.I)
_LOCALE: Final = re.compile(r"\b(?:LOCALE|LC_COLLATE|LC_CTYPE|ICU_LOCALE)\s*=\s*'((?:[^']|'')*)'", re.I)
_SPACE: Final = re.compile(r"LOCATION\s+'((?:[^']|'')*)'", re.I)
_WORD: Final = re.compile(rb"[A-Za-z]+")
#: Beginnings of statements worth a look.
_LOOKED_AT: Final = frozenset(
    {b"SET", b"DROP", b"ALTER", b"CREATE", b"GRANT", b"REVOKE", b"COPY", b"SELECT"}
)  # fmt: skip
#: What begins and ends a transaction: psql leaves one that is open at the end undone, without a word.
_BEGINS: Final = re.compile(rb"(?:BEGIN|START\s+TRANSACTION)\b", re.I)
_ENDS: Final = re.compile(rb"(?:COMMIT|END|ABORT|ROLLBACK(?!\s+(?:(?:WORK|TRANSACTION)\s+)?TO\b))\b", re.I)
_HEADER: Final = 2**20
_MANY: Final = 20_000
#: A few for every table, where pg_dump was told --clean and not --if-exists.
_EDITS: Final = 200_000


def headline(path: Path) -> dict[str, Any]:
    """What the first lines of a script say."""
    with path.open("rb") as file:
        head = file.read(_HEADER)
    encoding = re.search(rb"^SET client_encoding = '([\w-]+)';", head, re.M)
    server, program = _SERVER.search(head), _PROGRAM.search(head)
    return {
        "form": "script",
        "server": server[1].decode(errors="replace") if server else "",
        "program": program[1].decode(errors="replace") if program else "",
        "encoding": encoding[1].decode() if encoding else "",
        "locale": "",
        "database": "",
    }


def script(path: Path) -> dict[str, Any]:
    """Examine a script.

    Raises:
        BackupFailed: It is cut short, or has what no dump has (stage ``restore``).
    """
    found = _Findings()
    size = path.stat().st_size
    if size:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
            for piece in pieces(text):
                found.add(text, piece)
    found.judge_end()
    return {**headline(path), **found.facts()}


class _Findings:
    """Collects what the pieces of a script say."""

    def __init__(self) -> None:
        self.roles: set[str] = set()
        self.created_roles: set[str] = set()
        self.extensions: set[str] = set()
        self.tablespaces: set[str] = set()
        self.created_tablespaces: set[str] = set()
        self.databases: list[str] = []
        self.edits: list[dict[str, Any]] = []
        self.begun = self.completed = self.statements = self.tables = self.data = 0
        self.keys: list[str] = []
        self.restricts = self.under_way = False
        self.unwhole: Piece | None = None
        self.copying = ""

    def add(self, text: mmap.mmap, piece: Piece) -> None:
        """Take one piece."""
        if not piece.whole and self.unwhole is None:
            self.unwhole = piece
        if piece.kind is Kind.COMMENT:
            self._comment(text[piece.begin : min(piece.end, piece.begin + 200)])
        elif piece.kind is Kind.COMMAND:
            self._command(text[piece.begin : min(piece.end, piece.begin + 1000)], text, piece.begin)
        elif piece.kind is Kind.DATA:
            self.data += 1
        else:
            self.statements += 1
            self._transaction(text[piece.begin : min(piece.end, piece.begin + 100)])
            word = _WORD.match(text, piece.begin)
            if word and word[0].upper() in _LOOKED_AT:
                self._statement(text[piece.begin : min(piece.end, piece.begin + HEAD)], piece)

    def judge_end(self) -> None:
        """Whether it ends as its producer ends it."""
        if self.unwhole is not None:
            what = (
                f"inside of the rows of {self.copying}" if self.unwhole.kind is Kind.DATA else "inside of a statement"
            )
            raise _cut(f"it ends {what}")
        if self.under_way:
            raise _cut("it ends inside of a transaction, which is never committed")
        if self.begun > self.completed:
            raise _cut("the line with which pg_dump says that it is complete is missing")
        if self.keys:
            raise _cut("the line \\unrestrict that ends what \\restrict began is missing")

    def facts(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "roles": sorted(self.roles - self.created_roles),
            "created_roles": sorted(self.created_roles),
            "extensions": sorted(self.extensions),
            "tablespaces": sorted(self.tablespaces - self.created_tablespaces),
            "databases": self.databases,
            "edits": self.edits,
            "statements": self.statements,
            "tables": self.tables,
            "data": self.data,
            "complete": self.completed > 0,
            "restricts": self.restricts,
        }

    def _transaction(self, text: bytes) -> None:
        if _BEGINS.match(text):
            self.under_way = True
        elif self.under_way and _ENDS.match(text):
            self.under_way = False

    def _comment(self, text: bytes) -> None:
        if found := _BEGUN.match(text):
            self.begun += not found[2]
            self.completed += bool(found[2])

    def _command(self, text: bytes, whole: mmap.mmap, place: int) -> None:
        line = text.decode(errors="replace").rstrip()
        if not _HONEST.match(line):
            number = whole[:place].count(b"\n") + 1 if place < _HEADER * 64 else 0
            raise BackupFailed(
                "the script has a metacommand of psql that no dump has, and that could run programs",
                looked_at=f"line {number}" if number else "",
                remedy="It was not executed. Find out who can write to the backup, and use another copy.",
                stage=Stage.RESTORE,
                details=(line[:200],),
            )
        if key := _RESTRICT.match(line):
            self.restricts = True
            if key[1] and key[2] in self.keys:
                self.keys.remove(key[2])
            elif not key[1]:
                self.keys.append(key[2])

    def _statement(self, head: bytes, piece: Piece) -> None:
        word = head[:4].upper()
        if word == b"COPY":
            self._copy(head)
            return
        # Rewritten statements go back byte by byte; names are read as what they most probably are.
        raw, text = head.decode("latin-1"), head.decode(errors="replace")
        if word in (b"SELE", b"ALTE") or word[:3] == b"SET":
            _refuse_old_strings(raw)
        if word[:3] == b"SET":
            if (found := _SET.match(text)) and piece.end - piece.begin < HEAD:
                self._edit("set", piece, name=found[1].lower())
            self._tablespace(text)
        elif word == b"DROP":
            self._drop(raw, text, piece)
        elif word == b"ALTE" and (found := _ALTER_SET.match(text)):
            self._edit("set", piece, name=found[1].lower())
        elif word == b"ALTE" and _DEMOTED.match(raw):
            self._edit("rewrite", piece, text="")  # where the provider is superuser, and not the cluster's owner
        elif word == b"ALTE" and _ALTER_DROP.match(raw):
            self._edit("rewrite", piece, text=_if_exists(raw))
        elif word == b"SELE":
            if found := _UNLINK.match(raw):
                self._edit(
                    "rewrite",
                    piece,
                    text=f"{found[1]}(oid) FROM pg_catalog.pg_largeobject_metadata WHERE oid = {found[2]};",
                )
        elif word == b"CREA":
            self._create(raw, text, piece)
        self._collect(self.roles, names.roles(text))

    def _copy(self, head: bytes) -> None:
        if _PROGRAM_COPY.match(head) or _FILE_COPY.match(head):
            raise BackupFailed(
                "the script has a COPY that runs a program or reads a file, which no dump has",
                remedy="It was not executed. Find out who can write to the backup, and use another copy.",
                stage=Stage.RESTORE,
            )
        found = re.match(rf"COPY\s+({names.NAME}(?:\.{names.NAME})?)", head.decode(errors="replace"), re.I)
        self.copying = found[1] if found else "a table"

    def _drop(self, raw: str, text: str, piece: Piece) -> None:
        gone = _DROPPED.match(text)
        if gone and gone[1].upper() in ("ROLE", "USER") and names.unquote(gone[2]) == _SUPERUSER:
            self._edit("rewrite", piece, text="")
        elif found := _DROP.match(raw):
            self._edit("rewrite", piece, text=f"{raw[: found.end()]}IF EXISTS {raw[found.end() :]}")

    def _create(self, raw: str, text: str, piece: Piece) -> None:
        if role := names.created_role(text):
            self._collect(self.created_roles, [role])
            if role == _SUPERUSER:
                self._edit("rewrite", piece, text="")
        elif extension := names.extension(text):
            self._collect(self.extensions, [extension])
        elif database := names.database(text):
            if database not in self.databases and len(self.databases) < _MANY:
                self.databases.append(database)
            if locales := _LOCALE.findall(text):
                self._edit("locale", piece, text=raw, locales=sorted(set(locales)))
        elif space := names.created_tablespace(text):
            self._collect(self.created_tablespaces, [space])
            self._edit("rewrite", piece, text=_SPACE.sub("LOCATION ''", raw))
        elif _LANGUAGE.match(text):
            self._edit("rewrite", piece, text="")  # every server has it; dumps up to 8.4 create it
        elif re.match(r"CREATE\s+SCHEMA\s+public\b", text, re.I):
            self._edit(
                "rewrite", piece, text=re.sub(r"(?i)SCHEMA\s+public", "SCHEMA IF NOT EXISTS public", raw, count=1)
            )
        elif re.match(r"CREATE\s+(?:UNLOGGED\s+|FOREIGN\s+)?TABLE\b", text, re.I):
            self.tables += 1
        self._tablespace(text)

    def _tablespace(self, text: str) -> None:
        if space := names.tablespace(text):
            self._collect(self.tablespaces, [space])

    def _edit(self, kind: str, piece: Piece, **more: Any) -> None:
        if piece.end - piece.begin > HEAD:
            return  # none that needs an edit is that long
        if len(self.edits) >= _EDITS:
            raise _too_many()
        self.edits.append({"kind": kind, "begin": piece.begin, "end": piece.end, **more})

    def _collect(self, into: set[str], found: Any) -> None:
        into.update(found)
        if len(into) > _MANY:
            raise _too_many()


def _refuse_old_strings(text: str) -> None:
    """With backslashes as escapes in all strings, what looks like one here may be none for psql."""
    if "standard_conforming_strings" in text.lower() and not _STRINGS.fullmatch(text):
        raise CouldNotVerify(
            "the script is written with backslashes as escapes (standard_conforming_strings off) and is not read here",
            remedy="Back up in custom form (pg_dump -Fc), or set it to on as PostgreSQL does since 9.1.",
            stage=Stage.RESTORE,
        )


def _if_exists(text: str) -> str:
    """As ``pg_dump --if-exists`` would have written it."""
    found = _ALTER_DROP.match(text)
    end = found.end() if found else 0
    return _DROP_CONSTRAINT.sub("DROP CONSTRAINT IF EXISTS ", f"{text[:end]}IF EXISTS {text[end:]}", count=1)


def _cut(what: str) -> BackupFailed:
    return BackupFailed(
        f"the dump is cut short: {what}",
        remedy="Use another copy; check the backup job's exit status and the space it had while it wrote.",
        stage=Stage.RESTORE,
    )


def _too_many() -> CouldNotVerify:
    return CouldNotVerify(
        f"the script names more than {_MANY:,} roles or has more than {_EDITS:,} statements that need a look",
        remedy="Restore it by hand, or back up in custom form (pg_dump -Fc).",
        stage=Stage.RESTORE,
    )
