"""Disk space: refused before it is used, watched while it is used, told when it ends."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from restore_drill import disk
from restore_drill.errors import CouldNotVerify
from restore_drill.model import Stage

MB = 1 << 20


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A disk of 1000 MB of which 100 are free."""
    status = SimpleNamespace(f_bavail=100, f_blocks=1000, f_frsize=MB)
    monkeypatch.setattr(disk.os, "statvfs", lambda path: status)
    return status


def test_a_small_disk_keeps_a_fiftieth_and_a_large_one_half_a_gibibyte(small: SimpleNamespace, tmp_path: Path) -> None:
    assert (disk.free_space(tmp_path), disk.reserve(tmp_path)) == (100 * MB, 20 * MB)
    small.f_blocks = 10**6
    assert disk.reserve(tmp_path) == 512 * MB


def test_what_cannot_fit_is_not_begun(small: SimpleNamespace, tmp_path: Path) -> None:
    disk.require(tmp_path, 80 * MB, "what it unpacks to")
    with pytest.raises(CouldNotVerify, match=r"what it unpacks to needs about 83\.9 MB, 83\.9 MB are usable") as caught:
        disk.require(tmp_path, 80 * MB + 1, "what it unpacks to")
    assert caught.value.stage is Stage.FETCH and "--work-dir" in caught.value.remedy
    small.f_bavail = 10
    with pytest.raises(CouldNotVerify, match="0 B are usable"):
        disk.require(tmp_path, 1, "what it unpacks to")


def test_everything_is_written_once(tmp_path: Path) -> None:
    path = tmp_path / "payload-0"
    assert disk.FileSink(path, 0).write(iter([b"ab", b"", b"c" * 100_000])) == 100_002
    assert path.read_bytes() == b"ab" + b"c" * 100_000
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(FileExistsError):
        disk.FileSink(path, 0).write(iter([b"x"]))


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "payload-0").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="exists"):
        disk.FileSink(tmp_path / "payload-0", 0).write(iter([b"x"]))
    assert not (tmp_path / "elsewhere").exists()


def test_the_reserve_is_watched_while_writing(small: SimpleNamespace, tmp_path: Path) -> None:
    written: list[int] = []

    def chunks() -> Iterator[bytes]:
        for _ in range(10):
            small.f_bavail -= 10
            written.append(1)
            yield bytes(8 * MB)

    with pytest.raises(CouldNotVerify, match=r"less than 73\.4 MB would stay free"):
        disk.FileSink(tmp_path / "payload-0", 70 * MB).write(chunks())
    assert len(written) == 4  # it looks every 32 MiB


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_is_no_failure_of_the_backup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    written = disk._write_all

    def full(descriptor: int, chunk: bytes) -> None:
        if chunk == b"second":
            raise OSError(number, os.strerror(number))
        written(descriptor, chunk)

    monkeypatch.setattr(disk, "_write_all", full)
    with pytest.raises(CouldNotVerify, match="no space is left after 5 B") as caught:
        disk.FileSink(tmp_path / "payload-0", 0).write(iter([b"first", b"second"]))
    assert isinstance(caught.value.__cause__, OSError) and caught.value.looked_at == str(tmp_path)
    assert disk.FileSink(tmp_path / "payload-1", 0).write(iter([b"first"])) == 5


def test_an_error_of_the_source_is_not_the_disks(tmp_path: Path) -> None:
    def chunks() -> Iterator[bytes]:
        yield b"x"
        raise OSError(errno.EIO, "the store broke")

    with pytest.raises(OSError, match="the store broke"):
        disk.FileSink(tmp_path / "payload-0", 0).write(chunks())


def test_what_is_staged_has_no_name_and_ends_when_it_is_closed(tmp_path: Path) -> None:
    staged = disk.Workspace(tmp_path).stage(iter([b"abc", b"", b"d" * 3 * MB]))
    assert list(tmp_path.iterdir()) == []
    assert (staged.size, staged.read(1, 4), staged.read(staged.size, 1)) == (3 * MB + 3, b"bcdd", b"")
    assert [len(piece) for piece in staged.pieces(2, staged.size + 9)] == [MB, MB, MB, 1]
    staged.close()
    staged.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        staged.read(0, 1)


def test_staging_is_budgeted_and_watched(small: SimpleNamespace, tmp_path: Path) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(10):
            small.f_bavail -= 10
            yield bytes(8 * MB)

    with pytest.raises(CouldNotVerify, match=r"needs 94\.4 MB, 83\.9 MB are usable"):
        disk.Workspace(tmp_path, reserve=20 * MB, expected=90 * MB).stage(iter([]))
    with pytest.raises(CouldNotVerify, match=r"less than 73\.4 MB would stay free"):
        disk.Workspace(tmp_path, reserve=70 * MB).stage(chunks())
    assert list(tmp_path.iterdir()) == []
