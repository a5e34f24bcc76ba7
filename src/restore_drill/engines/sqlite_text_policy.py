"""What SQL text that claims to be a dump may do. Runs inside the sandbox.

A dump is a program, and may have been written by somebody else than ``.dump``. It may fill the database it is loaded
into; it may not reach any other file, and settings that only concern how the database is written are left alone.
"""

from __future__ import annotations

import re
import sqlite3
from dataclasses import dataclass, field
from typing import Final

from restore_drill.engines.sqlite_connection import forbid_outside
from restore_drill.engines.sqlite_errors import SqliteProblem, error_name, primary_code, printable, translate
from restore_drill.engines.sqlite_split import Piece
from restore_drill.errors import BackupFailed, CouldNotVerify, RestoreDrillError
from restore_drill.model import Stage

#: Pragmas that decide what the database contains or how statements are to be understood: obeyed.
OBEYED: Final = frozenset(
    {
        "application_id", "auto_vacuum", "case_sensitive_like", "defer_foreign_keys", "encoding", "foreign_keys",
        "ignore_check_constraints", "legacy_alter_table", "legacy_file_format", "page_size", "recursive_triggers",
        "schema_version", "user_version", "writable_schema",
    }
)  # fmt: skip
#: Pragmas that make SQLite write to other places.
REFUSED: Final = frozenset({"temp_store_directory", "data_store_directory", "lock_proxy_file"})
#: Commands to the shell that only change how it prints.
HARMLESS_COMMANDS: Final = frozenset(
    {
        "bail", "changes", "echo", "eqp", "explain", "header", "headers", "mode", "nullvalue", "print", "progress",
        "prompt", "separator", "show", "stats", "timeout", "timer", "width",
    }
)  # fmt: skip
_COMMAND: Final = re.compile(rb"\.([A-Za-z_]*)")
_UNISTR: Final = re.compile(r"\\(?:\\|u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|\+([0-9A-Fa-f]{6})|([0-9A-Fa-f]{4}))")
_BY_HAND: Final = "Look at the dump: a backup job does not write such a statement."


@dataclass(slots=True)
class Policy:
    """Decides about one dump, and remembers what it left alone.

    Attributes:
        denied: What was asked for last and not allowed.
        ignored: Pragmas and commands that were passed over.
        keep_open: Ignore COMMIT, which Python runs of its own accord before a script.
    """

    denied: str = ""
    keep_open: bool = False
    ignored: set[str] = field(default_factory=set)

    def authorize(self, action: int, first: str | None, second: str | None, *others: str | None) -> int:
        """The authorizer of the connection that the dump is loaded over."""
        if action == sqlite3.SQLITE_PRAGMA:
            return self._pragma((first or "").lower())
        if action == sqlite3.SQLITE_TRANSACTION and self.keep_open:
            return sqlite3.SQLITE_IGNORE
        answer = forbid_outside(action, first, second, *others)
        if answer == sqlite3.SQLITE_DENY:
            names = {sqlite3.SQLITE_ATTACH: "ATTACH or VACUUM INTO", sqlite3.SQLITE_DETACH: "DETACH"}
            self.denied = names.get(action, f"the function {second}")
        return answer

    def command(self, text: bytes) -> None:
        """Judge a command to the shell.

        Raises:
            BackupFailed: It does more than change how the shell prints.
        """
        match = _COMMAND.match(text)
        name = match[1].decode().lower() if match else ""
        if name not in HARMLESS_COMMANDS:
            raise refused(f"the shell command .{printable(name, 40)}")
        self.ignored.add(f".{name}")

    def _pragma(self, name: str) -> int:
        if name in REFUSED:
            self.denied = f"PRAGMA {name}"
            return sqlite3.SQLITE_DENY
        if name in OBEYED:
            return sqlite3.SQLITE_OK
        self.ignored.add(f"PRAGMA {printable(name, 40)}")
        return sqlite3.SQLITE_IGNORE


def refused(what: str) -> BackupFailed:
    """The error for a dump that reaches outside of its database."""
    return BackupFailed(
        f"the dump uses {what}, which reaches outside of its database", remedy=_BY_HAND, stage=Stage.RESTORE
    )


def explain(problem: SqliteProblem | sqlite3.Warning, piece: Piece) -> RestoreDrillError:
    """What it means that a statement of a dump fails. What SQLite says of it may quote data: it goes to the details."""
    where = f"the statement that begins on line {piece.line} fails"
    if not isinstance(problem, sqlite3.Warning) and _is_not_of_the_text(problem):
        return translate(problem, where, None, Stage.RESTORE)
    text = str(problem)
    shown = text if _NAMES_ONLY.fullmatch(text) else error_name(problem)
    if text.startswith(_NOT_HERE):
        return CouldNotVerify(
            f"{where}: {shown}",
            remedy=f"SQLite {sqlite3.sqlite_version} does not have it; a newer one, or an extension, may.",
            stage=Stage.RESTORE,
            details=(printable(text),),
        )
    return BackupFailed(
        f"{where}: {shown}",
        remedy="Load the dump by hand to see; take the backup again, or correct what writes it.",
        stage=Stage.RESTORE,
        details=(printable(text),),
    )


def _is_not_of_the_text(problem: SqliteProblem) -> bool:
    return primary_code(problem) not in _STATEMENTS_FAULT


#: Messages of a known form, which name objects and quote nothing else.
_NAMES_ONLY: Final = re.compile(
    r"(?:no such (?:table|index|view|trigger|function|module|collation sequence): |(?:table|index|view|trigger) |"
    r"there is already an? (?:table|index) |unknown database |(?:UNIQUE|NOT NULL|CHECK|FOREIGN KEY) constraint failed)"
    r"[^\"']{0,200}"
)
_NOT_HERE: Final = ("no such function", "no such module", "no such collation", "no such tokenizer")
#: SQLite's codes for what the text is to blame for; 0 is an error of Python's own layer.
_STATEMENTS_FAULT: Final = frozenset(
    {
        0,
        sqlite3.SQLITE_ERROR,
        sqlite3.SQLITE_CONSTRAINT,
        sqlite3.SQLITE_MISMATCH,
        sqlite3.SQLITE_AUTH,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_RANGE,
    }
)


def unistr(text: str | None) -> str | None:
    r"""SQLite's ``unistr()``, which ``.dump`` writes since version 3.50 for control characters (``\u001b``)."""
    if text is None:
        return None
    return _UNISTR.sub(
        lambda found: chr(int(next(filter(None, found.groups())), 16)) if found.lastindex else "\\", text
    )
