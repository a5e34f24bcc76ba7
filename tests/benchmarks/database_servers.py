"""(f) A PostgreSQL and a MariaDB dump, restored in a container: against the bare client, and against a peer."""

from __future__ import annotations

import shlex
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.benchmarks.measure import Benchmark, Way
from tests.benchmarks.project import Project, record_digest

_PEER = "firedrill==0.6.0"
_POSTGRES, _MARIADB = "restore-drill/postgres:15", "restore-drill/mariadb:10.11"
#: The stand-in with an entrypoint that prepares a server, as the usual image's does: the peer and the shell need one.
_PREPARING = "restore-drill/benchmark-postgres:15"
_ENTRYPOINT = """\
#!/bin/sh
set -e
as() { setpriv --reuid=postgres --regid=postgres --init-groups "$@"; }
mkdir -p "$PGDATA" /var/run/postgresql
chown postgres: "$PGDATA" /var/run/postgresql
printf '%s' "$POSTGRES_PASSWORD" > /tmp/password
chmod 644 /tmp/password
as initdb --username=postgres --pwfile=/tmp/password --auth-local=trust $POSTGRES_INITDB_ARGS >/dev/null
exec setpriv --reuid=postgres --regid=postgres --init-groups postgres
"""
#: Rows that give 1 GB together with their indexes.
_ROWS = {"customers": 500_000, "orders": 2_000_000, "items": 5_000_000}
_SCHEMA = """
    create table customers (
        id bigint primary key, name text not null, email text not null unique, created_at timestamptz);
    create table orders (id bigint primary key, customer_id bigint not null references customers,
        created_at timestamptz not null, status text not null check (status in ('new', 'paid', 'sent')), note text);
    create table items (id bigint primary key, order_id bigint not null references orders, sku text not null,
        quantity int not null check (quantity > 0), price numeric(10, 2) not null, description text);
    insert into customers select n, md5(n::text), 'u' || n || '@' || left(md5(n::text), 6) || '.example',
        timestamptz '2026-01-01' + n * interval '1 second' from generate_series(1, {customers}) n;
    insert into orders select n, 1 + n * 7919::bigint % {customers}, timestamptz '2026-01-01' + n * interval '1 second',
        (array['new', 'paid', 'sent'])[1 + n % 3], md5((n % 99991)::text) from generate_series(1, {orders}) n;
    insert into items select n, 1 + n * 7919::bigint % {orders}, left(md5((n % 9973)::text), 8), 1 + n % 9,
        n % 100000 / 100.0, md5((n % 99991)::text) from generate_series(1, {items}) n;
    create index on orders (customer_id);
    create index on items (order_id);
"""
_MARIADB_ROWS = {"customers": 100_000, "orders": 400_000, "items": 1_000_000}
_MARIADB_SCHEMA = """
    create table customers (id bigint primary key, name text not null, email varchar(80) not null unique);
    create table orders (id bigint primary key, customer_id bigint not null, created_at datetime not null,
        status varchar(8) not null, note text, foreign key (customer_id) references customers (id));
    create table items (id bigint primary key, order_id bigint not null, sku varchar(8) not null,
        quantity int not null, price decimal(10, 2) not null, description text,
        foreign key (order_id) references orders (id));
    insert into customers select seq, md5(seq), concat('u', seq, '@', left(md5(seq), 6), '.example')
        from seq_1_to_{customers};
    insert into orders select seq, 1 + seq * 7919 % {customers}, '2026-01-01' + interval seq second,
        elt(1 + seq % 3, 'new', 'paid', 'sent'), md5(seq % 99991) from seq_1_to_{orders};
    insert into items select seq, 1 + seq * 7919 % {orders}, left(md5(seq % 9973), 8), 1 + seq % 9,
        seq % 100000 / 100.0, md5(seq % 99991) from seq_1_to_{items};
"""
#: A server on a socket, prepared as the documentation has it, and nothing synchronised to disk, as in a drill.
_MARIADB_SERVER = (
    "mariadb-install-db --user=mysql --datadir=/tmp/data --auth-root-authentication-method=normal --skip-test-db "
    ">/dev/null && (mariadbd --user=mysql --datadir=/tmp/data --socket=/tmp/socket --skip-networking "
    "--innodb-flush-log-at-trx-commit=0 --skip-innodb-doublewrite --innodb-buffer-pool-size=512M >/dev/null 2>&1 &) ; "
    "until mariadb -S /tmp/socket -e 'create database shop' 2>/dev/null; do sleep 0.1; done"
)
_MARIADB_SHELL = """\
set -e
name=restore-drill-benchmark-$$
trap 'docker rm -fv $name >/dev/null' EXIT
docker run -d --network none --name $name --entrypoint sleep -v DUMP:/dump.sql:ro IMAGE 3600 >/dev/null
docker exec $name sh -c "SERVER"
docker exec $name sh -c 'mariadb -S /tmp/socket shop < /dump.sql'
docker exec $name mariadb -S /tmp/socket shop -Ne 'select count(*) from items'
"""
_SHELL = """\
set -e
name=restore-drill-benchmark-$$
trap 'docker rm -fv $name >/dev/null' EXIT
docker run -d --network none --name $name -e POSTGRES_PASSWORD=none -v DUMP:/dump:ro IMAGE >/dev/null
until docker exec $name pg_isready -q -h 127.0.0.1; do sleep 0.1; done
docker exec -u postgres $name createdb shop
docker exec $name pg_restore -U postgres -j 2 -d shop --no-owner /dump
docker exec -u postgres $name psql -d shop -Atc 'select count(*) from items'
"""


@contextmanager
def build(scratch: Path, *, small: bool) -> Iterator[Iterator[Benchmark]]:
    """An engine must answer, and the stand-ins be there (``python fixtures/images build``)."""
    _prepare_image()
    yield (build_one(scratch, small) for build_one in (_postgres, _mariadb))


def _postgres(scratch: Path, small: bool) -> Benchmark:
    rows = {table: count // (10 if small else 1) for table, count in _ROWS.items()}
    project = Project(scratch / "postgres")
    dump = project.stores / f"{project.stamp}_shop.dump"
    size = _dump(dump, rows)
    record_digest(dump)
    project.date(dump)
    project.add(
        "shop",
        "{time:%Y%m%d_%H%M%S}_shop.dump",
        engine="postgres",
        sandbox={"kind": "container", "image": _POSTGRES},
        expect={"rows": dict(rows)},
    )
    project.write()
    dump.chmod(0o644)
    script = project.root / "shell.sh"
    script.write_text(_SHELL.replace("DUMP", str(dump)).replace("IMAGE", _PREPARING))
    template = _PREPARING.replace(":15", ":{major}")
    return Benchmark(
        "f",
        f"one PostgreSQL database of {size / 1e9:.2f} GB, custom format ({dump.stat().st_size / 1e6:.0f} MB)",
        None,
        [
            Way("pg_restore -j 2", ["sh", str(script)], project.root, shown="docker run; pg_restore -j 2; docker rm"),
            Way(
                "firedrill",
                [str(_peer(scratch)), "run", str(dump), "--jobs", "2", "--no-config", "--image", template],
                project.root,
                shown=shlex.join([_PEER.replace("==", " "), "run", dump.name, "--jobs", "2", "--image", "…"]),
            ),
            project.way("pytest, without integrity", "-k", "not integrity"),
            project.way("pytest"),
        ],
        remarks=["all of them in containers of the same image, its server's settings their own"],
    )


def _mariadb(scratch: Path, small: bool) -> Benchmark:
    rows = {table: count // (10 if small else 1) for table, count in _MARIADB_ROWS.items()}
    project = Project(scratch / "mariadb")
    dump = project.stores / f"{project.stamp}_shop.sql"
    _dump_mariadb(dump, rows)
    record_digest(dump)
    project.date(dump)
    dump.chmod(0o644)
    project.add(
        "shop",
        "{time:%Y%m%d_%H%M%S}_shop.sql",
        engine="mariadb",
        sandbox={"kind": "container", "image": _MARIADB},
        expect={"rows": dict(rows)},
    )
    project.write()
    script = project.root / "shell.sh"
    filled = _MARIADB_SHELL.replace("DUMP", str(dump)).replace("IMAGE", _MARIADB).replace("SERVER", _MARIADB_SERVER)
    script.write_text(filled)
    return Benchmark(
        "f",
        f"one MariaDB database as a dump of {dump.stat().st_size / 1e6:.0f} MB",
        None,
        [
            Way("mariadb", ["sh", str(script)], project.root, shown="docker run; mariadb < dump; docker rm"),
            project.way("pytest, without integrity", "-k", "not integrity"),
            project.way("pytest"),
        ],
        remarks=["all of them in containers of the same image, nothing synchronised to disk by any"],
    )


def _dump_mariadb(path: Path, rows: dict[str, int]) -> None:
    with _container("--entrypoint", "sleep", _MARIADB, "3600") as name:
        _shell(name, _MARIADB_SERVER)
        _shell(name, f'mariadb -S /tmp/socket shop -e "{_MARIADB_SCHEMA.format(**rows)}"')
        with path.open("wb") as file:
            _docker("exec", name, "mariadb-dump", "-S", "/tmp/socket", "shop", stdout=file)


def _dump(path: Path, rows: dict[str, int]) -> int:
    """Write the dump, and say how large the database was."""
    with _container("-e", "POSTGRES_PASSWORD=none", _PREPARING) as name:
        _shell(name, "until pg_isready -q -h 127.0.0.1; do sleep 0.1; done; createdb -U postgres shop")
        _psql(name, f"alter system set fsync = off; {_SCHEMA.format(**rows)}")
        size = subprocess.run(
            ["docker", "exec", "-u", "postgres", name, "psql", "-Atc", "select pg_database_size('shop')"],
            check=True, capture_output=True,
        )  # fmt: skip
        with path.open("wb") as file:
            _docker("exec", "-u", "postgres", name, "pg_dump", "-Fc", "shop", stdout=file)
        return int(size.stdout)


@contextmanager
def _container(*arguments: str) -> Iterator[str]:
    """A container without a network, removed afterwards."""
    name = f"restore-drill-benchmark-{uuid.uuid4().hex[:8]}"
    _docker("run", "-d", "--network", "none", "--name", name, *arguments, stdout=subprocess.DEVNULL)
    try:
        yield name
    finally:
        _docker("rm", "-fv", name, stdout=subprocess.DEVNULL)


def _psql(name: str, statements: str) -> None:
    for statement in statements.split(";"):
        _docker("exec", "-u", "postgres", name, "psql", "-q", "-v", "ON_ERROR_STOP=1", "-d", "shop", "-c", statement)


def _shell(name: str, script: str) -> None:
    _docker("exec", name, "sh", "-c", script)


def _prepare_image() -> None:
    """Lay the entrypoint over the stand-in."""
    name = f"restore-drill-benchmark-{uuid.uuid4().hex[:8]}"
    write = f"cat > /usr/local/bin/prepare <<'END'\n{_ENTRYPOINT}END\nchmod 755 /usr/local/bin/prepare"
    _docker("run", "--network", "none", "--name", name, "--entrypoint", "sh", _POSTGRES, "-c", write)
    try:
        _docker("commit", "--change", 'ENTRYPOINT ["prepare"]', name, _PREPARING, stdout=subprocess.DEVNULL)
    finally:
        _docker("rm", "-fv", name, stdout=subprocess.DEVNULL)


def _peer(scratch: Path) -> Path:
    """The peer's command, in an environment of its own."""
    place = scratch / "peer"
    subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
    subprocess.run([place / "bin" / "pip", "install", "--quiet", _PEER], check=True)
    return place / "bin" / "firedrill"


def _docker(*arguments: str, stdout: object = None) -> None:
    subprocess.run(["docker", *arguments], check=True, stdout=stdout)  # type: ignore[call-overload]
