"""What backups contain and how jobs wrap it: generated databases and trees, compressed, encrypted, packed."""

from __future__ import annotations

import base64
import gzip
import hashlib
import hmac
import io
import lzma
import os
import sqlite3
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import datetime, timedelta
from functools import cache, cached_property
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

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


def lz4(data: bytes) -> bytes:
    from lz4 import frame

    compressed: bytes = frame.compress(data, content_checksum=True)
    return compressed


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


class PgpKey:
    """An OpenPGP key pair of gpg's, made when it is first asked for; ``secret`` is what the key file holds."""

    @cached_property
    def _made(self) -> tuple[str, str]:
        with self._gpg() as run:
            run("--passphrase", "", "--quick-generate-key", "drill", "future-default", "default", "never")
            return run("--armor", "--export-secret-keys").decode(), run("--armor", "--export").decode()

    @contextmanager
    def _gpg(self) -> Iterator[Callable[..., bytes]]:
        with tempfile.TemporaryDirectory(prefix="gpg-") as home:

            def run(*arguments: str, stdin: bytes = b"") -> bytes:
                command = ["gpg", "--homedir", home, "--batch", "--quiet", "--trust-model", "always", *arguments]
                return subprocess.run(command, input=stdin, capture_output=True, check=True).stdout

            yield run
            subprocess.run(["gpgconf", "--homedir", home, "--kill", "gpg-agent"], check=True)

    @property
    def secret(self) -> str:
        return self._made[0]

    def encrypt(self, data: bytes) -> bytes:
        with self._gpg() as run:
            run("--import", stdin=self._made[1].encode())
            return run("--recipient", "drill", "--encrypt", stdin=data)


def with_openssl(data: bytes, password: str, *, iterations: int) -> bytes:
    """What ``openssl enc -aes-256-cbc -pbkdf2`` writes, with a salt that is the same each time."""
    salt = bytes(range(8))
    material = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, iterations, 48)
    encryptor = Cipher(algorithms.AES(material[:32]), modes.CBC(material[32:])).encryptor()
    count = 16 - len(data) % 16
    return b"Salted__" + salt + encryptor.update(data + bytes([count]) * count)


def with_passphrase(data: bytes, passphrase: str) -> bytes:
    """What ``age -p`` writes, with a work factor that costs nothing (age takes 18); at most 64 KiB."""
    salt, file_key, nonce = os.urandom(16), os.urandom(16), os.urandom(16)
    secret = hashlib.scrypt(passphrase.encode(), salt=b"age-encryption.org/v1/scrypt" + salt, n=4, r=8, p=1, dklen=32)
    wrapped = ChaCha20Poly1305(secret).encrypt(bytes(12), file_key, None)
    header = b"age-encryption.org/v1\n-> scrypt " + _b64(salt) + b" 2\n" + _b64(wrapped) + b"\n---"
    mac = hmac.digest(_derived(file_key, b"", b"header"), header, "sha256")
    key = ChaCha20Poly1305(_derived(file_key, nonce, b"payload"))
    assert len(data) <= 65536
    return header + b" " + _b64(mac) + b"\n" + nonce + key.encrypt(bytes(11) + b"\1", data, None)


def _derived(key: bytes, salt: bytes, info: bytes) -> bytes:
    return HKDF(hashes.SHA256(), 32, salt, info).derive(key)


def _b64(data: bytes) -> bytes:
    return base64.b64encode(data).rstrip(b"=")


def with_log(until: datetime, *, orders: int = 300) -> tuple[bytes, bytes]:
    """A database in WAL mode and its ``-wal``, which alone holds the orders of the last two hours."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "db")
        path.write_bytes(shop(until - timedelta(hours=2), orders=orders - 120))
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("pragma journal_mode=wal")
            connection.execute("pragma wal_autocheckpoint=0")
            stamps = [(until - timedelta(minutes=120 - n)).isoformat() for n in range(120)]
            rows = ((orders - 120 + n + 1, n % 40 + 1, 100 + n, stamp) for n, stamp in enumerate(stamps))
            connection.execute("begin")
            connection.executemany("insert into orders values (?, ?, ?, ?)", rows)
            connection.execute("commit")
            return path.read_bytes(), path.with_name("db-wal").read_bytes()


def empty_database() -> bytes:
    """What opening a missing path and leaving a mark gives: a database without a table."""
    return altered(b"", sql("pragma user_version=1"))
