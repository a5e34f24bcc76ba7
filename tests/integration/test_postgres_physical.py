"""Base backups restored by the real programs: every form in every sandbox, every fault beside its undamaged twin."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.support import base_backups
from tests.support.base_backups import FAR, ORDERS, BaseBackups, flip, replace_keeping_size

from restore_drill.engines.base import RestoreOptions
from restore_drill.engines.postgres import physical_recovery as recovery
from restore_drill.engines.postgres.engine import PostgresEngine
from restore_drill.engines.postgres.physical import Physical, bring_back, looks_physical
from restore_drill.errors import BackupFailed, CouldNotVerify, UsageProblem
from restore_drill.model import Payload, PayloadForm, Stage
from restore_drill.registry import load
from restore_drill.sandboxes.base import Limits
from restore_drill.sandboxes.directory import DirectorySandbox

_PROGRAMS = ("initdb", "postgres", "psql", "pg_basebackup", "pg_verifybackup")


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory, require_program: Callable[[str], str]) -> BaseBackups:
    """One cluster and its backups for all of these tests."""
    for program in _PROGRAMS:
        require_program(program)
    place = tmp_path_factory.mktemp("base-backups")
    place.chmod(0o711)
    return base_backups.take(place)


@contextmanager
def restored(
    backup: Path, base: Path, damage: Callable[[Path], object] = lambda root: None, *, kind: str = "directory",
    parts: tuple[Path, ...] = (), **settings: Any,
) -> Iterator[Physical]:  # fmt: skip
    """A server over a copy of a backup that was damaged before."""
    base.mkdir(exist_ok=True)
    with load("sandboxes", kind)(base, run="physical", name="shop.nas", limits=Limits()) as sandbox:
        root = base_backups.copy(backup, sandbox.work / "payload")
        also = tuple(shutil.copy2(part, sandbox.work / f"part-{at}") for at, part in enumerate(parts))
        damage(root)
        assert looks_physical(root)
        payload = Payload(PayloadForm.TREE, root, "directory", 0, parts=also)
        yield bring_back(payload, sandbox, RestoreOptions(deadline=120, settings=settings))


def found(physical: Physical) -> dict[str, set[str]]:
    """Messages of its integrity by rule."""
    report = physical.integrity(seconds=60)
    assert not report["undone"]
    rules: dict[str, set[str]] = {}
    for problem in report["problems"]:
        rules.setdefault(problem["rule"], set()).add(problem["message"])
    return rules


def counts(physical: Physical) -> list[list[str | None]]:
    sql = "select (select count(*) from orders), (select count(*) from far_away)"
    return physical.server.psql("shop", sql, seconds=30)


def without_manifest(root: Path) -> None:
    (root / "data" / "backup_manifest").unlink()


# --- what is good comes back ---


@pytest.mark.parametrize("kind", ["directory", "container"])
@pytest.mark.parametrize("form", ["plain", "tar"])
def test_a_base_backup_comes_back(
    form: str, kind: str, source: BaseBackups, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if kind == "container":
        request.getfixturevalue("stand_in")("postgres")
    with restored(getattr(source, form), tmp_path, kind=kind) as physical:
        assert counts(physical) == [[str(ORDERS), str(FAR)]]
        assert physical.facts["system_identifier"] == source.system
        assert (physical.facts["archive_mode"], physical.facts["taken_from"]) == ("off", "primary")
        assert physical.facts["started"]
        assert (physical.facts["form"], physical.facts["tablespaces"]) == (form, 1)
        assert physical.notes == []
        report = physical.integrity(seconds=60)
        assert report["problems"] == report["undone"] == []
        assert {"data checksums", "backup_manifest (pg_verifybackup)"} <= set(report["checked"])


def test_a_backup_whose_superuser_has_another_name_comes_back(source: BaseBackups, tmp_path: Path) -> None:
    with restored(source.strange, tmp_path) as physical:
        assert physical.server.user == "administrator"
        # The database asks for a library that is not there: its own word counts for nothing.
        assert counts(physical) == [[str(ORDERS), str(FAR)]]
        assert physical.notes == [
            "it was taken with pg_basebackup --write-recovery-conf: what that added was taken away again"
        ]
        assert found(physical) == {}
        physical.server.session = {}
        with pytest.raises(CouldNotVerify, match=r"no_such_library|connection"):
            counts(physical)


@pytest.mark.parametrize(("form", "rules"), [("plain", []), ("strange", ["collation"])])
def test_the_engine_judges_files_and_server_together(
    form: str, rules: list[str], source: BaseBackups, tmp_path: Path
) -> None:
    with DirectorySandbox(tmp_path, run="physical", name="shop.nas", limits=Limits()) as sandbox:
        root = base_backups.copy(getattr(source, form), sandbox.work / "payload")
        payload = Payload(PayloadForm.TREE, root, "directory", 0)
        whole = PostgresEngine().restore([payload], sandbox, RestoreOptions(deadline=120))
        assert whole.row_counts() == {"orders": ORDERS, "far_away": FAR}
        assert whole.facts["databases"] == ["shop"]
        report = whole.integrity()
        assert [problem["rule"] for problem in report["problems"]] == rules
        assert {"data directory", "data checksums", "amcheck"} <= set(report["checked"])
        assert report["undone"] == []
        asking = ["psql", whole.dsn(), "-Atc", "select max(id) from orders"]
        assert subprocess.run(asking, capture_output=True, check=True).stdout == f"{ORDERS}\n".encode()
        whole.close()


def test_archives_given_as_parts_are_told_by_what_is_in_them(source: BaseBackups, tmp_path: Path) -> None:
    def unpack(root: Path) -> None:
        """What fetching base.tar.gz as the first artifact of a snapshot leaves."""
        for path in root.iterdir():
            if path.name != "base.tar.gz":
                path.unlink()
        with tarfile.open(root / "base.tar.gz") as archive:
            archive.extractall(root, filter="tar")
        (root / "base.tar.gz").unlink()

    others = tuple(sorted(path for path in source.tar.iterdir() if path.name != "base.tar.gz"))
    with restored(source.tar, tmp_path, unpack, parts=others) as physical:
        assert counts(physical) == [[str(ORDERS), str(FAR)]]
        assert found(physical) == {}


def test_a_copy_without_empty_directories_and_with_tablespaces_in_place_comes_back(
    source: BaseBackups, tmp_path: Path
) -> None:
    def as_a_store_of_objects_has_it(root: Path) -> None:
        link = next((root / "data" / "pg_tblspc").iterdir())
        link.unlink()
        (root / "far").rename(link)
        (root / "data" / "SHA256SUMS").write_text("of the store\n")
        for base, directories, _ in os.walk(root / "data", topdown=False):
            for name in directories:
                if not any(Path(base, name).iterdir()):
                    Path(base, name).rmdir()

    with restored(source.plain, tmp_path, as_a_store_of_objects_has_it) as physical:
        assert counts(physical) == [[str(ORDERS), str(FAR)]]
        assert found(physical) == {}
        assert ["empty directories were missing" in note for note in physical.notes] == [True]


# --- what integrity tells while the server starts ---


def test_what_pg_verifybackup_passes_over_is_found(source: BaseBackups, tmp_path: Path) -> None:
    def damage(root: Path) -> None:
        data = root / "data"
        with (data / "postgresql.auto.conf").open("a") as file:
            file.write("archive_mode = on\n")
        (data / "standby.signal").touch()
        (data / "pg_wal" / "run.sh").write_text("#!/bin/sh\n")
        (data / source.table).chmod(0o4600)
        visibility = data / f"{source.table}_vm"
        visibility.rename(visibility.with_name("0"))
        visibility.symlink_to("0")

    with restored(source.plain, tmp_path, damage) as physical:
        assert counts(physical) == [[str(ORDERS), str(FAR)]]
        rules = found(physical)
        assert rules["configuration"] == {
            "postgresql.auto.conf was changed after the backup was made",
            "standby.signal was added after the backup was made",
        }
        assert rules["wal"] == {"a file in pg_wal is no write-ahead log"}
        assert rules["mode"] == {"a file has a set-user-id or set-group-id bit"}
        assert rules["link"] == {"a symbolic link stands in place of a file or directory"}
        said = " ".join(physical.integrity(seconds=60)["details"])
        assert "run.sh" in said


def test_what_differs_from_the_manifest_is_found(source: BaseBackups, tmp_path: Path) -> None:
    def damage(root: Path) -> None:
        data = root / "data"
        (data / "pg_xact" / "extra").write_bytes(b"x")
        (data / f"{source.table}_fsm").unlink()
        with (data / "pg_ident.conf").open("a") as file:
            file.write("#\n")
        os.truncate(data / "pg_hba.conf", 10)
        replace_keeping_size(data / "postgresql.conf")
        (data / f"{source.hash}").chmod(0)

    with restored(source.plain, tmp_path, damage) as physical:
        assert counts(physical) == [[str(ORDERS), str(FAR)]]
        rules = found(physical)
        assert rules["backup_manifest"] == {
            "a file is not in the manifest",
            "a file of the manifest is missing",
            "a file has another size than the manifest says",
        }
        assert rules["mode"] == {"a file or directory can be read by nobody"}
        assert rules["pg_verifybackup"] == {
            "a file is not in the manifest",
            "a file of the manifest is missing",
            "a file has another size than the manifest says",
            "a file has another content than the manifest says",
        }


def test_a_manifest_that_was_changed_is_found(source: BaseBackups, tmp_path: Path) -> None:
    def damage(root: Path) -> None:
        path = root / "backup_manifest"
        path.write_bytes(path.read_bytes().replace(b'"Size": 8192', b'"Size": 8193', 1))

    with restored(source.tar, tmp_path, damage) as physical:
        rules = found(physical)
        assert rules["backup_manifest"] == {"the manifest cannot be believed: its own checksum does not fit"}
        assert rules["pg_verifybackup"] == {"the manifest cannot be believed"}


def test_a_damaged_page_of_a_hash_index_is_found_without_a_manifest(source: BaseBackups, tmp_path: Path) -> None:
    def damage(root: Path) -> None:
        without_manifest(root)
        flip(root / "data" / source.hash, 2 * 8192 + 4000)

    with restored(source.plain, tmp_path, damage) as physical:
        assert found(physical) == {"data checksums": {"a page is damaged"}}
        # What a server before 15 is stopped for finds the same.
        from restore_drill.engines.postgres import physical_integrity as integrity

        physical.server.version = "14.0"
        again = integrity.data_checksums(physical.server, recovery.settings(_CONTROL, (), 14), seconds=60)
        assert again["problems"] == [{"rule": "data checksums", "message": "a page is damaged", "count": 1}]
        assert counts(physical) == [[str(ORDERS), str(FAR)]]


_CONTROL = {"demands": {"max_connections": 100, "max_wal_senders": 10}, "wal_level": "replica"}


def test_without_a_manifest_the_data_itself_is_the_proof(source: BaseBackups, tmp_path: Path) -> None:
    with restored(source.plain, tmp_path, without_manifest) as physical:
        assert found(physical) == {}
        assert ["no backup_manifest" in note for note in physical.notes] == [True]


def test_a_lost_backup_label_is_found_unless_the_files_are_of_one_instant(source: BaseBackups, tmp_path: Path) -> None:
    def damage(root: Path) -> None:
        without_manifest(root)
        (root / "data" / "backup_label").unlink()

    with restored(source.plain, tmp_path / "a", damage) as physical:
        assert list(found(physical)) == ["backup_label"]
    with restored(source.plain, tmp_path / "b", damage, atomic=True) as physical:
        assert found(physical) == {}
        assert any("atomic" in note for note in physical.notes)


# --- what does not come back ---


def segment(root: Path) -> Path:
    return next(path for path in (root / "data" / "pg_wal").iterdir() if path.is_file())


def no_wal(root: Path) -> None:
    segment(root).unlink()


def cut_wal(root: Path) -> None:
    os.truncate(segment(root), 1 << 20)


def garbage_wal(root: Path) -> None:
    path = segment(root)
    path.write_bytes(os.urandom(path.stat().st_size))


def no_control(root: Path) -> None:
    (root / "data" / "global" / "pg_control").unlink()


def bad_control(root: Path) -> None:
    flip(root / "data" / "global" / "pg_control", 100)


def no_tablespace(root: Path) -> None:
    shutil.rmtree(root / "far")


def link_outside(root: Path) -> None:
    (root / "data" / "pg_stat" / "x").symlink_to("/etc/passwd")


def bad_version(root: Path) -> None:
    (root / "data" / "PG_VERSION").write_text("fifteen\n")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (no_wal, "holds no write-ahead log"),
        (cut_wal, "1 files of write-ahead log that are cut"),
        (garbage_wal, "does not hold the checkpoint from which recovery must begin"),
        (no_control, "pg_control is missing"),
        (bad_control, "pg_control is damaged: its checksum does not fit"),
        (no_tablespace, "1 of 1 tablespaces did not come"),
        (link_outside, "leads outside of the backup"),
        (bad_version, "PG_VERSION of the base backup holds no version"),
    ],
)
def test_what_nothing_can_start_from_fails_the_restore(
    damage: Callable[[Path], object], message: str, source: BaseBackups, tmp_path: Path
) -> None:
    with pytest.raises(BackupFailed, match=message) as failure, restored(source.plain, tmp_path, damage):
        pass
    assert failure.value.stage is Stage.RESTORE
    assert failure.value.remedy


@pytest.mark.parametrize("catalogue", ["1255", "1259"])
def test_a_catalogue_that_is_missing_is_damage(catalogue: str, source: BaseBackups, tmp_path: Path) -> None:
    with DirectorySandbox(tmp_path, run="physical", name="shop.nas", limits=Limits()) as sandbox:
        root = base_backups.copy(source.plain, sandbox.work / "payload")
        for database in (root / "data" / "base").iterdir():
            (database / catalogue).unlink()
        payload = Payload(PayloadForm.TREE, root, "directory", 0)
        with pytest.raises(BackupFailed, match="cannot read its own catalogues") as failure:
            PostgresEngine().restore([payload], sandbox, RestoreOptions(deadline=120))
    assert any("could not open file" in line for line in failure.value.details)


def test_archives_that_are_cut_missing_or_encrypted_are_told_apart(source: BaseBackups, tmp_path: Path) -> None:
    def cut(root: Path) -> None:
        os.truncate(root / "base.tar.gz", 1 << 20)

    def missing(root: Path) -> None:
        next(path for path in root.iterdir() if path.name[0].isdigit()).unlink()

    def encrypted(root: Path) -> None:
        (root / "pg_wal.tar.gz").write_bytes(b"age-encryption.org/v1\n-> X25519 abc\n" + bytes(2000))

    with pytest.raises(BackupFailed, match=r"truncated.*base\.tar") as failure:
        restored(source.tar, tmp_path / "a", cut).__enter__()
    assert failure.value.stage is Stage.RESTORE
    with pytest.raises(BackupFailed, match="tablespaces did not come with"):
        restored(source.tar, tmp_path / "b", missing).__enter__()
    with pytest.raises(CouldNotVerify, match="encrypted by age"):
        restored(source.tar, tmp_path / "c", encrypted).__enter__()


def test_an_incremental_backup_is_not_taken_for_a_full_one(source: BaseBackups, tmp_path: Path) -> None:
    def damage(root: Path) -> None:
        with (root / "data" / "backup_label").open("a") as file:
            file.write("INCREMENTAL FROM LSN: 0/2000028\nINCREMENTAL FROM TLI: 1\n")

    with pytest.raises(CouldNotVerify, match="incremental"), restored(source.plain, tmp_path, damage):
        pass


# --- hostile configuration ---


@pytest.mark.parametrize("kind", ["directory", "container"])
def test_nothing_that_a_backup_plants_is_run(
    kind: str, source: BaseBackups, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if kind == "container":
        request.getfixturevalue("stand_in")("postgres")
    planted = "./planted.so"  # from the data directory, where a server works

    def damage(root: Path) -> None:
        data = root / "data"
        without_manifest(root)
        (data / planted).write_bytes(b"\x7fELF nothing that loads")
        (data / "recovery.signal").touch()
        hostile = [
            "archive_mode = always",
            "archive_command = 'touch ran-archive'",
            "restore_command = 'touch ran-restore; false'",
            "recovery_end_command = 'touch ran-end'",
            f"shared_preload_libraries = '{planted}'",
            "include_dir = 'conf.d'",
            "primary_conninfo = 'host=192.0.2.1'",
        ]
        (data / "conf.d").mkdir()
        (data / "conf.d" / "more.conf").write_text("ssl = on\n")
        for name in ("postgresql.conf", "postgresql.auto.conf"):
            with (data / name).open("a") as file:
                file.write("".join(f"{line}\n" for line in hostile))
        (data / "pg_hba.conf").write_text("host all all 0.0.0.0/0 trust\n")

    with restored(source.plain, tmp_path, damage, kind=kind) as physical:
        server = physical.server
        assert server.ask("shop", ["select pg_switch_wal()", "checkpoint"], seconds=30)[1].problem is None
        asked = ("archive_mode", "restore_command", "shared_preload_libraries", "ssl", "listen_addresses")
        values = ", ".join(f"current_setting('{name}')" for name in asked)
        assert server.psql("shop", f"select {values}", seconds=30) == [["off", "", "", "off", ""]]
        rules = "select count(*), min(type), min(auth_method) from pg_hba_file_rules"
        assert server.psql("shop", rules, seconds=30) == [["2", "local", "trust"]]
        there = server.sandbox.exec(["sh", "-c", f"ls {server.data} | grep ^ran-"], deadline=30)
        assert (there.returncode, there.stdout) == (1, b"")
        # The same library by the command line keeps the server from starting: it would have been loaded.
        server.stop()
        given = recovery.settings(_CONTROL, (), 15) | {"shared_preload_libraries": planted}
        with pytest.raises(CouldNotVerify, match="library that is to be preloaded"):
            recovery.start(server, given, until=time.monotonic() + 300)


def test_a_library_is_preloaded_by_the_catalogues_word_only(source: BaseBackups, tmp_path: Path) -> None:
    with restored(source.plain, tmp_path / "a", preload=["auto_explain"]) as physical:
        assert physical.facts["preloaded"] == "auto_explain"
    with pytest.raises(UsageProblem, match="option of the postgres engine"):
        restored(source.plain, tmp_path / "b", preload=["/tmp/x.so"]).__enter__()
