"""Small servers' backups of every engine for a project, good ones and damaged ones, and what must be said of each."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from tests.support.contents import gz
from tests.support.postgres_server import running
from tests.support.project import Project

from restore_drill.engines import redis_samples
from restore_drill.engines.mysql import samples as mysql_samples
from restore_drill.engines.postgres import samples as postgres_samples
from restore_drill.engines.postgres.server import connection
from restore_drill.engines.volume_samples import contents, volume

#: What a query of the shop asks, by engine: a server that stands in for another one is found by it.
_SMOKE = {"name": "its own check", "run": ["python3", "-I", "/opt/app/serve.py", "check"]}
#: Rows of the dump in custom form, and of the damaged one.
_STOCK = 300
_TABLES = (
    "create table stock (id int primary key, what text not null, shelf int)",
    f"insert into stock select n, 'thing ' || n, n % 7 from generate_series(1, {_STOCK}) n",
    "create index stock_shelf on stock (shelf)",
)


@dataclass(frozen=True)
class Backup:
    """One target.

    Attributes:
        engine: The engine.
        ending: How its file is called.
        content: Makes the file.
        expect: The catalogue's expectations.
        cause: The one case that must fail, ``""`` of a good one.
        image: The stand-in image it is restored in.
        options: More of the catalogue.
    """

    engine: str
    ending: str
    content: Callable[[], bytes]
    expect: Mapping[str, Any]
    cause: str = ""
    image: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)


def custom_dumps(base: Path) -> dict[str, bytes]:
    """A dump in custom form, and one of the same database after rows were lost."""
    with running(base) as source, source.database(*_TABLES) as name:

        def dump() -> bytes:
            done = source.server.run(["pg_dump", "-Fc", "-d", connection(name)], seconds=60)
            assert done.returncode == 0, done.stderr
            return done.stdout

        whole = dump()
        source.run("delete from stock where id > 290", database=name)
        return {"whole": whole, "fewer": dump(), "cut": whole[: len(whole) - 400]}


def backups(custom: Mapping[str, bytes]) -> dict[str, Backup]:
    """Twenty of them; the first four are of an engine each."""
    made = {
        "volume-good": _volume(contents),
        "mariadb-good": _mariadb(mysql_samples.dump),
        "custom-good": _custom(custom["whole"]),
        "redis-good": _redis(redis_samples.good),
        "plain-good": _plain(postgres_samples.shop),
        "plain-good-2": _plain(postgres_samples.shop),
        "plain-orphans": _plain(_orphans, "integrity"),
        "plain-cut": _plain(lambda: postgres_samples.shop()[:-600], "restores"),
        "plain-staging": _plain(lambda: postgres_samples.shop("Staging"), "query/the-right-shop"),
        "custom-good-2": _custom(custom["whole"]),
        "custom-good-3": _custom(custom["whole"]),
        "custom-fewer": _custom(custom["fewer"], "rows/stock"),
        "custom-cut": _custom(custom["cut"], "restores"),
        "mariadb-good-2": _mariadb(mysql_samples.dump),
        "mariadb-orphan": _mariadb(lambda: mysql_samples.dump(orphan=True), "integrity"),
        "mariadb-cut": _mariadb(lambda: mysql_samples.dump()[:-900], "restores"),
        "redis-good-2": _redis(redis_samples.good),
        "redis-staging": _redis(lambda: redis_samples.good(environment="staging"), "query/the-right-server"),
        "volume-good-2": _volume(contents),
        "volume-lost": _volume(_without_upload, "smoke/its-own-check"),
    }
    assert len(made) == 20
    return made


def declare(project: Project, found: Mapping[str, Backup], sandbox: Callable[[Backup], Any]) -> None:
    """Write the targets and their backups into a project."""
    for name, each in found.items():
        shutil.rmtree(project.root / "stores" / "nas" / name, ignore_errors=True)
        project.targets[name] = {
            "tier": "critical", "engine": each.engine, "sandbox": sandbox(each), **each.options,
            "copies": {"nas": {"path": f"{name}/{{time:%Y%m%dT%H%M%SZ}}{each.ending}"}}, "expect": dict(each.expect),
        }  # fmt: skip
        project.put(name, each.content(), ending=each.ending)
    project.write()


def expected(found: Mapping[str, Backup]) -> dict[str, str]:
    """The cases that must not be green, and how: what :attr:`tests.support.project.Outcome.causes` has to be."""
    return {f"{name}/nas/{each.cause}": "failed" for name, each in found.items() if each.cause}


def _content_of(expect: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in expect.items() if key in ("rows", "queries")}


def _plain(text: Callable[[], str], cause: str = "") -> Backup:
    expect = _content_of(postgres_samples.EXPECT)
    return Backup("postgres", ".sql.gz", lambda: gz(text().encode()), expect, cause, "postgres")


def _custom(content: bytes, cause: str = "") -> Backup:
    return Backup("postgres", ".dump", lambda: content, {"rows": {"stock": _STOCK}}, cause, "postgres")


def _mariadb(content: Callable[[], bytes], cause: str = "") -> Backup:
    expect = _content_of(mysql_samples.EXPECT)
    return Backup("mariadb", ".sql.gz", lambda: gz(content()), expect, cause, "mariadb")


def _redis(content: Callable[[], bytes], cause: str = "") -> Backup:
    return Backup("redis", ".rdb", content, _content_of(redis_samples.EXPECT), cause, "redis")


def _volume(files: Callable[[], Mapping[str, bytes]], cause: str = "") -> Backup:
    def packed() -> bytes:
        with tempfile.TemporaryDirectory() as place:
            return gz(volume(files())(Path(place)).read_bytes())

    options = {"engine_options": {"mount": "/data"}}
    return Backup("volume", ".tar.gz", packed, {"smoke": [_SMOKE]}, cause, "app", options)


def _without_upload() -> dict[str, bytes]:
    return {name: data for name, data in contents().items() if name != "uploads/7.bin"}


@cache
def _orphans() -> str:
    good = postgres_samples.shop()
    lost = "SET session_replication_role = replica;\nUPDATE public.orders SET customer = 4711 WHERE id = 7;\n\n"
    place = good.index("--\n-- PostgreSQL database dump complete")
    return good[:place] + lost + good[place:]
