"""One artifact on its way: what breaks before, while and after its bytes are read, and where the cause belongs."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.support.backups import MakeRepository, MakeStaging, Objects, database, sha256
from tests.support.tar_builder import archive, member

from restore_drill.errors import BackupFailed, CouldNotVerify, RestoreDrillError
from restore_drill.model import Artifact, Stage
from restore_drill.repositories.base import Transfer

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
TEXT = "db/{time:%Y%m%d_%H%M%S}.db"


@pytest.fixture
def job(tmp_path: Path) -> Objects:
    return Objects(tmp_path / "store", TEXT)


def fetch(make: MakeRepository, staging: Any, **copy: Any) -> Transfer:
    repository = make(path=TEXT, **copy)
    return repository.fetch(repository.survey().newest[0], staging)


def only_cause(transfer: Transfer) -> tuple[Stage, RestoreDrillError]:
    ((stage, problem),) = transfer.broken.items()
    assert transfer.payloads == []
    return stage, problem


def test_a_store_that_breaks_while_it_is_read_says_nothing_of_the_backup(
    job: Objects, make_repository: MakeRepository, make_staging: MakeStaging, monkeypatch: pytest.MonkeyPatch
) -> None:
    from restore_drill.stores.local import LocalStore

    job.put(NOW - HOUR)
    opened = LocalStore.open

    def refuse(store: LocalStore, artifact: Artifact) -> Iterator[bytes]:
        raise CouldNotVerify("permission denied", stage=Stage.FETCH)

    def break_off(store: LocalStore, artifact: Artifact) -> Iterator[bytes]:
        chunk = next(opened(store, artifact))
        yield chunk[:1000]
        raise CouldNotVerify("the connection was cut", stage=Stage.FETCH)

    for broken, cause in ((refuse, "permission denied"), (break_off, "the connection was cut")):
        monkeypatch.setattr(LocalStore, "open", broken)
        stage, problem = only_cause(fetch(make_repository, make_staging()))
        assert (stage, problem.cause, type(problem)) == (Stage.FETCH, cause, CouldNotVerify)
    monkeypatch.undo()
    assert fetch(make_repository, make_staging()).broken == {}


def test_a_defect_of_ours_ends_every_stage_and_is_raised(
    job: Objects, make_repository: MakeRepository, make_staging: MakeStaging, monkeypatch: pytest.MonkeyPatch
) -> None:
    from restore_drill import disk

    job.put(NOW - HOUR)
    monkeypatch.setattr(disk, "_write_all", lambda descriptor, chunk: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        fetch(make_repository, make_staging())
    monkeypatch.undo()
    assert fetch(make_repository, make_staging()).broken == {}


@pytest.mark.parametrize(
    ("content", "stage", "says"),
    [
        (b"<html>503 Service Unavailable</html>", Stage.FETCH, "it begins like an HTML page"),
        (gzip.compress(b"Access denied\n" * 9), Stage.UNPACK, "inside gzip it begins like plain text"),
        (gzip.compress(database())[:-30], Stage.UNPACK, "truncated"),
        (gzip.compress(database()) + b"trailing", Stage.UNPACK, "followed by"),
    ],
    ids=["html", "text inside gzip", "cut", "trailing bytes"],
)
def test_what_is_no_backup_is_told_by_its_bytes(
    job: Objects, make_repository: MakeRepository, make_staging: MakeStaging, content: bytes, stage: Stage, says: str
) -> None:
    job.put(NOW - HOUR, content)
    found, problem = only_cause(fetch(make_repository, make_staging()))
    assert found is stage and isinstance(problem, BackupFailed)
    assert says in problem.cause and problem.looked_at.endswith(f"{NOW - HOUR:%Y%m%d_%H%M%S}.db")


@pytest.mark.parametrize(
    ("content", "stage"),
    [(b"Rar!\x1a\x07\x01\0" + bytes(100), Stage.FETCH), (gzip.compress(b"070701" + b"0" * 104), Stage.UNPACK)],
    ids=["rar", "cpio inside gzip"],
)
def test_a_format_that_is_not_read_is_no_verdict(
    job: Objects, make_repository: MakeRepository, make_staging: MakeStaging, content: bytes, stage: Stage
) -> None:
    job.put(NOW - HOUR, content)
    found, problem = only_cause(fetch(make_repository, make_staging()))
    assert (found, type(problem)) == (stage, CouldNotVerify)
    assert "archive" in problem.cause and problem.remedy.startswith("Let the backup job write")


def test_a_digest_of_the_wrong_layer_is_told_as_such(
    job: Objects, make_repository: MakeRepository, make_staging: MakeStaging
) -> None:
    path = job.put(NOW - HOUR, gzip.compress(database()))
    Objects.sidecar(path).write_text(f"{sha256(database())}  {path.name}\n")
    transfer = fetch(make_repository, make_staging())
    stage, problem = only_cause(transfer)
    assert stage is Stage.VERIFY
    assert problem.cause.endswith("the recorded digest is that of the content bytes")
    assert problem.remedy.startswith("Record the digest under the name")


def test_a_sidecar_that_cannot_be_used_blocks_nothing(
    job: Objects, make_repository: MakeRepository, make_staging: MakeStaging
) -> None:
    path = job.put(NOW - HOUR)
    Objects.sidecar(path).write_text("no digest\n")
    transfer = fetch(make_repository, make_staging())
    assert isinstance(transfer.unusable, BackupFailed) and transfer.broken == {} and len(transfer.payloads) == 1


def test_a_comparison_leaves_nothing_on_disk(
    job: Objects, make_repository: MakeRepository, make_staging: MakeStaging
) -> None:
    for engine, content in (("sqlite", database()), ("files", archive(member(b"a", b"content")))):
        job.put(NOW - HOUR, content)
        whole, compared = make_staging(engine), make_staging(engine, discard=True)
        target = {"engine": engine}
        first = fetch(make_repository, whole, target=target)
        second = fetch(make_repository, compared, target=target)
        assert first.payloads[0].digest == second.payloads[0].digest != ""
        assert list(whole.quarantine.iterdir())
        assert [path for path in compared.quarantine.rglob("*") if path.is_file()] == []


def test_an_archive_that_is_cut_does_not_unpack(
    job: Objects, make_repository: MakeRepository, make_staging: MakeStaging
) -> None:
    whole = archive(member(b"a", b"x" * 5000), member(b"b", b"y" * 5000))
    for content, stages in ((whole, []), (whole[:6000], [Stage.UNPACK])):
        job.put(NOW - HOUR, content)
        transfer = fetch(make_repository, make_staging("files"), target={"engine": "files"})
        assert list(transfer.broken) == stages


def test_a_link_of_an_old_chain_is_found_with_its_parents(make_repository: MakeRepository, tmp_path: Path) -> None:
    text = "{time:%Y%m%d%H%M%S}-{kind:full=F|log=L}.wal"
    job = Objects(tmp_path / "store", text)
    for number in range(140):  # 70 chains of two, of which the newest 64 of each kind are described
        when = NOW - (140 - number) * HOUR
        job.put(when, b"x", name=f"{when:%Y%m%d%H%M%S}-{'FL'[number % 2]}.wal", digest=False)
    oldest = f"{NOW - 139 * HOUR:%Y%m%dT%H%M%SZ}-log"
    repository = make_repository(path=text)
    wanted = repository.survey(oldest).wanted
    assert wanted is not None and wanted.id == oldest
    assert [parent.taken_at for parent in wanted.parents] == [NOW - 140 * HOUR]
    assert repository.survey("nothing").wanted is None
