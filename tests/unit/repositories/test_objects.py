"""Objects: listing in bounded memory, times from names and metadata, fetching whole chains and parts."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import sqlite3
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.support.backups import MakeRepository, MakeStaging, Objects, database, date, sha256
from tests.support.plans import planned_copy, target_model
from tests.support.tar_builder import END, archive, member

from restore_drill.errors import BackupFailed, CouldNotVerify
from restore_drill.model import Artifact, Stage
from restore_drill.repositories.base import KEPT
from restore_drill.repositories.objects import ObjectRepository
from restore_drill.stores.base import Store

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
TEXT = "db/{time:%Y%m%d_%H%M%S}.db"
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


class Listing(Store):
    """A store of which only the listing matters: made up as it is read, nothing of it kept."""

    def __init__(self, make: Callable[[], Iterator[Artifact]]) -> None:
        self._make = make
        self.settings = planned_copy().settings

    def list(self, prefix: str) -> Iterator[Artifact]:
        return self._make()

    def stat(self, key: str) -> Artifact | None:
        raise AssertionError

    def open(self, artifact: Artifact) -> Iterator[bytes]:
        raise AssertionError


def listed(make: Callable[[], Iterator[Artifact]], path: str = TEXT) -> ObjectRepository:
    return ObjectRepository(Listing(make), planned_copy(path=path), target_model())


def peak(work: Callable[[], Any]) -> int:
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def five_thousand(form: str) -> Callable[[], Iterator[Artifact]]:
    def make() -> Iterator[Artifact]:
        for number in range(5_000):
            when = NOW - timedelta(minutes=number)
            yield Artifact(form.format(when=when, number=number), 1000, when.timestamp() + 30)

    return make


@pytest.mark.parametrize(
    ("form", "path", "bound", "points"),
    [
        ("db/{when:%Y%m%d_%H%M%S}.db", TEXT, 1 << 20, 5_000),
        ("db/{when:%Y%m%d_%H%M%S}.db.sha256", TEXT, 3 << 18, 0),
        ("db/{when:%Y%m%d_%H%M%S}.db.tmp", TEXT, 3 << 18, 0),
        ("db/{number}.txt", TEXT, 3 << 18, 0),
        ("db/{when:%Y%m%d_%H%M%S}.db", "db/{time:%Y%m%d_%H%M%S}{any}", 1 << 20, 5_000),
    ],
    ids=["snapshots", "digests", "temporary", "others", "any"],
)
def test_a_survey_of_five_thousand_objects_keeps_none_of_them(form: str, path: str, bound: int, points: int) -> None:
    repository = listed(five_thousand(form), path)
    repository.copy.pattern.match("warm")
    found: list[Any] = []
    assert peak(lambda: found.append(repository.survey())) < bound
    survey = found[0]
    assert (len(survey.times), survey.listed) == (points, 5_000)
    assert len(survey.newest) == min(points, KEPT)
    assert len(survey.unfinished) < 2 * KEPT
    assert list(survey.times) == sorted(survey.times)


def test_a_survey_of_many_logs_keeps_their_chain(tmp_path: Path) -> None:
    def make() -> Iterator[Artifact]:
        for number in range(3000):
            kind = "F" if number % 1000 == 0 else "L"
            yield Artifact(f"{NOW + number * timedelta(minutes=1):%Y%m%d%H%M}-{kind}-{number}.wal", 10, 0.0)

    path = "{time:%Y%m%d%H%M}-{kind:full=F|log=L}-{seq}.wal"
    survey = listed(make, path).survey()
    assert survey.newest[0].sequence == 2999
    assert [each.sequence for each in survey.newest[0].parents] == list(range(2000, 2999))


@pytest.mark.parametrize(
    "name", ["with space", "ünïcödé", "line\nfeed", "quote'\"", "back\\slash", "percent%20", "latin-\udcff", "*?[x]"]
)
def test_names_with_anything_in_them_are_surveyed_and_fetched(
    name: str, make_repository: MakeRepository, make_staging: MakeStaging, tmp_path: Path
) -> None:
    job = Objects(tmp_path / "store", TEXT)
    path = job.put(NOW - HOUR, name=f"{name}/20261123_110000_{name}.db", digest=False)
    manifest = tmp_path / "store" / "SHA256SUMS"
    escaped = name.replace("\\", "\\\\").replace("\n", "\\n")
    line = f"{'' if escaped == name else chr(92)}{sha256(path.read_bytes())}  {escaped}/20261123_110000_{escaped}.db\n"
    manifest.write_bytes(os.fsencode(line))
    repository = make_repository(path="{any}/{time:%Y%m%d_%H%M%S}_{any}.db")
    (snapshot,) = repository.survey().newest
    transfer = repository.fetch(snapshot, make_staging())
    assert transfer.broken == {}
    assert transfer.absent == []
    assert transfer.payloads[0].path.read_bytes() == path.read_bytes()
    assert transfer.payloads[0].path.name == "payload-0-0"
    json.dumps(transfer.artifacts)


# --- times from metadata ----------------------------------------------------------------------------------------------


def stamp(path: Path, when: datetime | str) -> None:
    text = when if isinstance(when, str) else when.isoformat()
    os.setxattr(path, "user.taken-at", text.encode())


@pytest.fixture
def by_metadata(make_repository: MakeRepository) -> Callable[[], ObjectRepository]:
    return lambda: make_repository(path="{any}.db", time_metadata="Taken-At")  # type: ignore[return-value]


def test_the_time_is_read_from_metadata_whatever_the_listing_says(
    by_metadata: Callable[[], ObjectRepository], tmp_path: Path
) -> None:
    job = Objects(tmp_path / "store", TEXT)
    for number, hours in enumerate((3, 1, 2)):
        path = job.put(NOW - number * HOUR, name=f"{number}.db")
        stamp(path, (NOW - hours * HOUR).isoformat().replace("+00:00", "Z"))
    survey = by_metadata().survey()
    assert [snapshot.taken_at for snapshot in survey.newest] == [NOW - hours * HOUR for hours in (1, 2, 3)]
    assert list(survey.times) == [(NOW - hours * HOUR).timestamp() for hours in (3, 2, 1)]
    assert {snapshot.resolution for snapshot in survey.newest} == {timedelta(seconds=1)}
    wanted = by_metadata().survey(f"{NOW - 3 * HOUR:%Y%m%dT%H%M%SZ}").wanted
    assert wanted is not None
    assert wanted.main.key == "0.db"


def test_points_beyond_the_newest_are_known_by_when_they_were_stored(
    by_metadata: Callable[[], ObjectRepository], tmp_path: Path
) -> None:
    job = Objects(tmp_path / "store", TEXT)
    for day in range(KEPT + 10):
        stamp(job.put(NOW - day * DAY, name=f"{day}.db", digest=False), NOW - day * DAY - HOUR)
    survey = by_metadata().survey()
    assert len(survey.times) == KEPT + 10
    assert survey.times[-1] == (NOW - HOUR).timestamp()
    assert survey.times[0] == (NOW - (KEPT + 9) * DAY).timestamp() + 30
    by_name = by_metadata().survey("70.db").wanted
    assert by_name is not None
    assert by_name.taken_at == NOW - 70 * DAY - HOUR


@pytest.mark.parametrize("text", ["", "yesterday", "2026-11-23", "2026-11-23T02:00:00"])
def test_metadata_without_a_time_cannot_be_verified(
    text: str, by_metadata: Callable[[], ObjectRepository], tmp_path: Path
) -> None:
    path = Objects(tmp_path / "store", TEXT).put(NOW - HOUR, name="a.db")
    stamp(path, "2026-11-23T02:00:00+01:00")
    assert by_metadata().survey().newest[0].taken_at == datetime(2026, 11, 23, 1, tzinfo=UTC)
    stamp(path, text)
    with pytest.raises(CouldNotVerify, match="holds no time with an offset") as raised:
        by_metadata().survey()
    assert raised.value.stage is Stage.LOCATE


def test_an_upload_under_way_claims_the_time_it_was_written_where_names_say_none(
    by_metadata: Callable[[], ObjectRepository], tmp_path: Path
) -> None:
    job = Objects(tmp_path / "store", TEXT)
    job.put(NOW - HOUR, name="b.db.part", digest=False)
    (unfinished,) = by_metadata().survey().unfinished
    assert unfinished.taken_at == NOW - HOUR + timedelta(seconds=30)


# --- fetching ---------------------------------------------------------------------------------------------------------


def test_parts_are_fetched_and_verified_with_the_object(
    make_repository: MakeRepository, make_staging: MakeStaging, tmp_path: Path
) -> None:
    path = Objects(tmp_path / "store", TEXT).put(NOW - HOUR)
    wal = path.with_name(f"{path.name}-wal")
    wal.write_bytes(b"w" * 5000)
    Objects.sidecar(wal).write_text(f"{sha256(wal.read_bytes())}  {wal.name}\n")
    repository = make_repository(path=TEXT, parts=["{name}-wal"])
    (snapshot,) = repository.survey().newest
    assert repository.unfinished(snapshot, settling=False) is None
    transfer = repository.fetch(snapshot, make_staging())
    assert transfer.broken == {}
    (payload,) = transfer.payloads
    assert [part.read_bytes() for part in payload.parts] == [wal.read_bytes()]
    assert [check.artifact for check in transfer.digests] == [path.name, wal.name]
    assert transfer.stored_bytes == len(path.read_bytes()) + 5000
    Objects.sidecar(wal).unlink()
    assert repository.fetch(repository.survey().newest[0], make_staging()).absent
    wal.unlink()
    broken = repository.fetch(snapshot, make_staging()).broken
    assert broken[Stage.FETCH].cause == f"the part {wal.name} of the snapshot is missing"


def test_the_digest_in_the_catalogue_is_of_the_object_and_not_of_its_parts(
    make_repository: MakeRepository, make_staging: MakeStaging, tmp_path: Path
) -> None:
    path = Objects(tmp_path / "store", TEXT).put(NOW - HOUR, digest=False)
    wal = path.with_name(f"{path.name}-wal")
    wal.write_bytes(b"w" * 5000)
    Objects.sidecar(wal).write_text(f"{sha256(wal.read_bytes())}  {wal.name}\n")
    rule = {"sha256": sha256(path.read_bytes())}
    repository = make_repository(path=TEXT, parts=["{name}-wal"], checksum=rule)
    transfer = repository.fetch(repository.survey().newest[0], make_staging())
    assert transfer.broken == {}
    assert [(check.source == "the catalogue", check.layer) for check in transfer.digests] == [
        (True, "stored"),
        (False, "stored"),
    ]


CHAIN = "{time:%Y%m%d}-{kind:full=F|incremental=I}-{seq}.tar"


def tree(**files: str) -> bytes:
    return archive(*(member(name.encode(), text.encode()) for name, text in files.items())) + END


@pytest.fixture
def chained(tmp_path: Path) -> Objects:
    job = Objects(tmp_path / "store", CHAIN)
    for number, (kind, content) in enumerate([("F", tree(a="1")), ("I", tree(b="2")), ("I", tree(a="3"))]):
        when = NOW - (3 - number) * DAY
        job.put(when, content, name=f"{when:%Y%m%d}-{kind}-{number}.tar")
    return job


def test_a_chain_is_fetched_oldest_first(
    chained: Objects, make_repository: MakeRepository, make_staging: MakeStaging
) -> None:
    repository = make_repository(path=CHAIN, target={"engine": "files"})
    transfer = repository.fetch(repository.survey().newest[0], make_staging("files"))
    assert transfer.broken == {}
    assert [payload.path.name for payload in transfer.payloads] == ["payload-0-0", "payload-1-0", "payload-2-0"]
    assert [(payload.path / "a").exists() for payload in transfer.payloads] == [True, False, True]
    assert len(transfer.digests) == 3


@pytest.mark.parametrize(("gone", "says"), [(0, "full snapshot it builds on is missing"), (1, "1 link(s) between")])
def test_a_missing_link_breaks_the_chain(
    gone: int, says: str, chained: Objects, make_repository: MakeRepository, make_staging: MakeStaging
) -> None:
    when = NOW - (3 - gone) * DAY
    (chained.root / f"{when:%Y%m%d}-{'FI'[gone]}-{gone}.tar").unlink()
    repository = make_repository(path=CHAIN, target={"engine": "files"})
    transfer = repository.fetch(repository.survey().newest[0], make_staging("files"))
    assert list(transfer.broken) == [Stage.CHAIN]
    assert says in transfer.broken[Stage.CHAIN].cause


def test_a_damaged_link_is_named_by_its_own_stage(
    chained: Objects, make_repository: MakeRepository, make_staging: MakeStaging
) -> None:
    when = NOW - 2 * DAY
    path = chained.root / f"{when:%Y%m%d}-I-1.tar"
    path.write_bytes(path.read_bytes()[:-512])
    repository = make_repository(path=CHAIN, target={"engine": "files"})
    broken = repository.fetch(repository.survey().newest[0], make_staging("files")).broken
    assert min(broken, key=list(Stage).index) is Stage.VERIFY
    assert path.name in broken[Stage.VERIFY].looked_at


# --- recorded counts --------------------------------------------------------------------------------------------------


def test_recorded_counts_are_read_beside_the_snapshot(make_repository: MakeRepository, tmp_path: Path) -> None:
    path = Objects(tmp_path / "store", TEXT).put(NOW - HOUR, name="db/20261123_110000.db")
    rows = {"recorded": "{stem}.counts.json", "orders": {"recorded": True}}
    repository = make_repository(path=TEXT, target={"expect": {"rows": rows}})
    (snapshot,) = repository.survey().newest
    with pytest.raises(CouldNotVerify, match="are missing"):
        repository.recorded_counts(snapshot)
    counts = path.with_name(f"{path.name}.counts.json")
    counts.write_text('{"orders": 59, "ünï": 0}')
    assert repository.recorded_counts(snapshot) == {"orders": 59, "ünï": 0}
    assert make_repository(path=TEXT).recorded_counts(snapshot) is None
    for text in ("", "[]", "null", '{"orders": -1}', '{"orders": 5.5}', '{"orders": true}', "[" * 100_000, "\xff"):
        counts.write_bytes(text.encode("latin-1"))
        with pytest.raises(CouldNotVerify, match="cannot be read"):
            repository.recorded_counts(snapshot)


def test_an_empty_object_and_one_that_vanished_break_the_fetch(
    make_repository: MakeRepository, make_staging: MakeStaging, tmp_path: Path
) -> None:
    path = Objects(tmp_path / "store", TEXT).put(NOW - HOUR)
    repository = make_repository(path=TEXT)
    (whole,) = repository.survey().newest
    path.write_bytes(b"")
    date(path, NOW)
    (empty,) = repository.survey().newest
    assert repository.fetch(empty, make_staging()).broken[Stage.FETCH].cause == "it is empty (0 bytes)"
    path.unlink()
    transfer = repository.fetch(whole, make_staging())
    assert isinstance(transfer.broken[Stage.FETCH], BackupFailed)
    assert transfer.payloads == []


def test_gzip_and_its_digests_of_either_side(
    make_repository: MakeRepository, make_staging: MakeStaging, tmp_path: Path
) -> None:
    content = database()
    job = Objects(tmp_path / "store", "db/{time:%Y%m%d_%H%M%S}.db.gz")
    path = job.put(NOW - HOUR, gzip.compress(content))
    repository = make_repository(path="db/{time:%Y%m%d_%H%M%S}.db.gz")
    (check,) = repository.fetch(repository.survey().newest[0], make_staging()).digests
    assert (check.layer, check.actual, check.notes) == ("stored", sha256(path.read_bytes()), [])
    job.sidecar(path).unlink()
    inner = path.with_suffix("")
    inner.with_name(f"{inner.name}.sha512").write_text(f"{hashlib.sha512(content).hexdigest()}  {inner.name}\n")
    (check,) = repository.fetch(repository.survey().newest[0], make_staging()).digests
    assert (check.layer, check.actual) == ("content", hashlib.sha512(content).hexdigest())
    assert "is not what is stored" in check.notes[0]
    with closing(sqlite3.connect(make_staging().quarantine / "x")) as connection:
        assert connection.execute("select 1").fetchone() == (1,)
