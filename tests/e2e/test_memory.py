"""A gibibyte goes through a drill, and memory stays what it is for a megabyte."""

from __future__ import annotations

import hashlib
import random
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pyrage
import pytest
from isal import igzip
from tests.support.estate import Outcome, Project
from tests.support.memory import Peak, watched

_GIBIBYTE = 1 << 30
_ROW = 1 << 20
#: Resident memory that all processes of a run may take together.
_LIMIT = 200 << 20
_PATTERN = "{time:%Y%m%d_%H%M%S}_large.db.gz.age"


@pytest.fixture(scope="module")
def project() -> Iterator[Project]:
    """A project with one large target: compressed and encrypted, hardly anything is stored.

    On a disk, wherever other tests are: what is restored to memory would count as memory.
    """
    with tempfile.TemporaryDirectory(dir="/var/tmp") as directory:
        yield _project(Path(directory) / "project")


def _project(root: Path) -> Project:
    project = Project(root)
    key = pyrage.x25519.Identity.generate()
    project.targets["large"] = {
        "tier": "important",
        "engine": "sqlite",
        "sensitive": True,
        "three_two_one": False,
        "decrypt": {"age": {"identity": project.secret("large", str(key))}},
        "copies": {"nas": {"path": _PATTERN}},
        "expect": {"rows": {"pieces": _GIBIBYTE // _ROW}},
    }
    _back_up(project.root / "stores" / "nas" / f"{project.now:%Y%m%d_%H%M%S}_large.db.gz.age", key.to_public())
    return project


def test_a_gibibyte_is_brought_back_in_bounded_memory(project: Project) -> None:
    outcome, peak = _drill(project, "-k", "test_snapshot or test_checksum or test_encrypted or test_restore_meets_rto")
    assert outcome.status == 0, outcome.screen
    _check_size(outcome)
    assert peak.largest_command
    assert 0 < peak.largest < _LIMIT, peak
    assert 0 < peak.together < _LIMIT, peak


def test_all_of_it_is_examined_in_bounded_memory(project: Project) -> None:
    outcome, peak = _drill(project)
    assert outcome.status == 0, outcome.screen
    _check_size(outcome)
    assert outcome.of("large")["nas/integrity"].verdict == "passed"
    # Pages of the file that are mapped to be read are the kernel's to drop; they are no memory of ours.
    assert 0 < peak.private < _LIMIT, peak


def _drill(project: Project, *arguments: str) -> tuple[Outcome, Peak]:
    with watched() as peak:
        outcome = project.drill("-p", "no:xdist", *arguments)
    return outcome, peak


def _check_size(outcome: Outcome) -> None:
    assert outcome.facts("large/nas", "fetch")["content_bytes"] >= _GIBIBYTE


def _back_up(stored: Path, recipient: pyrage.x25519.Recipient) -> None:
    database, compressed = stored.with_name("live.db"), stored.with_name("live.db.gz")
    _fill(database)
    with database.open("rb") as source, igzip.open(compressed, "wb", compresslevel=0) as sink:
        while chunk := source.read(_ROW):
            sink.write(chunk)
    with compressed.open("rb") as source, stored.open("wb") as sink:
        pyrage.encrypt_io(source, sink, [recipient])
    for path in (database, compressed):
        path.unlink()
    digest = hashlib.sha256(stored.read_bytes()).hexdigest()
    stored.with_name(f"{stored.name}.sha256").write_text(f"{digest}  {stored.name}\n")


def _fill(path: Path) -> None:
    piece = random.Random(1).randbytes(1 << 11) * (_ROW >> 11)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.executescript("PRAGMA page_size=65536; PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; BEGIN")
        connection.execute("CREATE TABLE pieces (id INTEGER PRIMARY KEY, content BLOB NOT NULL)")
        for number in range(_GIBIBYTE // _ROW):
            connection.execute("INSERT INTO pieces VALUES (?, ?)", (number, piece))
        connection.execute("COMMIT")
