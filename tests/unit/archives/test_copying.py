"""A directory generation is copied as it is, or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import os
import resource
import socket
import subprocess
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from tests.support.calls import DirectCall
from tests.support.trees import IS_ROOT, look, plain_tree, rich_tree
from tests.support.unprivileged import as_nobody, open_directory

from restore_drill.archives import copying
from restore_drill.archives.copying import copy_generation
from restore_drill.archives.members import Buffer, Member
from restore_drill.archives.tree import TreeWriter
from restore_drill.archives.unpack import unpack_tree
from restore_drill.errors import BackupFailed, CouldNotVerify, DeadlineExceeded
from restore_drill.model import Stage


def copied(source: Path, work: Path, **more: Any) -> dict[str, Any]:
    work.mkdir(exist_ok=True)
    arguments = {"root": "root", "limits": {}, **more}
    return copy_generation(DirectCall(work), source=str(source), **arguments)


@pytest.mark.parametrize("digest", [False, True])
@pytest.mark.parametrize("threads", [1, 3])
def test_everything_comes_along(tmp_path: Path, threads: int, digest: bool) -> None:
    source = rich_tree(tmp_path / "source")
    facts = copied(source, tmp_path / "work", threads=threads, digest=digest)
    root = tmp_path / "work" / "root"
    assert look(root) == look(source)
    assert (root / "holes").stat().st_blocks * 512 < 1 << 20
    assert root.stat().st_mtime_ns == source.stat().st_mtime_ns
    assert facts["files"] == sum(path.is_file() and not path.is_symlink() for path in source.rglob("*"))
    assert facts["directories"] == sum(path.is_dir() and not path.is_symlink() for path in source.rglob("*"))
    assert facts["bytes"] == sum(
        path.lstat().st_size for path in source.rglob("*") if path.is_file() and not path.is_symlink()
    )
    assert facts["hard_links"] == 1 and facts["notes"] == []
    assert ("digest" in facts) is digest


@pytest.mark.parametrize("make", [plain_tree, rich_tree])
def test_the_digest_is_that_of_an_archive_of_it(
    tmp_path: Path, make: Callable[[Path], Path], require_program: Callable[[str], str]
) -> None:
    source = make(tmp_path / "source")
    command = [require_program("tar"), "-c", "-f", "-", "--sparse", "-C", str(source), "."]
    data = subprocess.run(command, check=True, capture_output=True).stdout
    digests = {copied(source, tmp_path / f"w{threads}", digest=True, threads=threads)["digest"] for threads in (1, 3)}
    digests |= {copied(source, tmp_path / f"d{threads}", discard=True, threads=threads)["digest"] for threads in (1, 3)}
    for number, discard in enumerate((False, True)):
        call = DirectCall(tmp_path, [data])
        facts = unpack_tree(call, archive="tar", root=f"unpacked{number}", limits={}, digest=True, discard=discard)
        digests.add(facts["digest"])
    assert len(digests) == 1
    assert list((tmp_path / "d1").iterdir()) == []
    (source / "etc" / "hosts").chmod(0o600)
    (source / "etc" / "hosts").write_bytes(b"changed\n")
    assert copied(source, tmp_path / "changed", digest=True)["digest"] not in digests


def test_many_small_files_and_one_large(tmp_path: Path) -> None:
    source = tmp_path / "source"
    for number in range(3000):
        path = source / f"d{number % 37}" / f"f{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"%d" % number * (number % 50))
    (source / "large").write_bytes(os.urandom(5 << 20))
    for threads in (1, 2, 4):
        facts = copied(source, tmp_path / str(threads), threads=threads, digest=threads == 4)
        assert facts["files"] == 3001
        assert look(tmp_path / str(threads) / "root") == look(source)


def test_links_to_other_generations_are_no_hard_links_here(tmp_path: Path) -> None:
    older, newer = plain_tree(tmp_path / "older"), tmp_path / "newer"
    expected = look(older)
    subprocess.run(["cp", "-al", str(older), str(newer)], check=True)
    facts = copied(newer, tmp_path / "work")
    assert look(tmp_path / "work" / "root") == expected
    assert facts["hard_links"] == 1
    assert {path.stat().st_nlink for path in (tmp_path / "work" / "root").rglob("*") if path.is_file()} == {1, 2}
    before = (newer / "etc" / "hosts").stat().st_atime_ns
    (tmp_path / "work" / "root" / "etc" / "hosts").chmod(0o600)
    (tmp_path / "work" / "root" / "etc" / "hosts").write_bytes(b"edited copy\n")
    assert (newer / "etc" / "hosts").stat().st_size == 1400
    assert (newer / "etc" / "hosts").stat().st_atime_ns == before


def test_reading_leaves_access_times_alone(tmp_path: Path) -> None:
    source = plain_tree(tmp_path / "source")
    for path in source.rglob("*"):
        os.utime(path, ns=(1, path.lstat().st_mtime_ns), follow_symlinks=False)
    copied(source, tmp_path / "work", digest=True)
    assert {path.stat().st_atime_ns for path in source.rglob("*") if path.is_file() and not path.is_symlink()} == {1}


@pytest.mark.parametrize("target", ["/etc/passwd", "../outside", "srv/../../x"])
def test_links_that_leave_are_refused_unless_allowed(tmp_path: Path, target: str) -> None:
    source = plain_tree(tmp_path / "source")
    (source / "leaves").symlink_to(target)
    with pytest.raises(BackupFailed, match=r"outside|absolute") as caught:
        copied(source, tmp_path / "refused")
    assert caught.value.stage is Stage.UNPACK
    copied(source, tmp_path / "taken", limits={"allow": ["outside-links"]})
    assert (tmp_path / "taken" / "root" / "leaves").readlink() == Path(target)


def test_special_files_are_refused_and_sockets_left_out(tmp_path: Path) -> None:
    source = plain_tree(tmp_path / "source")
    with socket.socket(socket.AF_UNIX) as one:
        with contextlib.chdir(source):  # the path of a socket may not be long
            one.bind("socket")
        assert copied(source, tmp_path / "socket")["notes"] == ["sockets not kept: 1"]
    (source / "socket").unlink()
    os.mkfifo(source / "fifo")
    with pytest.raises(BackupFailed, match="FIFO"):
        copied(source, tmp_path / "refused")
    copied(source, tmp_path / "taken", limits={"allow": ["special-files"]})
    assert (tmp_path / "taken" / "root" / "fifo").is_fifo()


def test_limits_hold_for_copies_too(tmp_path: Path) -> None:
    source = plain_tree(tmp_path / "source")
    members = sum(1 for _ in source.rglob("*")) + 1
    size = copied(source, tmp_path / "good", limits={"members": members})["bytes"] - 2100
    with pytest.raises(BackupFailed, match="members"):
        copied(source, tmp_path / "members", limits={"members": members - 1})
    assert copied(source, tmp_path / "exact", limits={"bytes": size})["bytes"] == size + 2100
    with pytest.raises(BackupFailed, match=r"limits\.bytes"):
        copied(source, tmp_path / "bytes", limits={"bytes": size - 1})
    with (source / "hole").open("wb") as file:
        file.truncate(60 << 30)
    with pytest.raises(BackupFailed, match="times their data"):
        copied(source, tmp_path / "hole")


@pytest.mark.parametrize("threads", [1, 2])
def test_a_set_id_bit_is_refused(tmp_path: Path, threads: int) -> None:
    source = plain_tree(tmp_path / "source")
    (source / "etc" / "hosts").chmod(0o4755)
    with pytest.raises(BackupFailed, match="set-user-id"):
        copied(source, tmp_path / "refused", threads=threads)
    copied(source, tmp_path / "taken", limits={"allow": ["setuid"]}, threads=threads)
    assert (tmp_path / "taken" / "root" / "etc" / "hosts").stat().st_mode & 0o7777 == 0o4755


class Meddling(TreeWriter):
    """A tree that changes the source while a file of it is being stored."""

    meddle: Callable[[], object] = staticmethod(lambda: None)

    def put_file(self, member: Member, data: Iterable[Buffer]) -> tuple[bytes, str]:
        if member.name == b"srv/data/b.bin":
            self.meddle()
        return super().put_file(member, data)


@pytest.fixture
def meddling(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[Callable[[], object]], None]:
    def use(action: Callable[[], object]) -> None:
        tree = Meddling(tmp_path / "quarantine", copying.open_tree.__globals__["TreeLimits"](), book=None)
        tree.book = copying.open_tree.__globals__["DigestBook"](str(tmp_path))
        tree.meddle = action
        monkeypatch.setattr(copying, "open_tree", lambda *_, **__: tree)

    return use


@pytest.mark.parametrize("how", ["grows", "shrinks", "is written again", "gets a neighbour"])
def test_a_source_that_changes_while_it_is_read(tmp_path: Path, meddling: Callable[..., None], how: str) -> None:
    source = plain_tree(tmp_path / "source")
    victim = source / "srv" / "data" / "b.bin"

    def meddle() -> None:
        victim.chmod(0o600)
        if how == "gets a neighbour":
            (victim.parent / "new").write_bytes(b"new")
        elif how == "shrinks":
            os.truncate(victim, 10)
        elif how == "grows":
            with victim.open("ab") as file:
                file.write(b"more")
        else:
            victim.write_bytes(bytes(victim.stat().st_size))

    meddling(meddle)
    with pytest.raises(BackupFailed, match="changed while it was read") as caught:
        copied(source, tmp_path / "work")
    assert caught.value.stage is Stage.FETCH and "srv/data" in caught.value.details[0]
    assert "srv" not in caught.value.cause + caught.value.remedy


def test_the_next_generation_may_link_to_this_one_meanwhile(tmp_path: Path, meddling: Callable[..., None]) -> None:
    source = plain_tree(tmp_path / "source")
    meddling(lambda: os.link(source / "srv/data/b.bin", tmp_path / "next"))
    assert copied(source, tmp_path / "work")["files"] == 6


def test_a_source_that_vanishes_while_it_is_read(tmp_path: Path, meddling: Callable[..., None]) -> None:
    source = plain_tree(tmp_path / "source")
    for number in range(200):
        (source / "srv" / "data" / f"z{number}").write_bytes(b"1")
    meddling(lambda: [path.unlink() for path in (source / "srv" / "data").iterdir() if path.name != "b.bin"])
    with pytest.raises(BackupFailed, match=r"vanished|changed") as caught:
        copied(source, tmp_path / "work")
    assert caught.value.stage is Stage.FETCH


def test_a_source_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(BackupFailed, match="vanished") as caught:
        copied(tmp_path / "nowhere", tmp_path / "work")
    assert caught.value.stage is Stage.FETCH


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("what", ["file", "directory"])
def test_what_may_not_be_read_says_nothing_about_the_backup(what: str, threads: int) -> None:
    with open_directory() as directory:
        source = plain_tree(directory / "source")
        if IS_ROOT:
            for path in (source, *source.rglob("*")):
                if not path.is_symlink():
                    path.chmod(0o755)
        (directory / "work").mkdir(mode=0o777)
        (directory / "work").chmod(0o777)

        def copy(name: str) -> None:
            copied(source, directory / "work", root=name, threads=threads)

        as_nobody(lambda: copy("good"))
        (source / ("etc/hosts" if what == "file" else "srv/data")).chmod(0o000)

        def refused() -> None:
            with pytest.raises(CouldNotVerify, match="cannot be read") as caught:
                copy("bad")
            assert "as root or as a user" in caught.value.remedy and caught.value.details

        as_nobody(refused)


def test_the_deadline_is_kept(tmp_path: Path) -> None:
    source = plain_tree(tmp_path / "source")
    for threads in (1, 2):
        call = DirectCall(tmp_path, until=time.monotonic() - 1)
        with pytest.raises(DeadlineExceeded):
            copy_generation(call, source=str(source), root=f"root{threads}", limits={}, threads=threads)


def test_a_disk_that_would_get_too_full_is_no_fault_of_the_backup(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for number in range(80):
        (source / str(number)).write_bytes(os.urandom(1 << 20))
    for threads in (1, 2):
        with pytest.raises(CouldNotVerify, match="would stay free"):
            copied(source, tmp_path / f"w{threads}", threads=threads, reserve=2**60)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("digest", [False, True])
def test_a_file_beyond_the_sandboxes_limit_says_nothing_about_the_backup(threads: int, digest: bool) -> None:
    with open_directory() as directory:
        (directory / "source").mkdir()
        (directory / "source" / "large").write_bytes(bytes(5000))
        (directory / "source").chmod(0o755)

        def copy() -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (4999, 4999))
            with pytest.raises(CouldNotVerify, match="larger than the sandbox allows"):
                copied(directory / "source", directory, root="bad", threads=threads, digest=digest)
            (directory / "less").mkdir()
            (directory / "less" / "small").write_bytes(bytes(4999))
            assert copied(directory / "less", directory, root="good", threads=threads, digest=digest)["files"] == 1

        as_nobody(copy)


def test_a_directory_of_very_many_names(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    expected = hashlib.sha256()
    for number in range(1500):
        (source / f"{number:05d}").write_bytes(b"%d" % number)
        expected.update(b"%d" % number)
    copied(source, tmp_path / "work", threads=2)
    found = hashlib.sha256(
        b"".join((tmp_path / "work" / "root" / f"{number:05d}").read_bytes() for number in range(1500))
    )
    assert found.digest() == expected.digest()
