"""A bucket as it grew over the years: many tools' backups in one place, good and bad, among things that are none.

Every series has a name by which a test knows it; what is written is the same at every call but for the time that names
and objects are dated by.
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma
import os
import random
import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from functools import cache
from pathlib import Path
from zoneinfo import ZoneInfo

from tests.support.backups import database

Files = dict[str, tuple[bytes, float]]
_HOUR, _DAY = timedelta(hours=1), timedelta(days=1)
_BERLIN = ZoneInfo("Europe/Berlin")


@dataclass
class Bucket:
    """What was made.

    Attributes:
        files: Key → bytes, and when it was written.
        good: Beginnings of the paths of series that must drill green.
        bad: Those that must be red, and the case that is.
        foreign: Those that no engine restores.
    """

    files: Files = field(default_factory=dict)
    good: set[str] = field(default_factory=set)
    bad: dict[str, str] = field(default_factory=dict)
    foreign: set[str] = field(default_factory=set)

    def write(self, root: Path) -> None:
        """Lay it down in a directory."""
        for key, (data, written) in self.files.items():
            path = root / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            os.utime(path, (written, written))


def tar(files: dict[str, bytes], when: float) -> bytes:
    """A tar archive of these files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mtime = len(data), int(when)
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def script(rows: int = 30) -> bytes:
    """What ``sqlite3 .dump`` writes."""
    lines = [
        "PRAGMA foreign_keys=OFF;",
        "BEGIN TRANSACTION;",
        "CREATE TABLE notes (id integer primary key, what text);",
    ]
    lines += [f"INSERT INTO notes VALUES({number},'note {number}');" for number in range(rows)]
    return "\n".join([*lines, "COMMIT;", ""]).encode()


def table(rows: int = 20) -> bytes:
    """A table in CSV."""
    return (
        "id,name,amount\r\n" + "".join(f"{number},item {number},{number * 3}\r\n" for number in range(rows))
    ).encode()


@cache
def age_key() -> tuple[str, str]:
    """An identity and its recipient."""
    import pyrage

    identity = pyrage.x25519.Identity.generate()
    return str(identity), str(identity.to_public())


@cache
def aged(data: bytes) -> bytes:
    """The bytes encrypted to :func:`age_key`."""
    import pyrage

    found: bytes = pyrage.encrypt(data, [pyrage.x25519.Recipient.from_str(age_key()[1])])
    return found


@cache
def sealed(data: bytes, password: str = "correct horse") -> bytes:
    """The bytes as ``openssl enc -aes-256-cbc -pbkdf2`` writes them."""
    command = ["openssl", "enc", "-aes-256-cbc", "-pbkdf2", "-pass", f"pass:{password}"]
    return subprocess.run(command, input=data, capture_output=True, check=True).stdout


def _digest(data: bytes, name: str, algorithm: str = "sha256") -> bytes:
    return f"{hashlib.new(algorithm, data).hexdigest()}  {name}\n".encode()


class Maker:
    """Writes series into a bucket.

    Args:
        now: When the newest backups were made.
        below: A directory for all of it, with a slash, or nothing.
    """

    def __init__(self, bucket: Bucket, now: datetime, below: str = "") -> None:
        self.bucket = bucket
        self.now = now
        self.below = below
        self.random = random.Random(below)

    def put(self, key: str, data: bytes, when: datetime, *, digest: str = "", takes: float = 90.0) -> None:
        """One object, written a little after its time, and a digest beside it."""
        written = when.timestamp() + takes + self.random.random() * 60
        self.bucket.files[self.below + key] = (data, written)
        if digest:
            line = _digest(data, key.rpartition("/")[2], digest)
            self.bucket.files[f"{self.below}{key}.{digest}"] = (line, written + 1)

    def times(self, count: int, step: timedelta, start: timedelta = timedelta(minutes=20)) -> Iterator[datetime]:
        """Moments, newest first, to the second."""
        for number in range(count):
            yield (self.now - start - number * step).replace(microsecond=0)

    def series(
        self, form: str, data: bytes, count: int, step: timedelta, *, zone: tzinfo = UTC, digest: str = "",
        start: timedelta = timedelta(minutes=20),
    ) -> None:  # fmt: skip
        """Objects named by strftime's letters."""
        for when in self.times(count, step, start):
            local = when.astimezone(zone)
            self.put(local.strftime(form), data, when, digest=digest)

    def good(self, path: str) -> None:
        """What begins so must be green."""
        self.bucket.good.add(self.below + path)


def _databases(make: Maker, size: int) -> None:
    plain, packed = database(100), gzip.compress(database(100))
    make.series("orders/%Y%m%d_%H%M%S_orders.db.gz", packed, size, _HOUR, digest="sha256")
    make.good("orders/")
    make.series("crm/%Y/%m/%d/crm.sqlite.xz", lzma.compress(plain), size // 2, _DAY)
    make.good("crm/")
    local = make.now.astimezone(_BERLIN)
    two = max((local - timedelta(hours=1) - local.replace(hour=2, minute=0)) % _DAY, timedelta(minutes=10))
    make.series(
        "notes/notes-%Y-%m-%d_%H-%M.sql.bz2", bz2.compress(script()), size, _DAY, zone=_BERLIN, digest="md5", start=two
    )
    make.good("notes/")
    make.series("keys/vault_%Y%m%dT%H%M%SZ.db.gz.age", aged(packed), size // 2, _DAY, digest="sha256")
    make.good("keys/")
    for when in make.times(size // 2, _DAY):
        commit = hashlib.sha256(str(when).encode()).hexdigest()[:9]
        make.put(when.strftime(f"hash/app-%Y%m%dT%H%M%SZ-{commit}.db.gz"), packed, when, digest="sha256")
    make.good("hash/")
    for number, when in enumerate(make.times(40, _DAY)):
        if when.weekday() < 5 or number == 0:
            make.put(when.strftime("office/books_%d-%b-%Y.db"), plain, when, digest="sha256")
    make.good("office/")
    make.series("shop/shop-full-%Y%m%d.db.gz", packed, 5, 7 * _DAY, digest="sha256")
    make.series("shop/shop-diff-%Y%m%d.db.gz", packed[:500], 20, _DAY)
    make.good("shop/shop-full")
    make.put("archive/crm-final.db", plain, make.now - 900 * _DAY, digest="sha256")
    make.good("archive/crm-final")


def _trees(make: Maker, size: int) -> None:
    files = {f"site/page-{number}.html": b"<p>page</p>" * (number + 1) for number in range(8)}
    archive = tar(files, make.now.timestamp() - 7200)
    for when in make.times(size // 2, _DAY):
        make.put(f"uploads/uploads-{int(when.timestamp())}.tar.gz", gzip.compress(archive, mtime=0), when)
    lines = [
        _digest(data, key.rpartition("/")[2])
        for key, (data, _) in make.bucket.files.items()
        if key.startswith(f"{make.below}uploads/")
    ]
    make.put("uploads/SHA256SUMS", b"".join(lines), make.now)
    make.good("uploads/")
    make.series("media/media-%G-W%V.tar", archive, 12, 7 * _DAY)
    make.good("media/")
    for when in make.times(10, _DAY):
        day = when.strftime("nightly/%Y-%m-%d/")
        parts = {"app.db.gz": gzip.compress(database(50), mtime=0), "www.tar.gz": gzip.compress(archive, mtime=0)}
        for name, data in parts.items():
            make.put(day + name, data, when)
        make.put(day + "SHA256SUMS", b"".join(_digest(data, name) for name, data in parts.items()), when)
    make.good("nightly/")
    for when in make.times(7, _DAY):
        for name, data in files.items():
            make.put(when.strftime("rsync/%Y-%m-%d_%H%M%S/") + name, data, when)
    make.good("rsync/")
    for number, when in enumerate(make.times(6, _DAY)):
        make.put(
            "wiki/wiki.tar.gz" if not number else f"wiki/wiki.tar.{number}.gz", gzip.compress(archive, mtime=0), when
        )
    make.good("wiki/")
    for number, when in enumerate(make.times(5, _DAY)):
        for name, data in files.items():
            make.put(f"snap/daily.{number}/{name}", data, when)
    make.good("snap/")
    half = len(archive) // 2
    for when in make.times(6, _DAY):
        name = when.strftime("big/big_%Y%m%d.tar.")
        for part, data in (("aa", archive[:half]), ("ab", archive[half:])):
            make.put(name + part, data, when, digest="sha256")
    make.good("big/")
    make.put("archive/taxes-2023.tar", archive, make.now - 700 * _DAY)
    make.put("archive/taxes-2024.tar", archive, make.now - 400 * _DAY)
    make.good("archive/taxes")


def _tables(make: Maker, size: int) -> None:
    make.series("sales/sales-%d-%m-%Y.csv", table(), size // 2, _DAY)
    make.good("sales/")
    rows = b"".join(b'{"id": %d, "what": "seen"}\n' % number for number in range(25))
    make.series("events/%Y-%m-%d-%H.ndjson", rows, size, _HOUR)
    make.good("events/")
    make.series("report/report_%Y-%m-%d_%Hh%Mm_%A.csv.gz", gzip.compress(table(), mtime=0), size // 2, _DAY)
    make.good("report/")


def _bad(make: Maker) -> None:
    packed = gzip.compress(database(100), mtime=0)
    for number, when in enumerate(make.times(24, _HOUR)):
        make.put(
            when.strftime("bad/cut/%Y%m%d_%H%M%S_cut.db.gz"), packed if number else packed[: len(packed) * 3 // 4], when
        )
    make.series("bad/stale/stale-%Y%m%d.db.gz", packed, 20, _DAY, start=20 * _DAY)
    make.series("bad/digest/digest-%Y%m%d%H%M%S.db.gz", packed, 20, _HOUR, digest="sha256")
    newest = max(key for key in make.bucket.files if key.startswith(f"{make.below}bad/digest/") and key.endswith(".gz"))
    make.bucket.files[newest] = (gzip.compress(database(101), mtime=0), make.bucket.files[newest][1])
    for number, when in enumerate(make.times(20, _DAY)):
        data = database(100) if number else b"<html><body>504 Gateway Timeout</body></html>".ljust(8000)
        make.put(when.strftime("bad/page/page_%Y-%m-%d.db"), data, when)
    for number, when in enumerate(make.times(20, _DAY)):
        make.put(when.strftime("bad/empty/empty_%Y-%m-%d.sql"), script() if number else b"", when)
    broken = bytearray(database(400))
    broken[-4096:] = bytes(4096)
    make.series("bad/page0/pages_%Y-%m-%dT%H-%M-%SZ.db", bytes(broken), 10, _DAY)
    make.bucket.bad |= {
        f"{make.below}bad/{name}/": case
        for name, case in (("cut", "unpacks"), ("stale", "rpo"), ("digest", "checksum"), ("page", "fetched"),
                           ("empty", "located"), ("page0", "integrity"))
    }  # fmt: skip


def _foreign(make: Maker, photos: int) -> None:
    picture = b"\xff\xd8\xff\xe0\0\x10JFIF" + bytes(range(200))
    for number in range(photos):
        make.put(f"photos/album-{number % 7}/IMG_{number:05}.jpg", picture, make.now - timedelta(hours=number))
    for number in range(30):
        identity = hashlib.sha256(str(number).encode()).hexdigest()
        make.put(f"restic/data/{identity[:2]}/{identity}", os.urandom(32), make.now - timedelta(hours=number))
        make.put(f"restic/snapshots/{identity}", os.urandom(32), make.now - timedelta(hours=number))
    make.put("restic/config", os.urandom(155), make.now - 90 * _DAY)
    make.put("README.txt", b"Ask the platform team before you delete anything here.\n", make.now)
    make.put("vm/web01.qcow2", b"QFI\xfb\0\0\0\3" + bytes(500), make.now)
    make.series("logs/access-%Y%m%d.log.gz", gzip.compress(b"GET / 200\n" * 50, mtime=0), 60, _DAY)
    for day in ("mon", "tue", "wed", "thu", "fri", "sat", "sun"):
        make.put(f"week/week-{day}.bin", b"\x01\x02" * 50, make.now)
    make.bucket.foreign |= {make.below + name for name in ("photos/", "restic/", "README", "vm/", "logs/", "week/")}


def bucket(now: datetime, *, places: int = 1, size: int = 48, photos: int = 300) -> Bucket:
    """Make one.

    Args:
        now: When the newest backups were made.
        places: How many directories hold all of it, each with names of its own.
        size: Snapshots of an hourly series.
        photos: Files that are no backups, in each.
    """
    made = Bucket()
    for place in range(places):
        make = Maker(made, now, f"site-{place}/" if places > 1 else "")
        _databases(make, size)
        _trees(make, size)
        _tables(make, size)
        _bad(make)
        _foreign(make, photos)
    return made
