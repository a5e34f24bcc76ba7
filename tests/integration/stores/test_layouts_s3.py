"""Every layout on an object store, drilled from a real S3 server; hostile keys on one that stores any key."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.support.backups import MakeStaging, database, sha256
from tests.support.contents import zst
from tests.support.places import Bucket
from tests.support.plans import planned_copy, target_model
from tests.support.servers import KEYS, S3Server
from tests.unit.repositories.conftest import make_staging, sandbox

from restore_drill.archives.digest import DigestBook, file_line
from restore_drill.archives.members import Type
from restore_drill.errors import BackupFailed
from restore_drill.model import Stage
from restore_drill.registry import load
from restore_drill.repositories.base import Repository, Transfer
from restore_drill.repositories.selection import choose

__all__ = ["make_staging", "sandbox"]

NOW = datetime.now(UTC).replace(microsecond=0)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
DATABASE = database()
STORED = zst(DATABASE)
TREE = {"etc/app.toml": b"port = 8080\n", "hosts": b"::1\n", "large": bytes(3 << 20), "a b/ü": b"x"}

Over = Callable[..., Repository]


@pytest.fixture
def bucket(seaweed: S3Server, place: str) -> Bucket:
    return Bucket(seaweed.client(), "backups", place)


@pytest.fixture
def over(store_of: Callable[..., Any], seaweed: S3Server, place: str) -> Over:
    return repositories(store_of, seaweed, place)


def repositories(store_of: Callable[..., Any], server: S3Server, place: str) -> Over:
    def make(path: str, engine: str = "sqlite", ranges: int = 1, **copy: Any) -> Repository:
        url = f"s3://backups/{place}"
        store = store_of(server.endpoint, url, ranges=ranges)
        planned = replace(planned_copy("offsite", path, url=url, **copy), settings=store.settings)
        kind = load("repositories", planned.layout)
        repository: Repository = kind(store, planned, target_model(engine=engine))
        return repository

    return make


def first(repository: Repository, staging: Any) -> Transfer:
    snapshot = repository.survey().newest[0]
    return repository.fetch(snapshot, staging)


def tree_digest(files: dict[str, bytes], tmp_path: Path) -> str:
    """What a directory of these files has."""
    book = DigestBook(str(tmp_path))
    for folder in {name.rpartition("/")[0] for name in files} - {""}:
        book.add(folder.encode(), Type.DIRECTORY)
    for name, data in files.items():
        book.add_line(file_line(name.encode(), len(data), sha256(data)))
    return book.finish()


def copy_with_rclone(files: dict[str, bytes], source: Path, server: S3Server, prefix: str, program: str) -> None:
    for name, data in files.items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(data)
    key, secret = KEYS["admin"]
    settings = {
        "TYPE": "s3", "PROVIDER": "SeaweedFS", "ENDPOINT": server.endpoint, "ACCESS_KEY_ID": key,
        "SECRET_ACCESS_KEY": secret,
    }  # fmt: skip
    environment = {f"RCLONE_CONFIG_THERE_{name}": value for name, value in settings.items()}
    command = [program, "--config", "/dev/null", "copy", str(source), f"there:backups/{prefix}"]
    subprocess.run(command, env={**os.environ, **environment}, check=True, capture_output=True, timeout=60)


def test_split_parts(bucket: Bucket, over: Over, make_staging: MakeStaging) -> None:
    stamp = f"{NOW - HOUR:%Y%m%d_%H%M%S}"
    third = len(STORED) // 3 + 1
    for number, letter in enumerate("abc"):
        bucket.write(f"db/{stamp}.db.zst.part-a{letter}", STORED[number * third :][:third], NOW)
    bucket.write(f"db/{stamp}.db.zst.sha256", f"{sha256(STORED)}  {stamp}.db.zst\n".encode(), NOW)
    repository = over("db/{time:%Y%m%d_%H%M%S}.db.zst.part-{part}")
    assert repository.unfinished(repository.survey().newest[0], settling=True) is None
    transfer = first(repository, make_staging())
    assert transfer.broken == {} and transfer.payloads[0].path.read_bytes() == DATABASE
    bucket.remove(f"db/{stamp}.db.zst.part-ab")
    assert repository.unfinished(repository.survey().newest[0], settling=True) == (
        f"its part {stamp}.db.zst.part-ab is missing"
    )
    assert "part-ab of the snapshot is missing" in first(repository, make_staging()).broken[Stage.FETCH].cause


@pytest.mark.parametrize("ranges", [1, 4])
def test_a_prefix_a_snapshot(
    ranges: int,
    bucket: Bucket,
    over: Over,
    make_staging: MakeStaging,
    tmp_path: Path,
    seaweed: S3Server,
    require_program: Callable[[str], str],
) -> None:
    prefix = f"app/{NOW - HOUR:%Y-%m-%d}"
    sums = "".join(f"{sha256(data)}  {name}\n" for name, data in TREE.items()).encode()
    files = {**TREE, "SHA256SUMS": sums, "_SUCCESS": b"ok"}
    copy_with_rclone(files, tmp_path / "source", seaweed, f"{bucket.prefix}/{prefix}", require_program("rclone"))
    repository = over("app/{time:%Y-%m-%d}/", "files", ranges, complete_when="{name}/_SUCCESS")
    (snapshot,) = repository.survey().newest
    assert repository.name == "prefixes" and snapshot.size == sum(map(len, files.values()))
    assert repository.unfinished(snapshot, settling=False) is None
    transfer = repository.fetch(snapshot, make_staging("files", files_judged=True))
    assert (transfer.broken, transfer.absent) == ({}, [])
    assert transfer.payloads[0].digest == tree_digest(files, tmp_path)
    assert transfer.digests[0].actual == "4 files of SHA256SUMS"
    bucket.write(f"{prefix}/hosts", b"::2\n", NOW)
    assert "1 of 4 files differ" in first(repository, make_staging("files")).broken[Stage.VERIFY].cause
    bucket.remove(f"{prefix}/_SUCCESS")
    assert "_SUCCESS is missing" in str(repository.unfinished(snapshot, settling=False))


@pytest.mark.parametrize("key", ["../../outside", "a//b", "a/../../b", "./a"])
def test_a_hostile_key_in_a_prefix(
    key: str, moto_s3: S3Server, store_of: Callable[..., Any], place: str, make_staging: MakeStaging
) -> None:
    bucket = Bucket(moto_s3.client(), "backups", place)
    bucket.write("app/2026-11-23/hosts", b"::1\n", NOW)
    repository = repositories(store_of, moto_s3, place)("app/{time:%Y-%m-%d}/", "files", checksum="pinned")
    assert first(repository, make_staging("files")).broken == {}
    bucket.write(f"app/2026-11-23/{key}", b"out", NOW)
    problem = first(repository, make_staging("files")).broken[Stage.UNPACK]
    assert isinstance(problem, BackupFailed) and "leads to no place below its snapshot" in problem.cause


def test_a_pointer_and_a_copy(bucket: Bucket, over: Over) -> None:
    names = [f"{NOW - age:%Y%m%d_%H%M%S}.db" for age in (2 * HOUR, HOUR)]
    for name, rows in zip(names, (10, 100), strict=True):
        bucket.write(f"db/{name}", database(rows * 50), NOW)
    bucket.write("db/LATEST", f"s3://backups/{bucket.prefix}/db/{names[0]}\n".encode(), NOW)
    bucket.write("db/latest.db", database(10 * 50), NOW)

    def why(latest: str) -> str | None:
        repository = over("db/{time:%Y%m%d_%H%M%S}.db", latest=latest)
        survey = repository.survey()
        assert [snapshot.main.name for snapshot in survey.newest] == names[::-1]
        return repository.unfinished(survey.newest[0], settling=False)

    assert why("db/LATEST") == f"db/LATEST still names db/{names[0]}"
    assert str(why("db/latest.db")).startswith("db/latest.db is no copy of it yet: it has")
    assert why("db/nothing") == "the pointer db/nothing is missing"
    bucket.write("db/LATEST", names[1].encode(), NOW)
    bucket.write("db/latest.db", database(100 * 50), NOW)
    assert why("db/LATEST") is why("db/latest.db") is None


def test_rotations_that_were_copied_along(bucket: Bucket, over: Over, make_staging: MakeStaging) -> None:
    for number, age in ((2, 50), (1, 26), (0, 2)):  # the order in which a rotation copies
        bucket.metadata = {"taken-at": (NOW - age * HOUR).isoformat()}
        bucket.write(f"orders.{number}.db", DATABASE, NOW)
        bucket.write(f"orders.{number}.db.sha256", f"{sha256(DATABASE)}\n".encode(), NOW)
    by_metadata = over("orders.{rotation}.db", time_metadata="taken-at")
    assert [each.taken_at for each in by_metadata.survey().newest] == [NOW - age * HOUR for age in (2, 26, 50)]
    selection = choose(by_metadata.survey(), by_metadata, NOW.timestamp() + 7200)
    assert selection.snapshot is not None and selection.snapshot.main.name == "orders.0.db"
    assert by_metadata.fetch(selection.snapshot, make_staging()).broken == {}
    by_listing = over("orders.{rotation}.db")
    assert choose(by_listing.survey(), by_listing, NOW.timestamp() + 7200).snapshot is not None
    bucket.metadata = {"taken-at": NOW.isoformat()}
    bucket.write("orders.2.db", DATABASE, NOW)
    by_metadata = over("orders.{rotation}.db", time_metadata="taken-at")  # what was asked before is remembered
    contradicted = choose(by_metadata.survey(), by_metadata, NOW.timestamp() + 7200)
    assert contradicted.failure is not None and "orders.2.db is newer than orders.0.db" in contradicted.failure.cause


def test_a_database_that_is_missing_from_the_newest_folder(bucket: Bucket, over: Over) -> None:
    for day in (1, 2):
        for name in ("orders.db", "customers.db", "DONE"):
            bucket.write(f"{NOW - day * DAY:%Y/%m/%d}/{name}", DATABASE, NOW)
    repository = over("{time:%Y}/{time:%m/%d}/orders.db", shared_folder=True, complete_when="DONE", checksum="pinned")
    later = NOW.timestamp() + 7200
    chosen = choose(repository.survey(), repository, later).snapshot
    assert chosen is not None and chosen.main.key == f"{NOW - DAY:%Y/%m/%d}/orders.db"
    bucket.remove(chosen.main.key)
    failure = choose(repository.survey(), repository, later).failure
    assert failure is not None
    assert f"the newest folder {NOW - DAY:%Y/%m/%d}/ holds 2 other objects, but no orders.db" in failure.cause


@pytest.fixture(autouse=True)
def _emptied(seaweed: S3Server, place: str) -> Iterator[None]:
    """Leave nothing behind for tests that list the whole bucket."""
    yield
    client = seaweed.client()
    for found in client.list_objects_v2(Bucket="backups", Prefix=f"{place}/").get("Contents", ()):
        client.delete_object(Bucket="backups", Key=found["Key"])
