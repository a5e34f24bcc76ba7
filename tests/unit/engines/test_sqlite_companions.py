"""Logs and journals beside a database: those that belong to it are applied, others are refused."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.support.calls import DirectCall

from restore_drill.engines import sqlite_probe
from restore_drill.errors import BackupFailed
from restore_drill.model import Stage

JOURNAL_MAGIC = bytes.fromhex("d9d505f920a163d7")


def live_copy(directory: Path, *, page_size: int = 1024, uncommitted: bool = False, name: str = "payload-0") -> Path:
    """A copy of a database and of its log, taken while it is open: rows 1 to 3 are in the file, 4 to 6 in the log."""
    live = directory / f"live-{name}.db"
    path = directory / name
    with contextlib.closing(sqlite3.connect(live, isolation_level=None)) as connection:
        connection.executescript(
            f"PRAGMA page_size={page_size}; CREATE TABLE t(a INTEGER PRIMARY KEY, b);"
            "INSERT INTO t(b) VALUES (1), (2), (3); PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0"
        )
        if uncommitted:
            connection.executescript("PRAGMA cache_size=1; PRAGMA cache_spill=1; BEGIN")
            connection.executemany("INSERT INTO t(b) VALUES (?)", ((os.urandom(500),) for _ in range(100)))
        else:
            connection.execute("INSERT INTO t(b) VALUES (4)")
            connection.execute("INSERT INTO t(b) VALUES (5), (6)")
        shutil.copy(live, path)
        shutil.copy(f"{live}-wal", f"{path}-wal")
    return path


def restore(work: Path, *parts: str) -> dict[str, Any]:
    return sqlite_probe.restore_file(DirectCall(work), "payload-0", list(parts), False, 60.0)


def rows(work: Path) -> int:
    with contextlib.closing(sqlite3.connect(work / "restored" / "database.db")) as connection:
        return int(connection.execute("SELECT count(*) FROM t").fetchone()[0])


def refused(work: Path, *parts: str) -> str:
    with pytest.raises(BackupFailed) as caught:
        restore(work, *parts)
    assert caught.value.stage is Stage.RESTORE
    assert caught.value.remedy
    return caught.value.cause


@pytest.mark.parametrize("name", ["payload-0-wal", "part-1"])
def test_the_log_is_applied(tmp_path: Path, name: str) -> None:
    log = Path(f"{live_copy(tmp_path)}-wal")
    frames = (log.stat().st_size - 32) // (1024 + 24)
    log.rename(tmp_path / name)
    facts = restore(tmp_path, name)["facts"]
    assert rows(tmp_path) == 6
    assert facts["wal"] == {"bytes": 32 + frames * 1048, "frames": frames, "cut_frame": False, "recovered": frames}
    assert facts["journal_mode"] == "wal"


def test_without_its_log_the_database_is_older(tmp_path: Path) -> None:
    """Which SQLite does not mind: the snapshot's parts, row counts and the newest record must tell."""
    Path(f"{live_copy(tmp_path)}-wal").unlink()
    assert "wal" not in restore(tmp_path)["facts"]
    assert rows(tmp_path) == 3


def test_a_log_may_be_empty(tmp_path: Path) -> None:
    Path(f"{live_copy(tmp_path)}-wal").write_bytes(b"")
    assert "wal" not in restore(tmp_path, "payload-0-wal")["facts"]
    assert rows(tmp_path) == 3


def test_a_transaction_under_way_is_no_damage(tmp_path: Path) -> None:
    live_copy(tmp_path, uncommitted=True)
    facts = restore(tmp_path, "payload-0-wal")["facts"]
    assert facts["wal"]["frames"] > 0
    assert facts["wal"]["recovered"] == 0
    assert rows(tmp_path) == 3


def test_a_log_cut_in_its_last_frame_gives_what_was_committed_before(tmp_path: Path) -> None:
    log = Path(f"{live_copy(tmp_path)}-wal")
    log.write_bytes(log.read_bytes()[:-1])
    facts = restore(tmp_path, "payload-0-wal")["facts"]
    assert facts["wal"]["cut_frame"] is True
    assert facts["wal"]["recovered"] < (log.stat().st_size if log.exists() else 10**6) // 1048
    assert rows(tmp_path) == 4


def _other_magic(log: bytes) -> bytes:
    return b"\0\1" + log[2:]


def _other_salt(log: bytes) -> bytes:
    return b"".join([log[:32], *(_patch(frame, 8, os.urandom(8)) for frame in _frames(log))])


def _other_page_size(log: bytes) -> bytes:
    return live_copy_log(512)


def _damaged_header(log: bytes) -> bytes:
    return _patch(log, 14, bytes([log[14] ^ 1]))


def _damaged_first_frame(log: bytes) -> bytes:
    return _patch(log, 32 + 24 + 100, bytes([log[156] ^ 1]))


def live_copy_log(page_size: int) -> bytes:
    import tempfile

    with tempfile.TemporaryDirectory() as directory:
        return Path(f"{live_copy(Path(directory), page_size=page_size)}-wal").read_bytes()


def _frames(log: bytes) -> list[bytes]:
    return [log[at : at + 1048] for at in range(32, len(log), 1048)]


def _patch(data: bytes, at: int, patch: bytes) -> bytes:
    return data[:at] + patch + data[at + len(patch) :]


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (_other_magic, "it is not a write-ahead log"),
        (lambda log: log[:20], "it is not a write-ahead log"),
        (_damaged_header, "its header is damaged"),
        (_other_page_size, "its pages have 512 bytes, the database's 1024"),
        (_other_salt, "frames can be used"),
        (_damaged_first_frame, "frames can be used"),
    ],
)
def test_a_log_that_does_not_belong_is_refused(tmp_path: Path, damage: Callable[[bytes], bytes], why: str) -> None:
    log = Path(f"{live_copy(tmp_path)}-wal")
    log.write_bytes(damage(log.read_bytes()))
    cause = refused(tmp_path, "payload-0-wal")
    assert cause.startswith("the -wal does not belong to this database: ")
    assert why in cause


@pytest.mark.parametrize("content", [b"{}", b"SQLite format 3\0" + bytes(100)])
def test_a_part_that_is_neither_log_nor_journal_is_refused(tmp_path: Path, content: bytes) -> None:
    Path(f"{live_copy(tmp_path)}-wal").rename(tmp_path / "part-1")
    (tmp_path / "part-2").write_bytes(content)
    assert "does not belong to this database" in refused(tmp_path, "part-1", "part-2")


def test_an_index_of_a_log_is_not_needed(tmp_path: Path) -> None:
    Path(f"{live_copy(tmp_path)}-wal").rename(tmp_path / "part-1")
    (tmp_path / "part-2").write_bytes(struct.pack("=I", 3007000) + b"\xff" * 32764)
    restore(tmp_path, "part-1", "part-2")
    assert rows(tmp_path) == 6


def interrupted_copy(directory: Path) -> Path:
    """A copy of a database in the middle of a transaction that has been written to the file, with its hot journal."""
    live, path = directory / "live.db", directory / "payload-0"
    with contextlib.closing(sqlite3.connect(live, isolation_level=None)) as connection:
        connection.executescript("PRAGMA page_size=1024; CREATE TABLE t(a INTEGER PRIMARY KEY, b); PRAGMA cache_size=1")
        connection.executemany("INSERT INTO t(b) VALUES (?)", ((os.urandom(500),) for _ in range(50)))
        connection.executescript(
            "PRAGMA cache_spill=1; BEGIN; DELETE FROM t WHERE a % 2; UPDATE t SET b = zeroblob(500)"
        )
        shutil.copy(live, path)
        shutil.copy(f"{live}-journal", f"{path}-journal")
    return path


def test_an_interrupted_transaction_is_rolled_back(tmp_path: Path) -> None:
    journal = Path(f"{interrupted_copy(tmp_path)}-journal")
    assert journal.read_bytes()[:8] == JOURNAL_MAGIC
    facts = restore(tmp_path, "payload-0-journal")["facts"]
    assert facts["journal"]["bytes"] > 512
    assert rows(tmp_path) == 50
    assert not (tmp_path / "restored" / "database.db-journal").exists()


def test_a_journal_whose_transaction_is_over_is_no_matter(tmp_path: Path) -> None:
    path = live_copy(tmp_path)
    Path(f"{path}-journal").write_bytes(bytes(512) + b"left over")
    assert "journal" not in restore(tmp_path, "payload-0-wal", "payload-0-journal")["facts"]
    assert rows(tmp_path) == 6


def test_a_journal_that_is_none_is_refused(tmp_path: Path) -> None:
    journal = Path(f"{interrupted_copy(tmp_path)}-journal")
    journal.write_bytes(b"not a journal at all, " * 40)
    assert "it is not a rollback journal" in refused(tmp_path, "payload-0-journal")


def test_a_journal_of_other_pages_is_refused(tmp_path: Path) -> None:
    journal = Path(f"{interrupted_copy(tmp_path)}-journal")
    journal.write_bytes(_patch(journal.read_bytes(), 24, struct.pack(">I", 4096)))
    assert "its pages have 4096 bytes, the database's 1024" in refused(tmp_path, "payload-0-journal")


def test_a_journal_cannot_have_other_files_deleted(tmp_path: Path) -> None:
    """SQLite deletes the file that a journal names as its transaction's, once no database needs it any more."""
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    journal = Path(f"{interrupted_copy(tmp_path)}-journal")
    name = str(victim).encode()
    tail = struct.pack(">I", 0x40000000 // 1024 + 1) + name + struct.pack(">II", len(name), sum(name)) + JOURNAL_MAGIC
    journal.write_bytes(journal.read_bytes() + tail)
    assert "transaction over several databases" in refused(tmp_path, "payload-0-journal")
    assert victim.read_bytes() == b"precious"
