"""Faults of dumps and append-only files of Redis: each is borne by one case, and its undamaged twin stays green."""

from __future__ import annotations

import io
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.support.contents import gz
from tests.support.matrix import AGES, FaultMatrix, Make, Row, Site, cut, flip, stored

from restore_drill.engines import redis_samples
from restore_drill.engines.redis import RedisEngine

_QUERY = {"name": "the server", "sql": "GET shop:environment", "equals": "production"}


@pytest.fixture(scope="module", autouse=True)
def _programs(require_program: Callable[[str], str]) -> None:
    for name in RedisEngine.programs:
        require_program(name)


def _backups(site: Site, suffix: str, content: Callable[[], bytes], **expect: Any) -> None:
    site.copy(f"{{time:%Y%m%d_%H%M%S}}.{suffix}")
    site.options |= {"engine": "redis", "sandbox": "directory", "size": {"predecessors": 60}, "expect": expect}
    for age in AGES:
        site.put(age, content())


def a_dump(site: Site) -> None:
    rows = {"db0": {"min": 45}, "db0.hash": 12}
    _backups(site, "rdb.gz", lambda: gz(redis_samples.good()), rows=rows, queries=[_QUERY])


def a_plain_dump(site: Site) -> None:
    _backups(site, "rdb", redis_samples.good)


def a_cache(site: Site) -> None:
    content = redis_samples.database(0, *redis_samples.sessions(50, until=4_000_000_000_000))
    _backups(site, "rdb", lambda: redis_samples.dump(content), rows={"db0": {"min": 45}})


def an_append_only_file(site: Site) -> None:
    _backups(site, "aof", redis_samples.written_out, rows={"db0": {"min": 45}})


def a_data_directory(site: Site) -> None:
    _backups(site, "tar", parts, rows={"db0.hash": 12})


def parts(lost: str = "", increment: bytes = b"") -> bytes:
    name = "appendonly.aof"
    files = {
        "base.rdb": redis_samples.good(),
        "incr.aof": increment or redis_samples.commands(("SELECT", "0"), ("SET", "later", "value")),
    }
    listed = b"file appendonly.aof.1.base.rdb seq 1 type b\nfile appendonly.aof.1.incr.aof seq 1 type i\n"
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        whole = {f"{name}.1.{part}": raw for part, raw in files.items()} | {f"{name}.manifest": listed}
        for part, raw in whole.items():
            if part != lost:
                member = tarfile.TarInfo(f"appendonlydir/{part}")
                member.size = len(raw)
                archive.addfile(member, io.BytesIO(raw))
    return data.getvalue()


def another(content: Callable[[], bytes]) -> Make:
    return stored(lambda _: content())


def sample(name: str) -> bytes:
    with tempfile.TemporaryDirectory() as place:
        return next(one for one in RedisEngine.samples() if one.name == name).build(Path(place)).read_bytes()


def newer() -> bytes:
    content = redis_samples.database(0, *redis_samples.shop())
    return redis_samples.dump(content, version=60, aux={"redis-ver": "90.1.0"})


ROWS = [
    Row(
        51, "redis: keys past their time to live", a_dump, another(lambda: gz(redis_samples.good(past=20))),
        "nas/rows/db0", "db0 has 27 rows", ".", note="20 of 48 keys",
    ),
    Row(
        51, "redis: every key past its time", a_cache,
        another(lambda: redis_samples.dump(redis_samples.database(0, *redis_samples.sessions(50)))), "nas/rows/db0",
        "db0 has 0 rows", ".", note="50 of 50 keys",
    ),
    Row(
        52, "redis: a value of a module", a_dump, another(lambda: gz(sample("needs-module"))), "nas/restores",
        "needs the module that has MBbloom--", "engine_options: {modules",
    ),
    Row(13, "redis: a dump is cut", a_plain_dump, stored(cut(400)), "nas/restores", "ends too early", "another copy"),
    Row(13, "redis: a bit of a dump", a_plain_dump, stored(flip(-300)), "nas/restores", "refuses it", "another copy"),
    Row(
        13, "redis: bytes behind a dump", a_plain_dump, stored(lambda data: data + b"tail"), "nas/restores",
        "4 bytes behind the end", "backup job",
    ),
    Row(36, "redis: not one key", a_plain_dump, another(redis_samples.dump), "nas/restores", "nothing came back", "."),
    Row(
        39, "redis: of a newer server", a_plain_dump, another(newer), "nas/restores", "redis 90.1", "Install|image",
        verdict="error",
    ),
    Row(
        45, "redis: functions are lost", a_plain_dump, another(lambda: redis_samples.good(functions=False)),
        "nas/structure", "the function library shop vanished", "baseline accept", history=True,
    ),
    Row(
        46, "redis: staging for production", a_dump, another(lambda: gz(redis_samples.good(environment="staging"))),
        "nas/query/the-server", "text", ".",
    ),
    Row(
        13, "redis: an append-only file is cut", an_append_only_file, stored(cut(9)), "nas/restores",
        "ends within a command", "another copy",
    ),
    Row(
        91, "redis: an append-only file loads a module", an_append_only_file,
        stored(lambda data: data + redis_samples.commands(("MODULE", "LOAD", "/tmp/evil.so"))), "nas/restores",
        "the command MODULE", "before anybody loads it",
    ),
    Row(
        44, "redis: a part is lost", a_data_directory, another(lambda: parts("appendonly.aof.1.base.rdb")),
        "nas/restores", "not whole: a file that its manifest lists is missing", "appendonlydir",
    ),
]  # fmt: skip


class TestFaults(FaultMatrix):
    """The rows of this module."""
