"""Faults of base backups of PostgreSQL on their way through a whole drill, each beside its undamaged twin."""

from __future__ import annotations

import io
import tarfile
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from tests.support import base_backups
from tests.support.base_backups import FAR, ORDERS, BaseBackups, replace_keeping_size
from tests.support.matrix import AGES, FaultMatrix, Make, Row, Site

_TIME = "{time:%Y%m%d_%H%M%S}"


_places: list[Path] = []


@pytest.fixture(scope="module", autouse=True)
def _programs(require_program: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> None:
    for name in ("initdb", "postgres", "psql", "pg_basebackup", "pg_verifybackup"):
        require_program(name)
    _places.append(tmp_path_factory.mktemp("base-backups"))


@cache
def backups() -> BaseBackups:
    """Taken when they are first asked for."""
    _places[0].chmod(0o711)
    return base_backups.take(_places[0])


def _target(site: Site, path: str, **options: Any) -> None:
    site.copy(path, checksum="pinned", **options)
    site.options |= {
        "engine": "postgres",
        "sandbox": "directory",
        "size": {"predecessors": 60},
        "limits": {"allow": ["outside-links"]},  # what --tablespace-mapping writes
        "expect": {"rows": {"orders": ORDERS, "far_away": FAR}},
    }


def a_folder_of_archives(site: Site) -> None:
    _target(site, f"{_TIME}/")
    site.grow(AGES[-1], {path.name: path.read_bytes() for path in backups().tar.iterdir()})


def a_base_archive_with_parts(site: Site) -> None:
    """As jobs write it that encrypt every archive of a backup by itself."""
    files = sorted(backups().tar.iterdir(), key=lambda path: not path.name.startswith("base"))
    _target(site, f"{_TIME}/{files[0].name}", parts=[path.name for path in files[1:]])
    key = site.put(AGES[-1], files[0].read_bytes(), digest=False)
    for path in files[1:]:
        site.places["nas"].write(f"{key.rpartition('/')[0]}/{path.name}", path.read_bytes(), site.when(key))


def a_packed_directory(site: Site) -> None:
    _target(site, f"{_TIME}.tar")
    site.put(AGES[-1], _packed(lambda root: None), digest=False)


def _packed(damage: Callable[[Path], object]) -> bytes:
    """The plain backup, its tablespace beside it, as one archive."""
    with tempfile.TemporaryDirectory() as directory:
        root = base_backups.copy(backups().plain, Path(directory, "plain"))
        damage(root)
        raw = io.BytesIO()
        with tarfile.open(fileobj=raw, mode="w") as archive:
            archive.add(root, "plain")
        return raw.getvalue()


def packed(damage: Callable[[Path], object]) -> Make:
    return lambda site: site.rewrite(_packed(damage))


def blind_spots(root: Path) -> None:
    (root / "data" / "standby.signal").touch()
    with (root / "data" / "postgresql.auto.conf").open("a") as file:
        file.write("archive_mode = on\n")


def no_tablespace(site: Site) -> None:
    folder = site.disk(site.newest()).parent
    next(path for path in folder.iterdir() if path.name[0] == "1").unlink()


def no_wal(site: Site) -> None:
    site.disk(f"{site.newest()}pg_wal.tar.gz").unlink()


ROWS = [
    Row(
        18, "base backup: a changed configuration", a_packed_directory, packed(blind_spots), "nas/integrity",
        "postgresql.auto.conf was changed after the backup was made, and 1 more", "another copy",
    ),
    Row(
        63, "base backup: a replaced file", a_packed_directory,
        packed(lambda root: replace_keeping_size(root / "data" / "pg_hba.conf")), "nas/integrity",
        "pg_verifybackup: a file has another content", "another copy",
    ),
    Row(
        64, "base backup: no write-ahead log", a_folder_of_archives, no_wal, "nas/restores", "holds no write-ahead log",
        "pg_basebackup -X stream",
    ),
    Row(
        63, "base backup: no archive of a tablespace", a_base_archive_with_parts, no_tablespace, "nas/fetched",
        "the part 1.* of the snapshot is missing", "store all files",
    ),
]  # fmt: skip


class TestFaults(FaultMatrix):
    """The rows of this module."""
