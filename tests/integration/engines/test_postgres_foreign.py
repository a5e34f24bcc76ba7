"""PostgreSQL databases that nobody here wrote come back whole: every table with every row, every object."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tests.support import foreign
from tests.support.postgres_server import Postgres, running

from restore_drill.engines.base import RestoreOptions
from restore_drill.engines.postgres.engine import PostgresEngine
from restore_drill.model import Payload, PayloadForm
from restore_drill.registry import load
from restore_drill.sandboxes.base import Limits


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory, require_program: Callable[[str], str]) -> Iterator[Postgres]:
    for program in ("initdb", "postgres", "psql", "pg_dump", "pg_amcheck", "pg_restore"):
        require_program(program)
    with running(tmp_path_factory.mktemp("foreign")) as server:
        yield server


def _load(source: Postgres, database: str, script: bytes) -> None:
    source.run(f"create database {database}")
    argv = ["psql", "-qX1", "-v", "ON_ERROR_STOP=1", "-f", "-", database]
    done = source.sandbox.exec(argv, deadline=120, stdin=script, environment=source.server.environment())
    assert done.returncode == 0, done.stderr[-2000:]


def _dump(source: Postgres, database: str, path: Path, program: str) -> None:
    environment = source.server.environment() | {"PGHOST": str(source.server.ground.reachable)}
    subprocess.run([program, "-Fc", "-Z1", "-f", path, database], env=environment, check=True, timeout=120)


@pytest.mark.parametrize(("name", "kind"), [("zabbix-postgres", "container"), ("ledgersmb", "directory")])
def test_a_foreign_database_comes_back_whole(
    source: Postgres, name: str, kind: str, tmp_path: Path, request: pytest.FixtureRequest,
    require_program: Callable[[str], str],
) -> None:  # fmt: skip
    if kind == "container":
        request.getfixturevalue("stand_in")("postgres")
    database = f"{name.partition('-')[0]}_{kind}"
    _load(source, database, foreign.script(name, require_program))
    before = source.restored(database)
    with load("sandboxes", kind)(tmp_path, run="foreign", name=database, limits=Limits(processes=2)) as sandbox:
        dump = sandbox.work / "payload-0"
        _dump(source, database, dump, require_program("pg_dump"))
        kept = PostgresEngine.recognises(dump.read_bytes()[:1024])
        payload = Payload(PayloadForm.FILE, dump, kept, dump.stat().st_size)
        options = RestoreOptions(deadline=240, threads=2)
        with closing(PostgresEngine().restore([payload], sandbox, options)) as after:
            counts = after.row_counts()
            assert counts == before.row_counts()
            assert len(counts) > 150
            assert sum(counts.values()) > 1000
            assert after.structure() == before.structure()
            assert not after.integrity()["problems"]
