"""Other major versions of PostgreSQL: what a server of one held comes back in a server of the same.

Dumps of 12 to 14 are written by pg_dump of 15, because no package has an older one, and then made to say that they were
written by the server's own version, as most are. Images of all of them take minutes to build, so that an ordinary run
has two: RESTORE_DRILL_MAJORS="12 13 14 16 17 18" tries the others.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from restore_drill.engines.base import RestoreOptions
from restore_drill.engines.postgres.engine import PostgresEngine
from restore_drill.engines.postgres.server import PostgresServer
from restore_drill.model import Payload, PayloadForm
from restore_drill.sandboxes.base import Limits, Need, SandboxOptions
from restore_drill.sandboxes.container import ContainerSandbox

_STATEMENTS = (
    "create extension hstore",
    "create collation german (provider = icu, locale = 'de-u-co-phonebk')",
    "create table people (id int generated always as identity primary key, name text collate german, bag hstore)",
    "insert into people (name, bag) select 'n' || n, hstore('n', n::text) from generate_series(1, 300) n",
    "create index on people (name); create index on people using gin (bag)",
    "create table parts (id int, at date, primary key (id, at)) partition by range (at)",
    "create table parts_old partition of parts for values from (minvalue) to ('2026-01-01')",
    "create table parts_new partition of parts for values from ('2026-01-01') to (maxvalue)",
    "insert into parts select n, date '2025-12-01' + n from generate_series(1, 60) n",
    "create view seen as select name, at from people join parts using (id)",
)
#: Beside 15, which all other tests are run with.
MAJORS = os.environ.get("RESTORE_DRILL_MAJORS", "14 17").split()
_COUNT = "select count(*) from seen"


def _dump(major: str, base: Path, reference: str) -> bytes:
    """What a server of a major version holds, as its image's own pg_dump writes it."""
    options = SandboxOptions(image=reference)
    with ContainerSandbox(base, run="majors", name=f"source.{major}", limits=Limits(), options=options) as sandbox:
        need = Need("postgres", major, programs=("initdb", "postgres", "psql", "pg_dump"), user="postgres")
        server = PostgresServer(sandbox, sandbox.equip(need), until=time.monotonic() + 120, threads=2)
        server.initialise()
        server.start()
        for answer in server.ask("postgres", _STATEMENTS, seconds=60):
            assert answer.problem is None, (answer.problem, answer.problem.details)
        done = server.run(["pg_dump", "-Fc", "postgres"], seconds=60)
        assert done.returncode == 0, done.stderr
        server.stop()
        return re.sub(rb"15(\.\d+ \(Debian )15(?=\.)", rb"%b\g<1>%b" % (major.encode(), major.encode()), done.stdout)


@pytest.mark.parametrize("major", MAJORS)
def test_a_dump_comes_back_in_its_own_major_version(
    major: str, stand_in: Callable[[str], str], require_program: Callable[[str], str], tmp_path: Path
) -> None:
    require_program("npm")
    reference = stand_in(f"postgres:{major}")
    dump = _dump(major, tmp_path, reference)
    with ContainerSandbox(tmp_path, run="majors", name=f"back.{major}", limits=Limits()) as sandbox:
        payload = sandbox.work / "payload-0"
        payload.write_bytes(dump)
        known = PostgresEngine.recognises(dump[:1024])
        given = RestoreOptions(deadline=120, threads=2)
        payloads = [Payload(PayloadForm.FILE, payload, known, len(dump))]
        with closing(PostgresEngine().restore(payloads, sandbox, given)) as came:
            # Nobody named it: the version that the dump records led to it.
            assert sandbox.facts()["image"] == reference
            assert str(came.scalar("show server_version", deadline=30)).startswith(f"{major}.")
            assert came.row_counts() == {"people": 300, "parts": 60}
            assert came.scalar(_COUNT, deadline=30) == 60
            assert not came.integrity()["problems"]
