"""Base backups of a cluster of our own, taken by the real programs, and ways of damaging copies of them."""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from restore_drill.engines.postgres.logical import need
from restore_drill.engines.postgres.server import PostgresServer
from restore_drill.registry import load
from restore_drill.sandboxes.base import Ground, Limits, Sandbox

ORDERS, FAR = 3000, 500
_SHOP = (
    "create table orders (id serial primary key, code text not null, at timestamptz default now())",
    f"insert into orders (code) select 'c' || g from generate_series(1, {ORDERS}) g",
    "create index orders_hash on orders using hash (code)",
    "create table far_away (id int primary key, word text) tablespace far",
    f"insert into far_away select g, 'w' || g from generate_series(1, {FAR}) g",
    "create collation german (provider = icu, locale = 'de')",
    "create index orders_german on orders (code collate german)",
    "vacuum orders",
)
#: What makes the third backup a difficult one: nobody is called postgres, a library is asked for, collations moved on.
_STRANGE = (
    "create role boss superuser login",
    "update pg_collation set collversion = '0.1' where collname = 'german'",
    "alter database shop set session_preload_libraries = 'no_such_library'",
)


@dataclass(frozen=True)
class BaseBackups:
    """Folders with one base backup each.

    Attributes:
        plain: ``data`` (the backup) and ``far`` (its tablespace, where ``--tablespace-mapping`` put it).
        tar: What ``-Ft -z -X stream`` writes.
        strange: ``-Ft -X fetch --write-recovery-conf``, see :data:`_STRANGE`; its manifest has SHA-256.
        table: File of the table ``orders``, relative to the data directory.
        hash: File of its hash index.
        system: The cluster's identifier.
    """

    plain: Path
    tar: Path
    strange: Path
    table: str
    hash: str
    system: str


def take(place: Path, version: str = "15", kind: str = "directory") -> BaseBackups:
    """Make a cluster of a major version, fill it, and take all of them; nothing of it runs afterwards."""
    made: type[Sandbox] = load("sandboxes", kind)
    with made(place, run="source", name="source", limits=Limits()) as sandbox:
        ground = sandbox.equip(need(version))
        server = PostgresServer(sandbox, ground, until=time.monotonic() + 300)
        server.initialise()
        server.start({"wal_level": "replica", "max_wal_senders": "4", "max_wal_size": "64MB"}, seconds=60)
        _fill(server)
        table, index, system = server.psql(
            "shop",
            "select pg_relation_filepath('orders'), pg_relation_filepath('orders_hash'), system_identifier "
            "from pg_control_system()",
            seconds=60,
        )[0]
        out = f"{ground.data}/out"
        _take(server, f"{out}/plain/data", "-Fp", f"--tablespace-mapping={ground.data}/far={out}/plain/far")
        _take(server, f"{out}/tar", "-Ft", "-z")
        _make_strange(server)
        sealed = ["--manifest-checksums=SHA256"] if server.major >= 13 else []
        _take(server, f"{out}/strange", "-Ft", "-Xfetch", "-R", *sealed)
        server.stop()
        _bring_out(sandbox, ground, place / "backups")
    assert table and index and system
    backups = place / "backups"
    return BaseBackups(backups / "plain", backups / "tar", backups / "strange", table, index, system)


def _bring_out(sandbox: Sandbox, ground: Ground, place: Path) -> None:
    """By the directory of sockets, which this machine sees, too."""
    assert ground.reachable is not None
    script = 'cp -R "$0" "$1/out" && chmod -R a+rX "$1/out"'
    assert sandbox.exec(["sh", "-c", script, f"{ground.data}/out", ground.sockets], deadline=120).returncode == 0
    shutil.copytree(ground.reachable / "out", place, symlinks=True)


def _fill(server: PostgresServer) -> None:
    sandbox, place = server.sandbox, server.ground.data
    assert sandbox.exec(["mkdir", f"{place}/far", f"{place}/out"], deadline=30).returncode == 0
    _do(server, "postgres", f"create tablespace far location '{place}/far'", "create database shop")
    _do(server, "shop", *_SHOP, "checkpoint")


def _make_strange(server: PostgresServer) -> None:
    _do(server, "shop", *_STRANGE)
    server.user = "boss"
    _do(server, "template1", "alter role postgres rename to administrator")


def _do(server: PostgresServer, database: str, *statements: str) -> None:
    for answer in server.ask(database, statements, seconds=60):
        assert answer.problem is None, answer.problem


def _take(server: PostgresServer, target: str, *how: str) -> None:
    done = server.run(["pg_basebackup", "-D", target, "-cfast", "--no-sync", *how], seconds=120)
    assert done.returncode == 0, done.stderr.decode()


def copy(backup: Path, place: Path) -> Path:
    """A copy of a backup to be damaged or restored."""
    return Path(shutil.copytree(backup, place, symlinks=True))


def flip(path: Path, at: int) -> None:
    """Change bytes in the middle of a page, as a disk does it: nothing else changes."""
    with path.open("r+b") as file:
        file.seek(at)
        was = file.read(8)
        file.seek(at)
        file.write(bytes(byte ^ 0xFF for byte in was))


def replace_keeping_size(path: Path) -> None:
    """Other bytes, the same size and time."""
    status = path.stat()
    flip(path, status.st_size // 2)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
