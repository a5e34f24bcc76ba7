"""Directory generations: which are there, which are being filled, what copying and comparing them shows."""

from __future__ import annotations

import base64
import errno
import hashlib
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.support.backups import Generations, MakeRepository, MakeStaging

from restore_drill.errors import BackupFailed, CouldNotVerify, RestoreDrillError
from restore_drill.model import PayloadForm, Stage
from restore_drill.repositories import generations
from restore_drill.repositories.base import Repository

NOW = datetime.now(UTC).replace(microsecond=0)
HOUR = timedelta(hours=1)
TEXT = "app/{time:%Y-%m-%d_%H%M%S}/"
FILES = {"etc/app.toml": b"port = 8080\n", "hosts": b"::1\n"}


@pytest.fixture
def job(tmp_path: Path) -> Generations:
    return Generations(tmp_path / "store", TEXT)


@pytest.fixture
def make(make_repository: MakeRepository) -> MakeRepository:
    def over(path: str = TEXT, *, target: dict[str, Any] | None = None, **copy: Any) -> Repository:
        return make_repository(path=path, target={"engine": "files", **(target or {})}, **copy)

    return over


def keys(repository: Repository) -> list[str]:
    return [snapshot.main.key for snapshot in repository.survey().newest]


# --- surveying --------------------------------------------------------------------------------------------------------


def test_only_directories_that_match_are_generations(make: MakeRepository, job: Generations) -> None:
    good = job.put(NOW - HOUR, FILES)
    (job.root / "app" / "2026-11-22_020000").write_text("a file")
    (job.root / "app" / "2026-11-21_020000").symlink_to(good)
    (job.root / "app" / "notes").mkdir()
    (job.root / "other" / "2026-11-20_020000").mkdir(parents=True)
    survey = make().survey()
    assert [snapshot.main.key for snapshot in survey.newest] == [f"app/{good.name}/"]
    assert survey.listed == 2 and survey.newest[0].size == -1


def test_what_is_no_directory_under_a_generations_name_is_noted(make: MakeRepository, job: Generations) -> None:
    good = job.put(NOW - HOUR, FILES)
    assert make().survey().unreadable == []
    for minutes, create, what in (
        (50, lambda path: path.symlink_to(good), "a symbolic link and no directory"),
        (40, lambda path: path.symlink_to("/etc"), "a symbolic link and no directory"),
        (30, Path.touch, "a file and no directory"),
        (20, os.mkfifo, "a device, FIFO or socket and no directory"),
    ):
        path = job.path(NOW - timedelta(minutes=minutes))
        create(path)
        survey = make().survey()
        (noted,) = survey.unreadable
        assert (noted.name, noted.taken_at, noted.what) == (path.name, NOW - timedelta(minutes=minutes), what)
        assert keys(make()) == [f"app/{good.name}/"]
        path.unlink()
    (job.root / "app" / "latest").symlink_to(good.name)
    (job.path(NOW).with_suffix(".log")).touch()
    assert make().survey().unreadable == make("app/{time:%Y-%m-%d_%H%M%S}{any}/").survey().unreadable == []


def test_a_pattern_may_be_several_directories_deep(make: MakeRepository, tmp_path: Path) -> None:
    deep = "{time:%Y}/{time:%m-%d}/app-{time:%H%M%S}/"
    job = Generations(tmp_path / "store", deep)
    for hours in (1, 26):
        job.put(NOW - hours * HOUR, FILES)
    assert keys(make(deep)) == [f"{job.pattern.format(NOW - hours * HOUR)}" for hours in (1, 26)]


def test_nothing_was_ever_backed_up(make: MakeRepository) -> None:
    survey = make().survey()
    assert (survey.newest, survey.listed) == ([], 0)


def test_a_store_that_cannot_be_listed(make: MakeRepository, job: Generations, monkeypatch: pytest.MonkeyPatch) -> None:
    job.put(NOW - HOUR, FILES)
    assert len(keys(make())) == 1
    scan = os.scandir

    def forbidden(path: Path) -> Any:
        if path.name == "app":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return scan(path)

    monkeypatch.setattr(generations.os, "scandir", forbidden)
    with pytest.raises(CouldNotVerify, match="the store cannot be listed: Permission denied") as caught:
        make().survey()
    assert caught.value.stage is Stage.LOCATE and caught.value.looked_at.endswith("/app")


def test_a_generation_that_is_pruned_while_it_is_looked_at(
    make: MakeRepository, job: Generations, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, gone = job.put(NOW - HOUR, FILES), job.put(NOW - 2 * HOUR, FILES)
    look = generations._look_at

    def pruned(entry: os.DirEntry[str], key: str) -> Any:
        if entry.name == gone.name:
            gone.rename(gone.with_name("pruned"))
        return look(entry, key)

    monkeypatch.setattr(generations, "_look_at", pruned)
    assert keys(make()) == [f"app/{kept.name}/"]


@pytest.mark.parametrize("form", ["{}.tmp", "{}.partial", "{}.inprogress", "incomplete-{}", "in-progress-{}", ".{}"])
def test_a_generation_that_is_being_filled_is_unfinished(make: MakeRepository, job: Generations, form: str) -> None:
    name = job.path(NOW - HOUR).name
    job.put(NOW - HOUR, FILES, name=f"app/{form.format(name)}")
    survey = make().survey()
    assert survey.newest == []
    (unfinished,) = survey.unfinished
    assert unfinished.name == form.format(name)
    assert (unfinished.taken_at, unfinished.why) == (NOW - HOUR, "it has the name of a generation being written")


def test_at_the_top_of_a_store_too(make: MakeRepository, tmp_path: Path) -> None:
    job = Generations(tmp_path / "store", "{time:%Y%m%d%H%M%S}/")
    job.put(NOW - HOUR, FILES)
    job.put(NOW, FILES, name=f"{job.path(NOW).name}.tmp")
    survey = make("{time:%Y%m%d%H%M%S}/").survey()
    assert len(survey.newest) == len(survey.unfinished) == 1


# --- finished or not --------------------------------------------------------------------------------------------------


def unfinished(repository: Repository, *, settling: bool = False) -> str | None:
    return repository.unfinished(repository.survey().newest[0], settling=settling)


def test_the_link_to_the_newest_tells_when_it_is_finished(make: MakeRepository, job: Generations) -> None:
    older, newest = job.put(NOW - 2 * HOUR, FILES), job.put(NOW - HOUR, FILES)
    latest = job.root / "app" / "latest"
    repository = make(latest="app/latest")
    assert unfinished(repository) == "the link app/latest is missing"
    for target, why in (
        (older.name, f"the link app/latest still points to app/{older.name}"),
        (newest.name, None),
        (str(newest), None),
        (f"../app/{newest.name}", None),
        (f"/mnt/elsewhere/{newest.name}", None),
        (f"/mnt/elsewhere/{older.name}", f"the link app/latest still points to app/{older.name}"),
        ("nonsense", "the link app/latest still points to app/nonsense"),
        (job.path(NOW).name, f"the link app/latest points to app/{job.path(NOW).name}, which does not exist"),
    ):
        latest.unlink(missing_ok=True)
        latest.symlink_to(target)
        assert unfinished(repository) == why, target


def test_a_manifest_is_waited_for_while_it_may_still_come(make: MakeRepository, job: Generations) -> None:
    path = job.put(NOW - HOUR, FILES, digest=False)
    assert unfinished(make(), settling=True) == "its manifest is not there yet"
    assert unfinished(make(), settling=False) is None
    assert unfinished(make(checksum="pinned"), settling=True) is None
    (path / "SHA512SUMS").write_text("")
    assert unfinished(make(), settling=True) is None
    assert unfinished(make(checksum={"manifest": "sums.txt"}), settling=True) == "its manifest is not there yet"


# --- fetching ---------------------------------------------------------------------------------------------------------


def fetch(repository: Repository, make_staging: MakeStaging, **staging: Any) -> Any:
    (snapshot, *_) = repository.survey().newest
    return repository.fetch(snapshot, make_staging("files", **staging))


def test_the_bytes_that_were_judged_are_a_copy_of_their_own(
    make: MakeRepository, job: Generations, make_staging: MakeStaging
) -> None:
    path = job.put(NOW - HOUR, FILES)
    advanced: list[int] = []
    transfer = fetch(make(), make_staging, advance=advanced.append)
    assert (transfer.broken, transfer.absent, transfer.plain) == ({}, [], path.name)
    (payload,) = transfer.payloads
    assert payload.form is PayloadForm.TREE and payload.digest
    (path / "hosts").write_text("changed meanwhile")
    assert (payload.path / "hosts").read_bytes() == FILES["hosts"]
    (check,) = transfer.digests
    assert (check.layer, check.expected) == ("tree", check.actual)
    assert check.actual == "2 files of SHA256SUMS"
    assert sum(advanced) == transfer.stored_bytes == transfer.content_bytes == payload.size
    (artifact,) = transfer.artifacts
    assert artifact["key"] == f"app/{path.name}/" and artifact["sha256"] == payload.digest


def test_files_that_differ_break_the_checksum(
    make: MakeRepository, job: Generations, make_staging: MakeStaging
) -> None:
    path = job.put(NOW - HOUR, FILES)
    (path / "hosts").write_bytes(b"::2\n")
    transfer = fetch(make(), make_staging)
    problem = transfer.broken[Stage.VERIFY]
    assert isinstance(problem, BackupFailed) and problem.cause == "1 of 2 files differ from SHA256SUMS"
    assert "hosts" in " ".join(problem.details) and "hosts" not in str(problem)
    (check,) = transfer.digests
    assert (check.expected, check.actual) == ("2 files of SHA256SUMS", "1 files of SHA256SUMS")


def test_missing_and_extra_files_are_left_to_the_files_case(
    make: MakeRepository, job: Generations, make_staging: MakeStaging
) -> None:
    path = job.put(NOW - HOUR, FILES)
    (path / "hosts").rename(path / "other")
    for rule in ("required", {"manifest": "SHA256SUMS"}):
        transfer = fetch(make(checksum=rule), make_staging, files_judged=True)
        assert (transfer.broken, transfer.manifest) == ({}, "SHA256SUMS")


def test_where_no_case_looks_at_files_missing_and_extra_ones_break_the_transfer(
    make: MakeRepository, job: Generations, make_staging: MakeStaging
) -> None:
    path = job.put(NOW - HOUR, FILES)
    whole = fetch(make(), make_staging)
    assert (whole.broken, whole.manifest) == ({}, "")
    (path / "other").write_text("x")
    extra = fetch(make(), make_staging).broken
    assert list(extra) == [Stage.VERIFY]
    assert extra[Stage.VERIFY].cause == "1 files are not in SHA256SUMS, so that nothing verifies them"
    ignoring = {"expect": {"files": {"manifest_ignore": ["other"]}}}
    assert fetch(make(target=ignoring), make_staging).broken == {}
    (path / "other").unlink()
    (path / "hosts").unlink()
    missing = fetch(make(), make_staging).broken
    assert list(missing) == [Stage.FETCH]
    assert missing[Stage.FETCH].cause == "1 of 2 files of SHA256SUMS are missing"
    assert "hosts" in " ".join(missing[Stage.FETCH].details) and "hosts" not in str(missing[Stage.FETCH])


def test_a_manifest_of_which_nothing_is_left_verifies_nothing(
    make: MakeRepository, job: Generations, make_staging: MakeStaging
) -> None:
    path = job.put(NOW - HOUR, {"hosts": b"::1\n"})
    assert fetch(make(), make_staging, files_judged=True).broken == {}
    (path / "hosts").rename(path / "other")
    broken = fetch(make(), make_staging, files_judged=True).broken
    assert list(broken) == [Stage.VERIFY]
    assert broken[Stage.VERIFY].cause == "none of the 1 files of SHA256SUMS is there to be verified"


def test_a_second_manifest_beside_the_first_is_no_extra_file(
    make: MakeRepository, job: Generations, make_staging: MakeStaging
) -> None:
    path = job.put(NOW - HOUR, FILES)
    (path / "MD5SUMS").write_text("whatever it says")
    assert fetch(make(), make_staging).broken == {}
    (path / "etc" / "MD5SUMS").write_text("of the data")
    assert list(fetch(make(), make_staging).broken) == [Stage.VERIFY]


@pytest.mark.parametrize("manifest", ["hashdeep.txt", ".mtree", "bagit.txt", "rclone.sums"])
def test_a_manifest_of_any_format_is_the_digest_of_a_generation(
    make: MakeRepository, job: Generations, make_staging: MakeStaging, manifest: str
) -> None:
    """By its usual name, or by the one that the catalogue says."""
    payload = {f"data/{name}" if manifest == "bagit.txt" else name: data for name, data in FILES.items()}
    path = job.put(NOW - HOUR, {**payload, **written(manifest, payload)}, digest=False)
    rule = "required" if manifest != "rclone.sums" else {"manifest": manifest}
    transfer = fetch(make(checksum=rule), make_staging)
    assert transfer.broken == {} and transfer.absent == [] and transfer.manifest == ""
    (digest,) = transfer.digests
    assert (digest.algorithm, digest.layer) == ("sha256", "tree")
    assert digest.expected == digest.actual
    victim = path / next(iter(payload))
    victim.write_bytes(b"other")
    assert list(fetch(make(checksum=rule), make_staging).broken) == [Stage.VERIFY]
    victim.unlink()
    assert list(fetch(make(checksum=rule), make_staging).broken) == [Stage.FETCH]


def written(manifest: str, payload: dict[str, bytes]) -> dict[str, bytes]:
    """A manifest of these files, as its program writes it."""
    lines = [(name, len(data), hashlib.sha256(data)) for name, data in payload.items()]
    if manifest == "hashdeep.txt":
        text = "%%%% HASHDEEP-1.0\n%%%% size,sha256,filename\n## Invoked from: /\n## $ hashdeep -l -r .\n## \n"
        text += "".join(f"{size},{digest.hexdigest()},./{name}\n" for name, size, digest in lines)
    elif manifest == ".mtree":
        text = "#mtree\n. type=dir\n./etc type=dir\n"
        text += "".join(f"./{name} type=file size={size} sha256={digest.hexdigest()}\n" for name, size, digest in lines)
    elif manifest == "rclone.sums":
        text = "".join(f"{base64.urlsafe_b64encode(digest.digest()).decode()}  {name}\n" for name, _, digest in lines)
    else:
        text = "".join(f"{digest.hexdigest()}  {name}\n" for name, _, digest in lines)
        declaration = b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"
        return {"manifest-sha256.txt": text.encode(), manifest: declaration}
    return {manifest: text.encode()}


def test_counts_are_recorded_beside_a_generation_or_in_it(make: MakeRepository, job: Generations) -> None:
    path = job.put(NOW - HOUR, FILES)
    for template, place in (
        ("{name}.counts.json", path.with_name(f"{path.name}.counts.json")),
        ("{name}/counts.json", path / "counts.json"),
    ):
        repository = make(target={"expect": {"files": {"recorded": template}}})
        (snapshot,) = repository.survey().newest
        with pytest.raises(CouldNotVerify, match="are missing"):
            repository.recorded_counts(snapshot)
        place.write_text('{"files": 2, "etc/": 1}')
        assert repository.recorded_counts(snapshot) == {"files": 2, "etc/": 1}
    assert make().recorded_counts(snapshot) is None


def test_an_absent_manifest_is_said_and_blocks_nothing(
    make: MakeRepository, job: Generations, make_staging: MakeStaging
) -> None:
    path = job.put(NOW - HOUR, FILES, digest=False)
    for rule, looked in (("required", "SHA512SUMS, SHA256SUMS"), ({"manifest": "sums.txt"}, "sums.txt")):
        transfer = fetch(make(checksum=rule), make_staging)
        assert transfer.absent == [f"{path.name}: looked for {looked} inside it"]
        assert transfer.broken == {} and len(transfer.payloads) == 1


@pytest.mark.parametrize("text", ["", "no digest line\n", "abcd  hosts\n"])
def test_a_manifest_that_cannot_be_used_is_borne_by_the_checksum_case(
    make: MakeRepository, job: Generations, make_staging: MakeStaging, text: str
) -> None:
    path = job.put(NOW - HOUR, FILES)
    (path / "SHA256SUMS").write_text(text)
    transfer = fetch(make(), make_staging)
    assert isinstance(transfer.unusable, BackupFailed)
    assert transfer.digests == [] and transfer.broken == {}


def test_a_deadline_while_comparing_says_nothing_of_the_backup(
    make: MakeRepository, job: Generations, make_staging: MakeStaging, monkeypatch: pytest.MonkeyPatch
) -> None:
    job.put(NOW - HOUR, FILES)
    staging = make_staging("files")
    call = staging.sandbox.call

    def late(function: str, *arguments: Any, **more: Any) -> Any:
        if function.endswith(":hash_tree"):
            raise CouldNotVerify("it did not end in time")
        return call(function, *arguments, **more)

    monkeypatch.setattr(staging.sandbox, "call", late)
    repository = make()
    transfer = repository.fetch(repository.survey().newest[0], staging)
    assert transfer.broken[Stage.VERIFY].cause == "it did not end in time"


def test_pinned_generations_have_a_digest_to_pin(
    make: MakeRepository, job: Generations, make_staging: MakeStaging
) -> None:
    job.put(NOW - HOUR, FILES, digest=False)
    transfer = fetch(make(checksum="pinned"), make_staging, tree_digest=False)
    assert transfer.artifacts[0]["sha256"] and transfer.absent == []
    assert fetch(make(target={"frozen": True}), make_staging, tree_digest=False).artifacts[0]["sha256"]
    assert fetch(make(), make_staging, tree_digest=False).artifacts[0]["sha256"] == ""


def test_a_comparison_writes_and_verifies_nothing(
    make: MakeRepository, job: Generations, make_staging: MakeStaging
) -> None:
    job.put(NOW - HOUR, FILES)
    whole, compared = fetch(make(), make_staging), fetch(make(), make_staging, discard=True)
    assert compared.payloads[0].digest == whole.payloads[0].digest
    assert compared.digests == [] and not compared.payloads[0].path.exists()


def test_what_cannot_be_copied_breaks_where_it_belongs(
    make: MakeRepository, job: Generations, make_staging: MakeStaging
) -> None:
    path = job.put(NOW - HOUR, FILES)
    (path / "out").symlink_to("../../../etc/passwd")
    broken: dict[Stage, RestoreDrillError] = fetch(make(), make_staging).broken
    assert [stage for stage, problem in broken.items() if isinstance(problem, BackupFailed)] == [Stage.UNPACK]
    (path / "out").unlink()
    assert fetch(make(), make_staging).broken == {}


def test_a_chain_of_generations_is_copied_oldest_first(
    make: MakeRepository, make_staging: MakeStaging, tmp_path: Path
) -> None:
    text = "{time:%Y%m%d%H%M%S}-{kind:full=F|incremental=I}/"
    job = Generations(tmp_path / "store", text)
    for hours, letter in ((3, "F"), (2, "I"), (1, "I")):
        when = NOW - hours * HOUR
        job.put(when, {"a": letter.encode() * hours}, name=f"{when:%Y%m%d%H%M%S}-{letter}")
    transfer = fetch(make(text), make_staging)
    assert transfer.broken == {}
    assert [(payload.path / "a").read_bytes() for payload in transfer.payloads] == [b"FFF", b"II", b"I"]
    assert len(transfer.artifacts) == len(transfer.digests) == 3
    (job.root / f"{NOW - 2 * HOUR:%Y%m%d%H%M%S}-I" / "a").write_text("damaged")
    damaged = fetch(make(text), make_staging)
    assert list(damaged.broken) == [Stage.VERIFY] and len(damaged.payloads) == 2


def test_each_generation_of_a_chain_is_compared_with_its_own_manifest(
    make: MakeRepository, make_staging: MakeStaging, tmp_path: Path
) -> None:
    text = "{time:%Y%m%d%H%M%S}-{kind:full=F|incremental=I}/"
    job = Generations(tmp_path / "store", text)
    for hours, letter, names in ((2, "F", "abc"), (1, "I", "b")):
        when = NOW - hours * HOUR
        job.put(when, {name: letter.encode() for name in names}, name=f"{when:%Y%m%d%H%M%S}-{letter}")
    transfer = fetch(make(text), make_staging, files_judged=True)
    assert (transfer.broken, transfer.manifest) == ({}, "")
    (job.root / f"{NOW - 2 * HOUR:%Y%m%d%H%M%S}-F" / "c").unlink()
    broken = fetch(make(text), make_staging, files_judged=True).broken
    assert broken[Stage.FETCH].cause == "1 of 3 files of SHA256SUMS are missing"


def test_a_chain_without_its_beginning_is_broken(
    make: MakeRepository, make_staging: MakeStaging, tmp_path: Path
) -> None:
    text = "{time:%Y%m%d%H%M%S}-{kind:full=F|incremental=I}/"
    job = Generations(tmp_path / "store", text)
    job.put(NOW - HOUR, {"a": b"x"}, name=f"{NOW - HOUR:%Y%m%d%H%M%S}-I")
    assert list(fetch(make(text), make_staging).broken) == [Stage.CHAIN]
