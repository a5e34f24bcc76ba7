"""Databases that nobody here wrote: those of programs that Debian ships, fetched when a test asks for them.

Nothing of them is kept in this repository. apt checks what it fetches against the archive's signatures; which version
it is follows the machine's release, so that tests compare what came back with what was there, and never with figures.
"""

from __future__ import annotations

import fcntl
import gzip
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Database:
    """A database as a package brings it.

    Attributes:
        package: Of Debian.
        files: Its scripts in the order in which they are run.
        licence: Under which the package stands.
    """

    package: str
    files: tuple[str, ...]
    licence: str


_PARTS = ("schema", "images", "data")
#: Name → database. Zabbix (a monitoring system): 173 tables, 226 foreign keys, 52 MB with images; its two variants are
#: for PostgreSQL and MySQL. LedgerSMB (bookkeeping): 164 tables, functions, triggers, views, rules, composite types.
DATABASES = {
    "zabbix-postgres": Database(
        "zabbix-server-pgsql", tuple(f"usr/share/zabbix-server-pgsql/{part}.sql.gz" for part in _PARTS), "GPL-2+"
    ),
    "zabbix-mysql": Database(
        "zabbix-server-mysql", tuple(f"usr/share/zabbix-server-mysql/{part}.sql.gz" for part in _PARTS), "GPL-2+"
    ),
    "ledgersmb": Database("ledgersmb", ("usr/share/ledgersmb/sql/Pg-database.sql",), "GPL-2+"),
}


def script(name: str, find: Callable[[str], str]) -> bytes:
    """The statements that make a database.

    Args:
        name: One of :data:`DATABASES`.
        find: Where a program is installed (the fixture ``require_program``).
    """
    database = DATABASES[name]
    root = _unpacked(database.package, find)
    return b"".join(_read(root / file) for file in database.files)


def _read(path: Path) -> bytes:
    content = path.read_bytes()
    return gzip.decompress(content) if path.suffix == ".gz" else content


def _unpacked(package: str, find: Callable[[str], str]) -> Path:
    """Where a package's files lie: beside this environment, so that they are fetched once, by whoever asks first."""
    programs = find("apt-get"), find("dpkg-deb")
    place = cache() / package
    with place.with_suffix(".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not place.exists():
            with tempfile.TemporaryDirectory(dir=place.parent) as scratch:
                _fetch(package, Path(scratch), *programs)
                (Path(scratch) / "files").rename(place)
    return place


def cache() -> Path:
    beside = Path(sys.prefix)
    owned = sys.prefix != sys.base_prefix and os.access(beside, os.W_OK)
    cache = beside / "foreign" if owned else Path(f"/var/tmp/restore-drill-foreign-{os.getuid()}")
    cache.mkdir(mode=0o700, exist_ok=True)
    assert cache.stat().st_uid == os.getuid()
    return cache


def _fetch(package: str, scratch: Path, apt_get: str, dpkg_deb: str) -> None:
    download = [apt_get, "download", "-q", "-o", "APT::Sandbox::User=", package]
    done = subprocess.run(download, cwd=scratch, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode and os.getuid() == 0:  # a new machine knows of no package
        update = [apt_get, "update", "-qq", "-o", "DPkg::Lock::Timeout=120"]
        subprocess.run(update, capture_output=True, timeout=300, check=False)
        done = subprocess.run(download, cwd=scratch, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    (file,) = scratch.glob("*.deb")
    subprocess.run([dpkg_deb, "-x", file, scratch / "files"], check=True, capture_output=True, timeout=120)
