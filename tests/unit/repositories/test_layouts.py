"""Layouts beyond one object or directory a snapshot: parts, prefixes, rotations, pointers, markers, shared folders."""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import subprocess
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.backups import Generations, MakeRepository, MakeStaging, Objects, database, date, sha256
from tests.support.plans import planned_copy, target_model

from restore_drill.errors import BackupFailed
from restore_drill.model import Artifact, Stage
from restore_drill.patterns import PathPattern, PatternError
from restore_drill.repositories.base import KEPT, Repository, Transfer
from restore_drill.repositories.objects import ObjectRepository
from restore_drill.repositories.prefixes import PrefixRepository
from restore_drill.repositories.selection import Selection, choose
from restore_drill.stores.base import ProviderDigest, Store

NOW = datetime.now(UTC).replace(microsecond=0)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
SPLIT = "db/{time:%Y%m%d_%H%M%S}.db.gz.part-{part}"
STAMP = f"{NOW - HOUR:%Y%m%d_%H%M%S}"
TREE = {"etc/app.toml": b"port = 8080\n", "hosts": b"::1\n", "sub/deep/er": bytes(3000)}


def put(root: Path, key: str, data: bytes, when: datetime) -> Path:
    path = root / key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    date(path, when)
    return path


def write_sums(directory: Path, *names: str) -> None:
    lines = [f"{sha256((directory / name).read_bytes())}  {name}\n" for name in names]
    (directory / "SHA256SUMS").write_text("".join(lines))


def newest(repository: Repository, *, after: timedelta = timedelta(0)) -> Selection:
    return choose(repository.survey(), repository, (NOW + after).timestamp())


def chosen(repository: Repository) -> str:
    selection = newest(repository)
    assert selection.failure is None, selection.failure
    assert selection.snapshot is not None
    return selection.snapshot.main.key


def cause(repository: Repository, *, after: timedelta = timedelta(0)) -> str:
    selection = newest(repository, after=after)
    assert selection.snapshot is None and selection.failure is not None
    assert selection.failure.stage is Stage.LOCATE
    return selection.failure.cause


def broken(transfer: Transfer) -> tuple[Stage, str]:
    stage = min(transfer.broken, key=list(Stage).index)
    problem = transfer.broken[stage]
    assert isinstance(problem, BackupFailed)
    return stage, problem.cause


# --- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "key", "part", "joined"),
    [
        ("d/{time:%Y%m%d}.sql.zst.part-{part}", "d/20261123.sql.zst.part-ab", "ab", "d/20261123.sql.zst"),
        ("{time:%Y%m%d}.7z.{part}", "20261123.7z.001", "001", "20261123.7z"),
        ("{time:%Y%m%d}.db.{part:aa}", "20261123.db.aa", "aa", "20261123.db"),
        ("{time:%Y%m%d}.db.{part:aa}", "20261123.db.zaaa", "zaaa", "20261123.db"),
        ("{time:%Y%m%d}.db.{part:aa}", "20261123.db.asc", None, ""),
        ("{time:%Y%m%d}_part{part}.gz", "20261123_part07.gz", "07", "20261123.gz"),
        ("d/{time:%Y%m%d}/part-{part}", "d/20261123/part-aa", "aa", "d/20261123/part-"),
        ("{time:%Y%m%d}.db.part-{part}", "20261123.db.part-ab.sha256", None, ""),
        ("{time:%Y%m%d}.db.part-{part}", "20261123.db.part-ab.tmp", None, ""),
    ],
)
def test_a_name_says_which_part_it_is_and_of_what(text: str, key: str, part: str | None, joined: str) -> None:
    pattern = PathPattern(text)
    match = pattern.match(key)
    assert (match and match.part) == part
    if match:
        before, after = pattern.around_part(match.joined)
        assert (match.joined, f"{before}{part}{after}") == (joined, key)
        assert not match.rotation


@pytest.mark.parametrize(
    ("text", "key", "number"),
    [
        ("orders.db{rotation:.}.gz", "orders.db.gz", -1),
        ("orders.db{rotation:.}.gz", "orders.db.1.gz", 1),
        ("orders.db.gz{rotation:.}", "orders.db.gz.12", 12),
        ("daily.{rotation}/", "daily.0/", 0),
        ("daily.{rotation}/", "daily./", None),
        ("orders.db{rotation:.}.gz", "orders.db.1.gz.sha256", None),
    ],
)
def test_a_name_says_how_often_it_was_rotated(text: str, key: str, number: int | None) -> None:
    match = PathPattern(text).match(key)
    assert (match.rotation if match else None) == number


@pytest.mark.parametrize(
    "text",
    ["{part}{part}", "{part}_{time:%Y}", "{part}/db", "x.z{part}", "{part:b}", "{part:02}", "{rotation}{rotation:.}"],
)
def test_a_pattern_that_cannot_be_meant_is_refused(text: str) -> None:
    with pytest.raises(PatternError):
        PathPattern(text)


# --- split parts ------------------------------------------------------------------------------------------------------


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "store").mkdir()
    return tmp_path / "store"


def split(root: Path, data: bytes, *options: str, stamp: str = STAMP, size: int = 0) -> list[Path]:
    """What split(1) leaves of a database, dated as written when it claims."""
    prefix = root / "db" / f"{stamp}.db.gz.part-"
    prefix.parent.mkdir(exist_ok=True)
    pieces = ["-b", str(size or len(data) // 3 + 1), *options]
    subprocess.run(["split", *pieces, "-", str(prefix)], input=data, check=True)
    parts = sorted(prefix.parent.glob(f"{prefix.name}*"))
    for part in parts:
        date(part, datetime.strptime(stamp, "%Y%m%d_%H%M%S").replace(tzinfo=UTC) + timedelta(seconds=30))
    return parts


def sign_whole(root: Path, data: bytes) -> None:
    (root / "db" / f"{STAMP}.db.gz.sha256").write_text(f"{sha256(data)}  {STAMP}.db.gz\n")


def sign_parts(parts: list[Path]) -> None:
    for part in parts:
        part.with_name(f"{part.name}.sha256").write_text(f"{sha256(part.read_bytes())}  {part.name}\n")


def list_parts(parts: list[Path], name: str = "SHA256SUMS") -> None:
    lines = [f"{sha256(part.read_bytes())}  {part.name}\n" for part in parts]
    (parts[0].parent / name).write_text("".join(lines))


COMPRESSED = gzip.compress(database(), mtime=0)


@pytest.mark.parametrize("options", [(), ("-d",), ("--numeric-suffixes=1", "-a", "3"), ("-a", "4")])
@pytest.mark.parametrize("how", ["whole", "parts", "manifest", "list under the name of the whole"])
def test_parts_are_one_stream_in_order(
    options: tuple[str, ...], how: str, root: Path, make_repository: MakeRepository, make_staging: MakeStaging
) -> None:
    parts = split(root, COMPRESSED, *options)
    if how == "whole":
        sign_whole(root, COMPRESSED)
    elif how == "parts":
        sign_parts(parts)
    else:
        list_parts(parts, "SHA256SUMS" if how == "manifest" else f"{STAMP}.db.gz.sha256")
    first = {"-a": "{part:aaaa}"}.get(options[0] if options else "", "{part}")
    repository = make_repository(path=SPLIT.replace("{part}", first))
    (snapshot,) = repository.survey().newest
    assert (snapshot.main.key, snapshot.size) == (f"db/{STAMP}.db.gz", len(COMPRESSED))
    assert repository.survey().times.tolist() == [(NOW - HOUR).timestamp()]
    transfer = repository.fetch(snapshot, make_staging())
    assert (transfer.broken, transfer.absent, transfer.unusable) == ({}, [], None)
    assert transfer.payloads[0].path.read_bytes() == database()
    assert transfer.payloads[0].digest == sha256(database())
    assert len(transfer.digests) == (1 if how == "whole" else 3)
    assert all(check.layer == "stored" and check.actual == check.expected for check in transfer.digests)
    assert transfer.artifacts[0]["sha256"] == sha256(COMPRESSED)


@given(size=st.integers(1, 3000), digits=st.booleans())
def test_any_cut_gives_the_same_bytes(size: int, digits: bool) -> None:
    from restore_drill.repositories.joined import Joined
    from restore_drill.repositories.parts import look

    pieces = [COMPRESSED[at : at + size] for at in range(0, len(COMPRESSED), size)]
    numbers = [f"{n:04}" if digits else chr(97 + n // 676) + chr(97 + n // 26 % 26) + chr(97 + n % 26)
               for n in range(len(pieces))]  # fmt: skip
    content = {f"a.db.{number}": piece for number, piece in zip(numbers, pieces, strict=True)}
    store = InMemory(content)
    pattern = PathPattern("{any}.db.{part}" if digits else "{any}.db.{part:aaa}")
    found = look(store, pattern, Artifact("a.db", len(COMPRESSED), 0.0))
    assert (found.missing, found.confused, found.empty) == ((), "", "")
    assert b"".join(Joined(store, found, {}).open(found.whole)) == COMPRESSED
    lost = numbers[len(numbers) // 2]
    del content[f"a.db.{lost}"]
    found = look(store, pattern, Artifact("a.db", len(COMPRESSED), 0.0))
    assert found.missing == ((f"a.db.{lost}",) if lost != numbers[-1] else ())


class InMemory(Store):
    """A few objects."""

    def __init__(self, content: dict[str, bytes]) -> None:
        super().__init__(planned_copy().settings)
        self.content = content

    def list(self, prefix: str) -> Iterator[Artifact]:
        names = sorted(name for name in self.content if name.startswith(prefix))
        return (Artifact(name, len(self.content[name]), 0.0) for name in names[::-1])

    def stat(self, key: str) -> Artifact | None:
        return Artifact(key, len(self.content[key]), 0.0) if key in self.content else None

    def open(self, artifact: Artifact) -> Iterator[bytes]:
        yield self.content[artifact.key]


def lose(position: int) -> Callable[[list[Path]], object]:
    return lambda parts: parts[position].unlink()


def rename(position: int, suffix: str) -> Callable[[list[Path]], object]:
    return lambda parts: parts[position].rename(parts[position].with_name(f"{STAMP}.db.gz.part-{suffix}"))


def flip(parts: list[Path]) -> None:
    data = bytearray(parts[1].read_bytes())
    data[20] ^= 1
    parts[1].write_bytes(data)


def swap(parts: list[Path]) -> None:
    data = parts[1].read_bytes()
    parts[1].write_bytes(parts[2].read_bytes())
    parts[2].write_bytes(data)


@pytest.mark.parametrize(
    ("harm", "signed", "stage", "says"),
    [
        (lose(1), sign_parts, Stage.FETCH, "the part {0}.db.gz.part-ab of the snapshot is missing"),
        (lose(0), sign_parts, Stage.FETCH, "the part {0}.db.gz.part-aa of the snapshot is missing"),
        (lose(2), sign_parts, Stage.FETCH, "the part {0}.db.gz.part-ac of the snapshot is missing"),
        (lose(2), list_parts, Stage.FETCH, "the part {0}.db.gz.part-ac of the snapshot is missing"),
        (lose(2), None, Stage.VERIFY, "of the stored bytes is"),
        (rename(2, "zaaa"), list_parts, Stage.FETCH, "its parts have numbers of 2 and 4 characters"),
        (rename(2, "02"), list_parts, Stage.FETCH, "some of its parts are numbered with digits"),
        (flip, sign_parts, Stage.VERIFY, "{0}.db.gz.part-ab: sha256 of the stored bytes is "),
        (flip, None, Stage.VERIFY, "sha256 of the stored bytes is"),
        (swap, list_parts, Stage.VERIFY, "{0}.db.gz.part-ab: sha256 of the stored bytes is "),
    ],
)
def test_damaged_parts_are_caught(
    harm: Callable[[list[Path]], object],
    signed: Callable[[list[Path]], object] | None,
    stage: Stage,
    says: str,
    root: Path,
    make_repository: MakeRepository,
    make_staging: MakeStaging,
) -> None:
    parts = split(root, COMPRESSED)
    if signed:
        signed(parts)
    else:
        sign_whole(root, COMPRESSED)
    repository = make_repository(path=SPLIT)
    assert repository.fetch(repository.survey().newest[0], make_staging()).broken == {}
    harm(parts)
    transfer = repository.fetch(repository.survey().newest[0], make_staging())
    where, why = broken(transfer)
    assert (where, says.format(STAMP) in why) == (stage, True), why


def test_parts_may_be_compared_with_what_their_store_keeps(make_staging: MakeStaging) -> None:
    third = len(COMPRESSED) // 3 + 1
    content = {f"db/{STAMP}.db.gz.part-a{letter}": COMPRESSED[at * third :][:third] for at, letter in enumerate("abc")}
    kept = {key: sha256(data) for key, data in content.items()}

    class Keeping(InMemory):
        def recorded_digests(self, artifact: Artifact) -> tuple[ProviderDigest, ...]:
            return (ProviderDigest("sha256", kept[artifact.key], "x-amz-checksum-sha256"),)

    copy = planned_copy(path=SPLIT, checksum={"provider": "any"})
    repository = ObjectRepository(Keeping(content), copy, target_model())
    (snapshot,) = repository.survey().newest
    assert repository.unfinished(snapshot, settling=True) == "further parts may follow until it has settled"
    transfer = repository.fetch(snapshot, make_staging())
    assert (transfer.broken, transfer.absent, transfer.unusable) == ({}, [], None)
    assert [check.artifact[-2:] for check in transfer.digests] == ["aa", "ab", "ac"]
    kept[f"db/{STAMP}.db.gz.part-ab"] = "0" * 64
    stage, why = broken(repository.fetch(repository.survey().newest[0], make_staging()))
    assert (stage, why.partition(":")[0]) == (Stage.VERIFY, f"{STAMP}.db.gz.part-ab")


def test_without_any_digest_only_the_codec_sees_that_the_last_part_is_missing(
    root: Path, make_repository: MakeRepository, make_staging: MakeStaging
) -> None:
    parts = split(root, COMPRESSED)
    repository = make_repository(path=SPLIT)
    transfer = repository.fetch(repository.survey().newest[0], make_staging())
    assert transfer.broken == {} and transfer.absent
    parts[2].unlink()
    assert broken(repository.fetch(repository.survey().newest[0], make_staging()))[0] is Stage.UNPACK


def test_a_chain_may_be_split(root: Path, make_repository: MakeRepository, make_staging: MakeStaging) -> None:
    for hours, kind in ((3, "F"), (2, "I"), (1, "I")):
        for number, piece in enumerate((COMPRESSED[:500], COMPRESSED[500:])):
            put(root, f"{NOW - hours * HOUR:%Y%m%d%H%M}-{kind}.gz.{number:03}", piece, NOW - hours * HOUR)
    path = "{time:%Y%m%d%H%M}-{kind:full=F|incremental=I}.gz.{part:000}"
    repository = make_repository(path=path)
    snapshot = repository.survey().newest[0]
    assert [each.kind for each in (*snapshot.parents, snapshot)] == ["full", "incremental", "incremental"]
    assert {each.size for each in (*snapshot.parents, snapshot)} == {len(COMPRESSED)}
    transfer = repository.fetch(snapshot, make_staging())
    assert transfer.broken == {} and [each.path.read_bytes() for each in transfer.payloads] == [database()] * 3
    next(root.glob("*-F.gz.000")).unlink()
    assert "-F.gz.000 of the snapshot is missing" in broken(repository.fetch(snapshot, make_staging()))[1]


def test_an_empty_part_is_no_finished_backup(root: Path, make_repository: MakeRepository) -> None:
    parts = split(root, COMPRESSED)
    sign_whole(root, COMPRESSED)
    repository = make_repository(path=SPLIT)
    assert chosen(repository) == f"db/{STAMP}.db.gz"
    parts[1].write_bytes(b"")
    date(parts[1], NOW - HOUR)
    assert f"its part {parts[1].name} is empty (0 bytes)" in cause(repository)


def test_parts_may_follow_until_it_has_settled(root: Path, make_repository: MakeRepository) -> None:
    def why(**copy: Any) -> str | None:
        repository = make_repository(path=SPLIT, **copy)
        (snapshot,) = repository.survey().newest
        assert repository.unfinished(snapshot, settling=False) is None
        return repository.unfinished(snapshot, settling=True)

    parts = split(root, COMPRESSED)
    assert why() == "its digest is not there yet"
    assert why(checksum="pinned") == "further parts may follow until it has settled"
    sign_parts(parts)
    assert why() == "further parts may follow until it has settled"
    (root / "db" / f"{STAMP}.db.gz.done").touch()
    assert why(complete_when="{name}.done") is None
    list_parts(parts)
    for part in parts:
        part.with_name(f"{part.name}.sha256").unlink()
    assert why() is None
    hidden = parts[2].rename(parts[2].with_name(f"{parts[2].name}.tmp"))
    assert why() == f"{hidden.name} has the name of an upload under way"
    hidden.rename(parts[2])
    (root / "db" / "SHA256SUMS").unlink()
    sign_whole(root, COMPRESSED)
    assert why() is None
    parts[1].rename(root / "elsewhere")
    assert why() == f"its part {parts[1].name} is missing"


def test_a_survey_of_many_parts_keeps_none_of_them() -> None:
    class Listing(InMemory):
        def list(self, prefix: str) -> Iterator[Artifact]:
            for number in range(5_000):
                when = NOW - timedelta(minutes=number % 500)  # every set comes back again and again
                yield Artifact(f"db/{when:%Y%m%d_%H%M%S}.db.part-{number // 500:02}", 100, when.timestamp() + 30)

    copy = planned_copy(path="db/{time:%Y%m%d_%H%M%S}.db.part-{part}")
    repository = ObjectRepository(Listing({}), copy, target_model())
    tracemalloc.start()
    survey = repository.survey()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20
    assert (survey.listed, len(survey.times), len(survey.newest)) == (5_000, 500, KEPT)
    assert {snapshot.size for snapshot in survey.newest} == {1_000}
    asked = (NOW - timedelta(minutes=450)).strftime("%Y%m%dT%H%M%SZ")
    wanted = repository.survey(asked).wanted
    assert wanted is not None and (wanted.id, wanted.size) == (asked, 1_000)


# --- prefixes ---------------------------------------------------------------------------------------------------------

GENERATION = "app/{time:%Y-%m-%d_%H%M%S}/"


@pytest.fixture
def job(root: Path) -> Generations:
    return Generations(root, GENERATION)


@pytest.fixture
def prefixes(make_repository: MakeRepository) -> Callable[..., PrefixRepository]:
    def make(*, store: Store | None = None, ranges: int = 1, **copy: Any) -> PrefixRepository:
        over = make_repository(path=copy.pop("path", GENERATION), target={"engine": "files"}, **copy)
        over.store.settings = replace(over.store.settings, ranges=ranges)
        return PrefixRepository(store or over.store, over.copy, over.model)

    return make


@pytest.mark.parametrize("ranges", [1, 4])
def test_a_prefix_is_the_tree_that_the_directory_was(
    ranges: int,
    prefixes: Callable[..., PrefixRepository],
    make_repository: MakeRepository,
    make_staging: MakeStaging,
    job: Generations,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    long = "/".join(["a-rather-long-component"] * 8)
    files = {**TREE, long: b"deep", "ümläut": b"1", "new\nline": b"2", "latin-\udcff": b"3", "large": bytes(3 << 20)}
    job.put(NOW - HOUR, files, digest=False)
    write_sums(job.path(NOW - HOUR), *(name for name in files if name.isascii() and "\n" not in name))
    monkeypatch.setattr(Store, "reads_ranges", True)
    options: dict[str, Any] = {"checksum": "pinned"}
    generation = make_repository(path=GENERATION, target={"engine": "files"}, **options)
    by_directory = generation.fetch(generation.survey().newest[0], make_staging("files"))
    repository = prefixes(ranges=ranges, **options)
    (snapshot,) = repository.survey().newest
    assert snapshot.size == by_directory.content_bytes
    by_prefix = repository.fetch(snapshot, make_staging("files"))
    assert by_prefix.broken == {} and by_prefix.unpack["files"] == len(files) + 1
    assert by_prefix.payloads[0].digest == by_directory.payloads[0].digest
    assert by_prefix.artifacts[0]["sha256"] == by_directory.artifacts[0]["sha256"]
    assert (by_prefix.payloads[0].path / "large").stat().st_size == 3 << 20


@pytest.mark.parametrize(
    "key",
    ["../outside", "a//b", "./a", "a/../../b", "a\\..\\..\\b", "/etc/passwd", "nul\0", "a/", "x" * 300, "hosts/b"],
)
def test_a_hostile_key_never_becomes_a_path(
    key: str, prefixes: Callable[..., PrefixRepository], make_staging: MakeStaging
) -> None:
    prefix = f"app/{NOW - HOUR:%Y-%m-%d_%H%M%S}/"
    content = {f"{prefix}{name}": data for name, data in TREE.items()}
    content[f"{prefix}SHA256SUMS"] = "".join(f"{sha256(data)}  {name}\n" for name, data in TREE.items()).encode()
    store = InMemory(content)
    repository = prefixes(store=store)
    staging = make_staging("files")
    good = repository.fetch(repository.survey().newest[0], staging)
    assert good.broken == {}
    content[f"{prefix}{key}"] = b"out"
    staging = make_staging("files")
    before = {path for path in staging.sandbox.work.rglob("*") if not path.is_relative_to(staging.quarantine)}
    stage, why = broken(repository.fetch(repository.survey().newest[0], staging))
    assert stage is Stage.UNPACK and key not in why
    after = {path for path in staging.sandbox.work.rglob("*") if not path.is_relative_to(staging.quarantine)}
    assert after == before


def test_limits_hold_for_prefixes(make_repository: MakeRepository, make_staging: MakeStaging, job: Generations) -> None:
    job.put(NOW - HOUR, TREE)

    def fetched(**limits: Any) -> Transfer:
        over = make_repository(path=GENERATION, target={"engine": "files", "limits": limits})
        repository = PrefixRepository(over.store, over.copy, over.model)
        return repository.fetch(repository.survey().newest[0], make_staging("files"))

    assert fetched(members=10).broken == {}
    assert "more than 2 members" in broken(fetched(members=2))[1]
    assert "that limits.bytes allows" in broken(fetched(bytes="2 KB"))[1]


def test_what_changes_between_listing_and_reading_breaks_the_fetch(
    prefixes: Callable[..., PrefixRepository], make_staging: MakeStaging
) -> None:
    prefix = f"app/{NOW - HOUR:%Y-%m-%d_%H%M%S}/"
    content = {f"{prefix}{name}": data for name, data in TREE.items()}

    class Replaced(InMemory):
        def open(self, artifact: Artifact) -> Iterator[bytes]:
            yield self.content[artifact.key] + (b"more" if artifact.name == "hosts" else b"")

    for store, good in ((InMemory(content), True), (Replaced(content), False)):
        repository = prefixes(store=store, checksum="pinned")
        transfer = repository.fetch(repository.survey().newest[0], make_staging("files"))
        assert (transfer.broken == {}) is good
        assert good or broken(transfer) == (
            Stage.FETCH, "an object is being replaced, or was cut: other bytes arrived than were listed"
        )  # fmt: skip


def test_each_object_may_have_its_own_digest(
    prefixes: Callable[..., PrefixRepository], make_staging: MakeStaging, job: Generations
) -> None:
    path = job.put(NOW - HOUR, TREE, digest=False)
    for name, data in TREE.items():
        (path / f"{name}.sha256").write_text(f"{sha256(data)}  {Path(name).name}\n")
    repository = prefixes(checksum={"sidecar": "{name}.sha256"})

    def fetched() -> Transfer:
        return repository.fetch(repository.survey().newest[0], make_staging("files"))

    good = fetched()
    assert (good.broken, good.absent, good.unusable) == ({}, [], None)
    assert [check.expected for check in good.digests] == ["3 objects by their sidecars"]
    (path / "hosts.sha256").rename(path / "elsewhere")
    assert fetched().absent
    (path / "elsewhere").rename(path / "hosts.sha256")
    (path / "hosts").write_bytes(b"::2\n")
    assert broken(fetched()) == (Stage.VERIFY, "1 of 3 objects differ from the digests beside them")


def test_a_prefix_that_is_being_filled_is_unfinished(
    prefixes: Callable[..., PrefixRepository], job: Generations
) -> None:
    path = job.put(NOW - HOUR, TREE)
    (snapshot,) = prefixes().survey().newest
    assert prefixes().unfinished(snapshot, settling=True) is None
    (path / "hosts").rename(path.parent / "hosts")
    assert prefixes().unfinished(snapshot, settling=True) == "1 of 3 files of SHA256SUMS are not there yet"
    assert prefixes().unfinished(snapshot, settling=False) is None
    assert prefixes(checksum="pinned").unfinished(snapshot, settling=True) is not None
    path.rename(path.with_name(f"{path.name}.tmp"))
    survey = prefixes().survey()
    assert survey.newest == []
    (unfinished,) = survey.unfinished
    assert (unfinished.name, unfinished.taken_at) == (f"{path.name}.tmp", NOW - HOUR)


def test_an_object_of_a_prefixs_name_is_noted(prefixes: Callable[..., PrefixRepository], job: Generations) -> None:
    job.put(NOW - 2 * HOUR, TREE)
    assert newest(prefixes()).snapshot is not None
    put(job.root, f"app/{job.path(NOW - HOUR).name}", b"", NOW - HOUR)
    assert "it is an object of that very name and no prefix" in cause(prefixes())


def test_a_survey_of_many_objects_keeps_a_prefix_each() -> None:
    class Listing(InMemory):
        def list(self, prefix: str) -> Iterator[Artifact]:
            for number in range(8_000):
                when = NOW - timedelta(minutes=number % 400)
                yield Artifact(f"app/{when:%Y-%m-%d_%H%M%S}/f{number}", 100, when.timestamp() + 30)

    repository = PrefixRepository(Listing({}), planned_copy(path=GENERATION), target_model())
    survey = repository.survey()
    assert (survey.listed, len(survey.times), len(survey.newest)) == (8_000, 400, KEPT)
    assert {snapshot.size for snapshot in survey.newest} == {2_000}


# --- markers of completion --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["generations", "prefixes"])
@pytest.mark.parametrize("marker", ["{name}/_SUCCESS", "{name}.done", "DONE-{name}"])
def test_a_directory_is_complete_when_its_marker_is_there(
    kind: str, marker: str, make_repository: MakeRepository, make_staging: MakeStaging, job: Generations
) -> None:
    older, path = job.put(NOW - 2 * HOUR, TREE), job.put(NOW - HOUR, TREE)
    over = make_repository(path=GENERATION, target={"engine": "files"}, complete_when=marker)
    repository = PrefixRepository(over.store, over.copy, over.model) if kind == "prefixes" else over
    for name in (older.name, path.name):
        (job.root / "app" / marker.format(name=name)).touch()
    survey = repository.survey()
    selection = choose(survey, repository, (NOW + HOUR).timestamp())
    assert selection.snapshot is not None and selection.snapshot.main.name == path.name
    for judged in (False, True):
        transfer = repository.fetch(selection.snapshot, make_staging("files", files_judged=judged))
        assert transfer.broken == {} and transfer.digests[0].actual == "3 files of SHA256SUMS"
    (job.root / "app" / marker.format(name=path.name)).unlink()
    settled = choose(repository.survey(), repository, (NOW + HOUR).timestamp())
    assert settled.failure and f"its marker {marker.format(name=path.name)} is missing" in settled.failure.cause
    settling = choose(repository.survey(), repository, path.stat().st_ctime)
    assert settling.snapshot is not None and settling.snapshot.main.name == older.name


# --- latest -----------------------------------------------------------------------------------------------------------

OBJECT = "db/{time:%Y%m%d_%H%M%S}.db"


@pytest.mark.parametrize(
    ("form", "content", "problem"),
    [
        ("link", "{newest}", None),
        ("link", "../db/{newest}", None),
        ("link", "{older}", "the link db/latest still points to db/{older}"),
        ("link", "{later}", "the link db/latest points to db/{later}, which does not exist"),
        ("link", "nonsense", "the link db/latest still points to db/nonsense"),
        ("text", "{newest}\n", None),
        ("text", "db/{newest}", None),
        ("text", "{url}/db/{newest}\n", None),
        ("text", "./{newest}", None),
        ("text", "{older}\n", "db/latest still names db/{older}"),
        ("text", "db/{later}", "db/latest names db/{later}, which does not exist"),
        ("text", "nothing that matches", "db/latest is no copy of it yet: it has 20 bytes, not {size}"),
        ("copy", "{newest}", None),
        ("copy", "{older}", "db/latest is no copy of it yet: it has"),
        ("old copy", "{newest}", "db/latest is no copy of it yet: it is older"),
        ("none", "", "the link db/latest is missing"),
    ],
)
def test_latest_must_stand_for_the_newest_object(
    form: str, content: str, problem: str | None, root: Path, make_repository: MakeRepository
) -> None:
    jobs = Objects(root, OBJECT)
    older, recent, latest = jobs.put(NOW - 2 * HOUR, database(4000)), jobs.put(NOW - HOUR), root / "db" / "latest"
    words = {
        "older": older.name, "newest": recent.name, "later": jobs.path(NOW).name, "url": f"file://{root}",
        "size": recent.stat().st_size,
    }  # fmt: skip
    content = content.format(**words)
    if form == "link":
        latest.symlink_to(content)
    elif form == "text":
        latest.write_text(content)
    elif form != "none":
        shutil.copy(root / "db" / content, latest)
        date(latest, NOW if form == "copy" else NOW - 2 * HOUR)
    repository = make_repository(path=OBJECT, latest="db/latest")
    snapshot = repository.survey().newest[0]
    assert snapshot.main.name == recent.name
    why = repository.unfinished(snapshot, settling=False)
    assert why is None if problem is None else (why or "").startswith(problem.format(**words)), why


def test_a_pointer_that_is_ahead_of_what_is_drilled_is_none_that_lags(
    root: Path, make_repository: MakeRepository
) -> None:
    jobs = Objects(root, OBJECT)
    older, recent = jobs.put(NOW - 2 * HOUR), jobs.put(NOW - timedelta(minutes=5), database(4000), digest=False)
    for content in (recent.read_bytes(), recent.name.encode()):
        put(root, "db/latest", content, NOW)
        repository = make_repository(path=OBJECT, latest="db/latest")
        selection = newest(repository)
        assert selection.snapshot is not None and selection.snapshot.main.name == older.name, selection.failure
        assert [name for name, _ in selection.stepped_over] == [recent.name]
    put(root, "db/latest", b"SQLite format 3\0 of another", NOW)
    assert "db/latest is no copy of it yet" in cause(make_repository(path=OBJECT, latest="db/latest"))


def test_a_pointer_of_generations_may_be_a_file(make_repository: MakeRepository, job: Generations) -> None:
    older, path = job.put(NOW - 2 * HOUR, TREE), job.put(NOW - HOUR, TREE)
    latest = job.root / "app" / "LATEST"
    repository = make_repository(path=GENERATION, target={"engine": "files"}, latest="app/LATEST")
    snapshot = repository.survey().newest[0]
    for content, why in (
        (path.name, None),
        (f"app/{path.name}/\n", None),
        (older.name, f"app/LATEST still names app/{older.name}"),
        ("what", "app/LATEST names no snapshot"),
    ):
        latest.write_text(content)
        assert repository.unfinished(snapshot, settling=False) == why


def test_a_copy_called_latest_is_no_snapshot(root: Path, make_repository: MakeRepository) -> None:
    for name in ("orders_1.db", "orders_latest.db", "latest.db"):
        os.setxattr(put(root, name, database(), NOW - HOUR), "user.taken-at", (NOW - HOUR).isoformat().encode())
    survey = make_repository(path="{any}.db", time_metadata="taken-at").survey()
    assert [each.main.key for each in survey.newest] == ["orders_1.db"]
    assert [each.main.key for each in make_repository(path="latest.db", time_metadata="taken-at").survey().newest] == [
        "latest.db"
    ]
    survey = make_repository(path="orders_{any}.db", time_metadata="taken-at", latest="orders_1.db").survey()
    assert survey.newest == []


# --- rotations --------------------------------------------------------------------------------------------------------


def rotate(root: Path, *ages: int, names: str = "orders.db{}.gz") -> list[Path]:
    """The newest without a number, every older one with the next."""
    paths = []
    for number, hours in enumerate(ages):
        path = put(root, names.format(f".{number}" if number else ""), COMPRESSED, NOW - hours * HOUR)
        path.with_name(f"{path.name}.sha256").write_text(f"{sha256(COMPRESSED)}\n")
        paths.append(path)
    return paths


ROTATED = "orders.db{rotation:.}.gz"


def test_the_lowest_number_is_the_newest(
    root: Path, make_repository: MakeRepository, make_staging: MakeStaging
) -> None:
    rotate(root, 1, 25, 49, 73, *range(97, 97 + 24 * 8, 24))
    repository = make_repository(path=ROTATED)
    survey = repository.survey()
    names = [each.main.name for each in survey.newest]
    assert names == ["orders.db.gz", *(f"orders.db.{number}.gz" for number in range(1, 12))]
    selection = choose(survey, repository, NOW.timestamp())
    assert selection.snapshot is not None and selection.snapshot.taken_at == NOW - HOUR
    assert any("names of rotations carry no time" in note for note in selection.notes)
    transfer = repository.fetch(selection.snapshot, make_staging())
    assert transfer.broken == {} and transfer.absent == []
    assert list(survey.times) == sorted((NOW - age * HOUR).timestamp() for age in (1, *range(25, 289, 24)))
    (root / "orders.db.gz").rename(root / "elsewhere")
    notes = newest(repository).notes
    assert any("the newest rotation has the number 1" in note for note in notes)


def test_times_that_contradict_the_numbers_are_a_failure(root: Path, make_repository: MakeRepository) -> None:
    paths = rotate(root, 2, 26, 50)
    repository = make_repository(path=ROTATED)
    assert chosen(repository) == "orders.db.gz"
    date(paths[1], NOW - HOUR)
    assert cause(repository) == (
        "orders.db.1.gz is newer than orders.db.gz by 1 h, although its number says that it is older"
    )
    date(paths[1], NOW - 2 * HOUR)  # within a moment: copied by an object store's rotation
    assert chosen(repository) == "orders.db.gz"


def test_rotations_may_have_their_time_in_metadata(root: Path, make_repository: MakeRepository) -> None:
    paths = rotate(root, 1, 1, 1)
    for age, path in zip((2, 26, 50), paths, strict=True):
        os.setxattr(path, "user.taken-at", (NOW - age * HOUR).isoformat().encode())
    repository = make_repository(path=ROTATED, time_metadata="taken-at")
    assert [each.taken_at for each in repository.survey().newest] == [NOW - age * HOUR for age in (2, 26, 50)]
    selection = newest(repository)
    assert selection.snapshot is not None
    assert not any("carry no time" in note for note in selection.notes)
    os.setxattr(paths[2], "user.taken-at", (NOW - HOUR).isoformat().encode())
    assert "orders.db.2.gz is newer than orders.db.gz" in cause(repository)


def test_two_of_one_number_cannot_be_told_apart(root: Path, make_repository: MakeRepository) -> None:
    for name in ("orders.0.db", "orders.1.db"):
        put(root, name, database(), NOW - HOUR)
    repository = make_repository(path="orders.{rotation}.db")
    assert chosen(repository) == "orders.0.db"
    put(root, "orders.00.db", database(), NOW - HOUR)
    assert cause(repository).endswith("claim the same number")


def test_rotated_directories_have_the_time_that_was_set(make_repository: MakeRepository, root: Path) -> None:
    for number, hours in enumerate((1, 25, 49)):
        path = root / "snapshots" / f"daily.{number}"
        (path / "localhost").mkdir(parents=True)
        (path / "SHA256SUMS").write_text(f"{hashlib.sha256().hexdigest()}  localhost/x\n")
        date(path, NOW - hours * HOUR)
    repository = make_repository(path="snapshots/daily.{rotation}/", target={"engine": "files"})
    survey = repository.survey()
    assert [each.main.key for each in survey.newest] == [f"snapshots/daily.{number}/" for number in range(3)]
    assert [each.taken_at for each in survey.newest] == [NOW - hours * HOUR for hours in (1, 25, 49)]
    assert {each.resolution for each in survey.newest} == {timedelta(seconds=1)}
    date(root / "snapshots" / "daily.2", NOW)
    later = choose(repository.survey(), repository, (NOW + HOUR).timestamp())
    assert later.failure and "daily.2 is newer than daily.0" in later.failure.cause


# --- dated folders ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["{time:%Y}/{time:%m}/{time:%d}/db.sql.gz", "{time:%Y/%m/%d}/db.sql.gz"])
def test_dated_directories_carry_the_time(path: str, root: Path, make_repository: MakeRepository) -> None:
    days = [NOW - number * DAY for number in (1, 2, 40, 400)]
    for day in days:
        put(root, f"{day:%Y/%m/%d}/db.sql.gz", COMPRESSED, day)
        put(root, f"{day:%Y/%m/%d}/other.sql.gz", COMPRESSED, day)
    put(root, "2026/13/01/db.sql.gz", COMPRESSED, NOW)
    survey = make_repository(path=path).survey()
    assert [each.taken_at.date() for each in survey.newest] == [day.date() for day in days]
    assert len(survey.times) == 4


FOLDER = "{time:%Y-%m-%d}/orders.sql.gz"


@pytest.fixture(params=["objects", "generations", "prefixes"])
def shared(request: pytest.FixtureRequest, root: Path, make_repository: MakeRepository) -> Callable[[], Repository]:
    """A target in a folder that others share; each folder was written an hour into its day."""
    is_tree = request.param != "objects"
    for day in (1, 2):
        for name in ("orders", "customers"):
            when = NOW - day * DAY
            put(root, f"{when:%Y-%m-%d}/{name}.sql.gz" + ("/x" if is_tree else ""), COMPRESSED, when)
        put(root, f"{when:%Y-%m-%d}/DONE", b"", when)
    path = f"{FOLDER}/" if is_tree else FOLDER
    over = make_repository(path=path, target={"engine": "files"}, shared_folder=True, complete_when="DONE",
                           checksum="pinned")  # fmt: skip
    return lambda: PrefixRepository(over.store, over.copy, over.model) if request.param == "prefixes" else over


def test_a_folder_that_lacks_this_target_is_told(shared: Callable[[], Repository], root: Path) -> None:
    repository = shared()
    day = f"{NOW - DAY:%Y-%m-%d}"
    assert choose(repository.survey(), repository, NOW.timestamp()).snapshot is not None
    gone = root / day / "orders.sql.gz"
    gone.rename(root / "moved")
    repository = shared()
    survey = repository.survey()
    (absent,) = survey.unfinished
    assert absent.is_absent and absent.why.startswith(f"the newest folder {day}/ holds")
    assert absent.why.endswith("but no orders.sql.gz")
    later = choose(survey, repository, absent.modified + 3 * 3600)
    assert later.failure is not None and "after the last of them was written" in later.failure.cause
    assert "left this target out" in later.failure.remedy
    settling = choose(survey, repository, absent.modified + 1)
    assert [name for name, _ in settling.stepped_over] == [f"{day}/"]


def test_without_the_option_folders_mean_nothing(root: Path, make_repository: MakeRepository) -> None:
    put(root, f"{NOW - 2 * DAY:%Y-%m-%d}/orders.sql.gz", COMPRESSED, NOW - 2 * DAY)
    put(root, f"{NOW - DAY:%Y-%m-%d}/customers.sql.gz", COMPRESSED, NOW - DAY)
    (snapshot,) = make_repository(path=FOLDER).survey().newest
    assert make_repository(path=FOLDER).survey().unfinished == []
    assert snapshot.taken_at.date() == (NOW - 2 * DAY).date()


def test_of_many_folders_the_newest_are_watched(root: Path) -> None:
    class Listing(InMemory):
        def list(self, prefix: str) -> Iterator[Artifact]:
            for number in range(5_000):
                when = NOW - number * DAY
                yield Artifact(f"{when:%Y-%m-%d}/customers.sql.gz", 100, when.timestamp())

    repository = ObjectRepository(Listing({}), planned_copy(path=FOLDER, shared_folder=True), target_model())
    survey = repository.survey()
    assert survey.listed == 5_000 and len(survey.unfinished) <= 2 * KEPT
    assert max(each.taken_at for each in survey.unfinished).date() == NOW.date()
