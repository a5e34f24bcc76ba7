"""Opening a private copy of a database that may be hostile. Runs inside the sandbox.

Every connection is read-write, because a read-only one silently skips CHECK constraints; none creates a missing file.
What SQL on it may do is decided by an authorizer, how long it may take by a :class:`Deadline`.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from urllib.parse import quote

from restore_drill import disk
from restore_drill.engines.sqlite_errors import MORE_TIME
from restore_drill.errors import CouldNotVerify, DeadlineExceeded, RestoreDrillError
from restore_drill.quantities import format_size

Authorizer = Callable[[int, str | None, str | None, str | None, str | None], int]

#: Instructions of SQLite's virtual machine between two looks at the clock (some ten milliseconds).
_STEPS: Final = 200_000
#: Bytes below which a database is small, instructions between two looks at the clock there (one may call a function
#: that takes a second), and seconds that are long.
_SMALL: Final = 1 << 20
_FEW_STEPS: Final = 50
_LONG: Final = 0.02
#: Seconds between two looks at what is left of the disk.
_LOOK_EVERY: Final = 0.1
#: More than any file: SQLite maps as much as it was compiled to (2 GiB by default).
_MAP_ALL: Final = 1 << 40
_FORBIDDEN_FUNCTIONS: Final = frozenset({"load_extension", "fts3_tokenizer", "readfile", "writefile", "edit", "fsdir"})
#: Pragmas that read. The second set changes something when it is given a value.
_READING_PRAGMAS: Final = frozenset(
    {
        "table_info", "table_xinfo", "table_list", "index_list", "index_info", "index_xinfo", "foreign_key_list",
        "foreign_key_check", "integrity_check", "quick_check", "compile_options", "collation_list", "function_list",
        "module_list", "pragma_list",
    }
)  # fmt: skip
_READING_WITHOUT_VALUE: Final = frozenset(
    {
        "user_version", "application_id", "schema_version", "data_version", "encoding", "page_size", "page_count",
        "freelist_count", "auto_vacuum", "journal_mode", "max_page_count",
    }
)  # fmt: skip
_READING_ACTIONS: Final = frozenset({sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_RECURSIVE})


class Deadline:
    """Ends what runs on the connections it watches, once it is over or the disk is about to be full.

    A progress handler is called while SQLite interprets statements, a thread interrupts what is not interpreted (parts
    of ``integrity_check``, sorting); what heeds neither is ended by whoever started the process.

    Args:
        until: ``time.monotonic()`` at which it is over.
        room: A directory of the disk that must not be filled: a short text can ask for endless rows.
        reserve: Bytes that must stay free there.
        size: Bytes of the database, where they are known. Starting the thread takes longer than a small database
            does: there the progress handler, called more often, starts it as soon as anything takes long.
    """

    def __init__(self, until: float, room: Path | None = None, reserve: int = 0, size: int | None = None) -> None:
        self.until = until
        self._later = size is not None and size < _SMALL
        self._steps = _FEW_STEPS if self._later else _STEPS
        self._begun = time.monotonic()
        self._room = room
        self._reserve = reserve
        self._full = False
        self._connections: list[sqlite3.Connection] = []
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._wait, name="sqlite-deadline", daemon=True)

    def __enter__(self) -> Self:
        if not self._later:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._later = False
        if self._thread.ident is not None:
            self._done.set()
            self._thread.join()
        if self._full and isinstance(error, RestoreDrillError):
            raise CouldNotVerify(
                f"the disk is too small for this drill: less than {format_size(self._reserve)} would stay free",
                remedy="Free space, or give --work-dir a larger disk; if the backup should be small, look into it.",
            ) from error

    @property
    def over(self) -> bool:
        """Whether everything has to end."""
        return self._full or time.monotonic() >= self.until

    def watch(self, connection: sqlite3.Connection) -> None:
        """Hold a connection to the deadline for as long as it lives."""
        connection.set_progress_handler(self._progress, self._steps)
        self._connections.append(connection)

    def _progress(self) -> int:
        if self._later and time.monotonic() - self._begun > _LONG:
            self._later = False
            self._thread.start()
        return int(self.over)

    def check(self) -> None:
        """Raise :class:`DeadlineExceeded` when everything has to end."""
        if self.over:
            raise DeadlineExceeded("SQLite did not end in time", remedy=MORE_TIME)

    def _wait(self) -> None:
        while not self.over:
            if self._done.wait(max(0.0, min(_LOOK_EVERY, self.until - time.monotonic()))):
                return
            self._full = self._room is not None and disk.free_space(self._room) < self._reserve
        while not self._done.wait(0.1):
            for connection in tuple(self._connections):
                with contextlib.suppress(sqlite3.Error):  # it is being closed
                    connection.interrupt()


class Reading(Enum):
    """How a connection reads the file: what it checks of each page, how it gets at it, and MiB of page cache."""

    #: Looks at every cell of a page and keeps pages: for seeks in a file that may be damaged.
    SEEKING = (True, False, 32)
    #: The same, where nothing else runs.
    SEEKING_ALONE = (True, False, 96)
    #: Looks at every cell of a page and passes on: for a walk over all pages, which SQLite checks by itself.
    WALKING = (True, True, 4)
    #: Trusts what it reads, which makes seeks twice as fast: for a file whose pages have all been found sound.
    SOUND = (False, True, 8)
    #: The same, where the map does not hold it all.
    SOUND_AND_LARGE = (False, True, 64)
    #: A database that is being made.
    MAKING = (False, False, 96)


#: Bytes of a file that SQLite maps into memory at most, unless it was compiled otherwise.
MAPPED_AT_MOST: Final = 0x7FFF0000


def connect(
    path: Path,
    deadline: Deadline,
    authorizer: Authorizer,
    *,
    reading: Reading = Reading.SEEKING,
    sharing: int = 1,
    locks: bool = True,
) -> sqlite3.Connection:
    """Open a private copy.

    Args:
        path: The database; it is never created.
        deadline: Watches the connection.
        authorizer: What SQL on it may do, once it is set up.
        reading: How it reads.
        sharing: How many connections share the memory that this kind of reading may take.
        locks: Whether to take file locks. Without, several connections may hold changes that they never write.

    Raises:
        sqlite3.Error: It cannot be opened, or its schema cannot be read.
    """
    address = f"file:{quote(os.fsencode(path))}?mode=rw{'' if locks else '&vfs=unix-none'}"
    connection = sqlite3.connect(address, uri=True, isolation_level=None, check_same_thread=False, cached_statements=0)
    deadline.watch(connection)
    try:
        _keep_temporary_files_in(path.parent, connection)
        for pragma in _pragmas(reading, sharing):
            connection.execute(pragma).fetchall()
    except BaseException:
        connection.close()
        raise
    connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
    connection.setlimit(sqlite3.SQLITE_LIMIT_TRIGGER_DEPTH, 100)
    connection.set_authorizer(authorizer)
    connection.text_factory = _lenient
    return connection


def _lenient(raw: bytes) -> str:
    return raw.decode(errors="replace")


def _pragmas(reading: Reading, sharing: int) -> list[str]:
    checks_cells, maps, cache = reading.value
    return [
        "PRAGMA trusted_schema=OFF",
        f"PRAGMA cell_size_check={'ON' if checks_cells else 'OFF'}",
        f"PRAGMA mmap_size={_MAP_ALL if maps else 0}",
        f"PRAGMA cache_size={-max(2, cache // sharing) * 1024}",
        "PRAGMA foreign_keys=OFF",
    ]


def _keep_temporary_files_in(directory: Path, connection: sqlite3.Connection) -> None:
    """Sorting may need files, and SQLite's own choice of a directory lies outside of the sandbox.

    The setting is the process's and not the connection's, and is not to be changed while another thread sorts.
    """
    with _TEMPORARY_LOCK:
        if directory not in _TEMPORARY:
            connection.execute(f"PRAGMA temp_store_directory={_literal(str(directory))}")
            _TEMPORARY[:] = [directory]


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


_TEMPORARY: list[Path] = []
_TEMPORARY_LOCK: Final = threading.Lock()


def forbid_outside(action: int, _first: str | None, second: str | None, *_: str | None) -> int:
    """An authorizer for our own statements: whatever the schema makes of them, nothing outside is reached."""
    if action in (sqlite3.SQLITE_ATTACH, sqlite3.SQLITE_DETACH):
        return sqlite3.SQLITE_DENY
    forbidden = action == sqlite3.SQLITE_FUNCTION and (second or "").lower() in _FORBIDDEN_FUNCTIONS
    return sqlite3.SQLITE_DENY if forbidden else sqlite3.SQLITE_OK


def reading_only(action: int, first: str | None, second: str | None, *_: str | None) -> int:
    """An authorizer for other people's questions: they may read."""
    if action in _READING_ACTIONS:
        return sqlite3.SQLITE_OK
    if action == sqlite3.SQLITE_FUNCTION:
        return forbid_outside(action, first, second)
    if action == sqlite3.SQLITE_PRAGMA:
        name = (first or "").lower()
        harmless = name in _READING_PRAGMAS or (name in _READING_WITHOUT_VALUE and not second)
        return sqlite3.SQLITE_OK if harmless else sqlite3.SQLITE_DENY
    return sqlite3.SQLITE_DENY


def explaining(action: int, first: str | None, second: str | None, *others: str | None) -> int:
    """An authorizer for statements that are explained and not run: they may speak of changing rows."""
    if action in (sqlite3.SQLITE_INSERT, sqlite3.SQLITE_UPDATE, sqlite3.SQLITE_DELETE):
        return sqlite3.SQLITE_OK
    return reading_only(action, first, second, *others)
