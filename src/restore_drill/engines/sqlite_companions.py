"""The files that belong to a database: its write-ahead log and its rollback journal. Runs inside the sandbox.

SQLite applies whatever lies beside a database under the right name. It cannot tell whose log it is, says nothing when
it finds no usable frame in one, and deletes files that a journal names: that is looked at here, before it is opened.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any, Final

from restore_drill.engines.sqlite_format import (
    FRAME_HEADER_SIZE,
    HEADER_SIZE,
    WAL_HEADER_SIZE,
    Header,
    JournalHeader,
    WalHeader,
    names_super_journal,
    wal_checksum,
)
from restore_drill.errors import BackupFailed
from restore_drill.model import Stage

#: Endings of the files that SQLite keeps beside a database. The last one is rebuilt from the log, and never used.
WAL: Final = "-wal"
JOURNAL: Final = "-journal"
SHARED_MEMORY: Final = "-shm"

#: How an index of a log begins: its format's version, in the byte order of the machine.
_SHARED_MEMORY_HEADS: Final = frozenset((3007000).to_bytes(4, order) for order in ("little", "big"))
_AGAIN: Final = (
    "Have the backup job copy the database and its parts at one instant (sqlite3 .backup, VACUUM INTO, or a snapshot "
    "of the file system)."
)


def place(database: Path, parts: list[Path]) -> None:
    """Move parts beside the database under the names SQLite looks for.

    A part is told by its name's ending or, where staging has given it another name, by its first bytes.

    Raises:
        BackupFailed: A part is nothing that SQLite keeps beside a database.
    """
    for part in parts:
        ending = next((ending for ending in (WAL, JOURNAL, SHARED_MEMORY) if part.name.endswith(ending)), None)
        ending = ending or _ending_by_content(part)
        if ending != SHARED_MEMORY:
            part.replace(beside(database, ending))


def _ending_by_content(part: Path) -> str:
    with part.open("rb") as file:
        head = file.read(HEADER_SIZE)
    if WalHeader.parse(head):
        return WAL
    if JournalHeader.parse(head).intact:
        return JOURNAL
    if not head.strip(b"\0") or head[:4] in _SHARED_MEMORY_HEADS:
        return SHARED_MEMORY
    raise BackupFailed(
        "a part of the snapshot does not belong to this database: it is neither a write-ahead log nor a journal",
        remedy="List only {name}-wal and {name}-journal under parts, and check what the backup job copies.",
        stage=Stage.RESTORE,
    )


def beside(database: Path, ending: str) -> Path:
    """Where SQLite looks for a companion of a database."""
    return database.with_name(database.name + ending)


def examine_log(database: Path) -> dict[str, Any] | None:
    """What the write-ahead log holds, before it is applied; ``None`` when there is none or it is empty.

    Raises:
        BackupFailed: It is no log, is damaged, or belongs to a database with other pages.
    """
    path = beside(database, WAL)
    if not path.is_file() or path.stat().st_size == 0:
        return None
    with path.open("rb") as file:
        header = WalHeader.parse(file.read(WAL_HEADER_SIZE))
    with database.open("rb") as file:
        owner = Header.parse(file.read(HEADER_SIZE))
    if header is None:
        raise _foreign("it is not a write-ahead log")
    if not header.intact:
        raise _foreign("its header is damaged")
    if owner is not None and owner.page_size != header.page_size:
        raise _foreign(f"its pages have {header.page_size} bytes, the database's {owner.page_size}")
    frames, rest = header.frames(path.stat().st_size)
    return {"bytes": path.stat().st_size, "frames": frames, "cut_frame": bool(rest)}


def recover_log(connection: sqlite3.Connection, database: Path, log: dict[str, Any]) -> dict[str, Any]:
    """Apply the log to the database, and say how many of its frames were used.

    Frames behind the last committed one are left over from earlier rounds or from a transaction under way: no damage.

    Raises:
        BackupFailed: No frame could be used although the log does not even begin with a transaction of its own.
        sqlite3.Error: SQLite refused.
    """
    _, recovered, _ = connection.execute("PRAGMA main.wal_checkpoint(PASSIVE)").fetchone()
    if recovered < 1 and log["frames"] and not _begins_a_transaction(beside(database, WAL)):
        raise _foreign(f"none of its {log['frames']} frames can be used")
    return {**log, "recovered": max(0, recovered)}


def examine_journal(database: Path) -> dict[str, Any] | None:
    """What the rollback journal is; ``None`` when there is none or its transaction is over.

    Raises:
        BackupFailed: It is no journal, belongs to a database with other pages, or would reach for other files.
    """
    path = beside(database, JOURNAL)
    if not path.is_file() or path.stat().st_size == 0:
        return None
    with path.open("rb") as file:
        header = JournalHeader.parse(file.read(HEADER_SIZE))
        file.seek(max(0, path.stat().st_size - 8))
        tail = file.read()
    if header.spent:
        return None
    with database.open("rb") as file:
        owner = Header.parse(file.read(HEADER_SIZE))
    if not header.intact:
        raise _journal("it is not a rollback journal")
    if names_super_journal(tail):
        raise _journal("it is part of a transaction over several databases")
    if owner is not None and header.page_size not in (0, owner.page_size):
        raise _journal(f"its pages have {header.page_size} bytes, the database's {owner.page_size}")
    return {"bytes": path.stat().st_size}


def _begins_a_transaction(path: Path) -> bool:
    """Whether the first frame is a right one: then it belongs to a transaction that had not been committed."""
    with path.open("rb") as file:
        header = WalHeader.parse(file.read(WAL_HEADER_SIZE))
        if header is None:
            return False
        frame = file.read(FRAME_HEADER_SIZE + header.page_size)
    if len(frame) < FRAME_HEADER_SIZE + header.page_size or frame[8:16] != header.salt:
        return False
    running = wal_checksum(frame[:8], header.checksum, big_endian=header.big_endian)
    found = wal_checksum(frame[FRAME_HEADER_SIZE:], running, big_endian=header.big_endian)
    return found == (int.from_bytes(frame[16:20]), int.from_bytes(frame[20:24]))


def _foreign(why: str) -> BackupFailed:
    return BackupFailed(f"the -wal does not belong to this database: {why}", remedy=_AGAIN, stage=Stage.RESTORE)


def _journal(why: str) -> BackupFailed:
    return BackupFailed(f"the -journal cannot be rolled back: {why}", remedy=_AGAIN, stage=Stage.RESTORE)
