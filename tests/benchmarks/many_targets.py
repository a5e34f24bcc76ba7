"""(b) Five hundred small databases, against the same steps as a shell loop."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from isal import igzip
from tests.benchmarks.measure import Benchmark, Way
from tests.benchmarks.project import Project, record_digest

_TARGETS = 500
#: Selects the cases of what the loop does, in its order.
_STEPS = "is_fetched or checksum or unpacks or integrity or row_count"
_ROWS = 310  # 40 kB with their index
_SHELL = """\
set -e
rm -rf loop; mkdir loop
for directory in backups/t*; do
  cp "$directory"/* loop/; cd loop
  sha256sum -c --quiet *.sha256
  gunzip *.gz
  [ "$(sqlite3 *.db 'pragma integrity_check')" = ok ]
  [ "$(sqlite3 *.db 'select count(*) from items')" = ROWS ]
  cd ..; rm -f loop/*
done
"""


@contextmanager
def build(scratch: Path, *, small: bool) -> Iterator[list[Benchmark]]:
    """Databases that differ in a row each, compressed, with their digests."""
    project = Project(scratch / "many")
    count = 50 if small else _TARGETS
    with closing(_database()) as database:
        for number in range(count):
            _back_up(project, database, f"t{number:03d}")
    project.write()
    script = project.root / "loop.sh"
    script.write_text(_SHELL.replace("ROWS", str(_ROWS)))
    loop = Way(
        "shell loop", ["sh", str(script)], project.root, shown="sh loop.sh (see tests/benchmarks/many_targets.py)"
    )
    what = f"{count} targets, each an SQLite database of 40 kB as .db.gz with a .sha256 beside it"
    better = "the better of the two ways counts"
    yield [
        Benchmark(
            "b",
            f"{what}: the steps of the loop",
            1.0,
            [loop, *(project.way(f"pytest -n {number}", "-n", number, "-k", _STEPS) for number in ("0", "2"))],
            {"target": count},
            [better, "the cases that stand for cp, sha256sum, gunzip, integrity_check and the count"],
        ),
        Benchmark(
            "b",
            f"{what}: all cases",
            None,
            [loop, *(project.way(f"pytest -n {number}", "-n", number) for number in ("0", "2"))],
            {"target": count},
            [
                better,
                "the loop neither finds the newest snapshot nor judges its age, size, structure and time to restore",
            ],
        ),
    ]


def _database() -> sqlite3.Connection:
    database = sqlite3.connect(":memory:")
    database.execute("create table items (id integer primary key, name text not null, quantity integer)")
    database.execute("create index items_name on items (name)")
    rows = ((number, f"item number {number:05d} {'x' * 24}", number % 7) for number in range(_ROWS))
    database.executemany("insert into items values (?, ?, ?)", rows)
    database.commit()
    return database


def _back_up(project: Project, database: sqlite3.Connection, name: str) -> None:
    with database:
        database.execute("update items set name = ? where id = 0", (f"belongs to {name}",))
    path = project.stores / name / f"{project.stamp}_{name}.db.gz"
    path.parent.mkdir()
    path.write_bytes(igzip.compress(database.serialize(), 2))
    record_digest(path)
    project.date(path)
    project.add(name, f"{name}/{{time:%Y%m%d_%H%M%S}}_{name}.db.gz", expect={"rows": {"items": _ROWS}})
