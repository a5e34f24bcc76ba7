"""What backups contain and how jobs wrap it: generated databases and trees, compressed, encrypted, packed."""

from __future__ import annotations

import gzip
import hashlib
import io
import lzma
import sqlite3
import tarfile
import tempfile
from collections.abc import Callable, Mapping
from contextlib import closing
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path

Change = Callable[[sqlite3.Connection], object]

_SCHEMA = """
create table settings (key text primary key, value text);
create table customers (id integer primary key, name text not null, email text unique);
create table orders (
  id integer primary key, customer integer not null references customers, cents integer check (cents > 0),
  created_at text not null
);
create table audit (id integer primary key, what text);
create index orders_by_customer on orders (customer);
create view totals as select customer, sum(cents) as cents from orders group by customer;
create trigger orders_are_noted after insert on orders begin insert into audit (what) values ('order'); end;
"""


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def shop(until: datetime, *, orders: int = 300, customers: int = 40, change: Change | None = None) -> bytes:
    """A database as an online backup writes it: its newest order is a minute older than ``until``.

    Args:
        change: What else is done to it before it is closed.
    """
    if change is None:
        return _shop(until, orders, customers)
    return altered(_shop(until, orders, customers), change)


@cache
def _shop(until: datetime, orders: int, customers: int) -> bytes:
    def fill(connection: sqlite3.Connection) -> None:
        connection.executescript(_SCHEMA)
        connection.execute("insert into settings values ('environment', 'production')")
        people = ((n, f"customer {n}", f"c{n}@example.org") for n in range(1, customers + 1))
        connection.executemany("insert into customers values (?, ?, ?)", people)
        stamps = ((until - timedelta(minutes=orders - n)).isoformat() for n in range(orders))
        rows = ((n + 1, n % customers + 1, 100 + n, stamp) for n, stamp in enumerate(stamps))
        connection.executemany("insert into orders values (?, ?, ?, ?)", rows)

    return altered(b"", fill)


def altered(database: bytes, change: Change) -> bytes:
    """The same database after statements were run on it."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "db")
        path.write_bytes(database)
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("begin")
            change(connection)
            if connection.in_transaction:
                connection.execute("commit")
        return path.read_bytes()


def sql(*statements: str) -> Change:
    """A change that runs these statements."""

    def change(connection: sqlite3.Connection) -> None:
        for statement in statements:
            connection.execute(statement)

    return change


def dump(database: bytes) -> bytes:
    """What ``sqlite3 FILE .dump`` writes of it."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "db")
        path.write_bytes(database)
        with closing(sqlite3.connect(path)) as connection:
            lines = ["PRAGMA foreign_keys=OFF;", *connection.iterdump()]
        return "\n".join(lines).encode() + b"\n"


def page_of(database: bytes, name: str) -> slice:
    """Where the root page of a table or index lies in the file."""
    size = int.from_bytes(database[16:18], "big")
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "db")
        path.write_bytes(database)
        with closing(sqlite3.connect(path)) as connection:
            (page,) = connection.execute("select rootpage from sqlite_master where name = ?", (name,)).fetchone()
    return slice((page - 1) * size, page * size)


def files(number: int = 12, stamp: str = "") -> dict[str, bytes]:
    """A tree: configuration, letters, and a file that differs from one day to the next."""
    tree = {f"letters/{n:03d}.txt": f"letter {n}\n".encode() * 40 for n in range(number)}
    return {"etc/app.toml": b"[app]\nname = 'shop'\n", "etc/release": f"{stamp}\n".encode(), **tree}


def tar(tree: Mapping[str, bytes], until: datetime, *, directories: tuple[str, ...] = ()) -> bytes:
    """An archive of it, as ``tar cf - .`` writes it."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name in directories:
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode, entry.mtime = tarfile.DIRTYPE, 0o755, int(until.timestamp())
            archive.addfile(entry)
        for name, content in tree.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mtime = len(content), int(until.timestamp()) - 60
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def manifest(tree: Mapping[str, bytes]) -> bytes:
    """What ``sha256sum`` writes of all its files."""
    return "".join(f"{sha256(content)}  ./{name}\n" for name, content in tree.items()).encode()


def gz(data: bytes) -> bytes:
    return gzip.compress(data, 6, mtime=0)


def xz(data: bytes) -> bytes:
    return lzma.compress(data)


def zst(data: bytes, *, checksum: bool = True) -> bytes:
    from backports import zstd

    return zstd.compress(data, options={zstd.CompressionParameter.checksum_flag: int(checksum)})


class AgeKey:
    """An age key pair; ``secret`` is what the identity file holds."""

    def __init__(self) -> None:
        import pyrage

        identity = pyrage.x25519.Identity.generate()
        self.secret = str(identity)
        self.recipient = str(identity.to_public())

    def encrypt(self, data: bytes) -> bytes:
        import pyrage

        encrypted: bytes = pyrage.encrypt(data, [pyrage.x25519.Recipient.from_str(self.recipient)])
        return encrypted


def with_passphrase(data: bytes, passphrase: str) -> bytes:
    """What ``age -p`` writes."""
    import pyrage

    encrypted: bytes = pyrage.passphrase.encrypt(data, passphrase)
    return encrypted
