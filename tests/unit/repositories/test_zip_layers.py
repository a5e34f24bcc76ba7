"""Whether a zip archive is a layer around one file or a tree: by what it holds, the engine, and the catalogue."""

from __future__ import annotations

import gzip
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.support.backups import MakeRepository, MakeStaging, Objects, database, sha256
from tests.support.contents import dump
from tests.support.sevenzip_builder import of_entries
from tests.support.tar_builder import archive, member
from tests.support.zip_builder import Part, build

from restore_drill import stream
from restore_drill.engines.sqlite import SqliteEngine
from restore_drill.errors import BackupFailed
from restore_drill.model import PayloadForm, Stage
from restore_drill.repositories.base import Transfer
from restore_drill.testing.archive import entry

WHEN = datetime(2026, 11, 23, 11, tzinfo=UTC)
TEXT = "db/{time:%Y%m%d_%H%M%S}.db.zip"
ONE, SEVERAL = build([Part(b"any name", database())]), build([Part(b"a.db", database()), Part(b"README", b"text")])


DUMP = build([Part(b"dump.sql.gz", gzip.compress(dump(database())))])

SEVEN_ONE = of_entries([entry("any name", database())])
SEVEN_SEVERAL = of_entries([entry("a.db", database()), entry("README", b"text")])


class FilesOnly(SqliteEngine):
    forms = (PayloadForm.FILE,)


@pytest.fixture(params=[False, True], ids=["alone", "threads"], autouse=True)
def _threaded(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param:
        monkeypatch.setattr(stream, "THREADED_FROM", 0)


@pytest.fixture
def fetch(tmp_path: Path, make_repository: MakeRepository, make_staging: MakeStaging) -> Any:
    def fetch(content: bytes, engine: Any = "sqlite", target: dict[str, Any] | None = None, **copy: Any) -> Transfer:
        Objects(tmp_path / "store", TEXT).put(WHEN, content)
        staging = make_staging(engine if isinstance(engine, str) else "sqlite")
        staging.engine = staging.engine if isinstance(engine, str) else engine
        repository = make_repository(path=TEXT, target={"engine": staging.engine.name, **(target or {})}, **copy)
        before = len(list(Path("/proc/self/fd").iterdir()))
        transfer: Transfer = repository.fetch(repository.survey().newest[0], staging)
        assert len(list(Path("/proc/self/fd").iterdir())) <= before + 1  # the store keeps its root open
        return transfer

    return fetch


def form(transfer: Transfer) -> tuple[PayloadForm, str]:
    assert transfer.broken == {}
    return transfer.payloads[0].form, transfer.payloads[0].format


@pytest.mark.parametrize(
    ("content", "engine", "codecs", "expected"),
    [
        (ONE, "sqlite", None, (PayloadForm.FILE, "sqlite-database")),
        (ONE, FilesOnly, None, (PayloadForm.FILE, "sqlite-database")),
        (build([Part(b"d/", mode=0o40755, method=0), Part(b"d/a.db", database())]), "sqlite", None,
         (PayloadForm.FILE, "sqlite-database")),
        (DUMP, "sqlite", None, (PayloadForm.FILE, "sql-text")),
        (SEVEN_ONE, "sqlite", None, (PayloadForm.FILE, "sqlite-database")),
        (SEVEN_SEVERAL, "sqlite", None, (PayloadForm.TREE, "7z")),
        (SEVEN_ONE, "files", None, (PayloadForm.TREE, "7z")),
        (gzip.compress(ONE), "sqlite", None, (PayloadForm.FILE, "sqlite-database")),
        (SEVERAL, "sqlite", None, (PayloadForm.TREE, "zip")),
        (gzip.compress(SEVERAL), "sqlite", None, (PayloadForm.TREE, "zip")),
        (ONE, "sqlite", [], (PayloadForm.TREE, "zip")),
        (ONE, "files", None, (PayloadForm.TREE, "zip")),
        (SEVERAL, "files", None, (PayloadForm.TREE, "zip")),
        (build([Part(b"volume.tar", archive(member(b"a", b"1")))]), "files", ["zip"], (PayloadForm.TREE, "tar")),
    ],
    ids=["one", "one, files only", "one in a directory", "dump in gzip in zip", "7z of one", "7z of several",
         "7z as a tree", "one in gzip", "several", "several in gzip", "one, not a layer", "one as a tree",
         "several as a tree", "tar in zip by the catalogue"],
)  # fmt: skip
def test_what_it_is_taken_for(content: bytes, engine: Any, codecs: Any, expected: Any, fetch: Any) -> None:
    transfer = fetch(content, engine, **({} if codecs is None else {"codecs": codecs}))
    assert form(transfer) == expected
    layers = transfer.artifacts[0]["layers"]
    assert [layer["whole"] for layer in layers] == [True] * len(layers)
    staged = [layer["staged"] for layer in layers if "staged" in layer]
    by_the_sandbox = codecs == [] or (engine == "files" and codecs is None)
    assert len(staged) == (0 if by_the_sandbox else 1)
    assert layers[0]["sha256"] == sha256(content)


@pytest.mark.parametrize(("engine", "codecs"), [(FilesOnly, {}), ("sqlite", {"codecs": ["zip"]})])
def test_several_files_where_one_is_wanted(engine: Any, codecs: dict[str, Any], fetch: Any) -> None:
    assert form(fetch(ONE, engine, **codecs))[0] is PayloadForm.FILE
    problem = fetch(SEVERAL, engine, **codecs).broken[Stage.UNPACK]
    assert isinstance(problem, BackupFailed)
    assert "holds 2 files, and what is to be restored is one file" in problem.cause
    assert "README" not in str(problem)


def test_a_digest_is_compared_with_the_file_inside(
    tmp_path: Path, make_repository: MakeRepository, make_staging: MakeStaging
) -> None:
    for recorded, broken in ((database(), []), (database() + b"x", [Stage.VERIFY])):
        path = Objects(tmp_path / "store", TEXT).put(WHEN, ONE, digest=False)
        inner = path.with_suffix("")
        Objects.sidecar(inner).write_text(f"{sha256(recorded)}  {inner.name}\n")
        repository = make_repository(path=TEXT)
        transfer = repository.fetch(repository.survey().newest[0], make_staging())
        assert list(transfer.broken) == broken
        assert transfer.digests[0].layer == "content"


@pytest.mark.parametrize("content", [ONE[:-1], ONE[:500], ONE + b"x", SEVERAL[:-1]])
def test_nothing_is_left_of_what_breaks(
    content: bytes, tmp_path: Path, make_repository: MakeRepository, make_staging: MakeStaging
) -> None:
    Objects(tmp_path / "store", TEXT).put(WHEN, content)
    staging, repository = make_staging(), make_repository(path=TEXT)
    transfer = repository.fetch(repository.survey().newest[0], staging)
    assert list(transfer.broken) == [Stage.UNPACK]
    assert list(staging.quarantine.iterdir()) == []


def test_the_disk_is_budgeted_before_anything_is_staged(
    tmp_path: Path, make_repository: MakeRepository, make_staging: MakeStaging
) -> None:
    Objects(tmp_path / "store", TEXT).put(WHEN + timedelta(seconds=1), ONE)
    repository = make_repository(path=TEXT)
    transfer = repository.fetch(repository.survey().newest[0], make_staging(reserve=1 << 60))
    (problem,) = transfer.broken.values()
    assert not isinstance(problem, BackupFailed)
    assert "staging what cannot be read as a stream needs" in problem.cause
