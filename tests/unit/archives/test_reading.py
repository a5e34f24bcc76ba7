"""Reading a directory that others change, and writing where something is in the way: whose fault each error is."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from restore_drill.archives import writing
from restore_drill.archives.reading import (
    cannot_read,
    changed,
    extents_of,
    open_quietly,
    pieces,
    reading,
    sparse_pieces,
)
from restore_drill.archives.writing import cannot_write, copy_bytes, full, occupied
from restore_drill.errors import BackupFailed, CouldNotVerify
from restore_drill.model import Stage

HOLE = 1 << 20


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[int]:
    descriptor = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield descriptor
    os.close(descriptor)


def opened(path: Path, content: bytes, flags: int = os.O_RDWR) -> int:
    path.write_bytes(content)
    return os.open(path, flags)


def test_a_file_of_somebody_else_is_read_although_its_access_time_changes(
    tmp_path: Path, directory: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").write_bytes(b"content")
    asked: list[bool] = []
    real = os.open

    def strict(path: str, flags: int, *, dir_fd: int) -> int:
        asked.append(bool(flags & os.O_NOATIME))
        if flags & os.O_NOATIME:
            raise PermissionError(errno.EPERM, "only the owner may")
        return real(path, flags, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", strict)
    descriptor = open_quietly("a", directory)
    monkeypatch.undo()
    assert os.read(descriptor, 100) == b"content" and asked == [True, False]
    os.close(descriptor)


def test_a_link_is_not_followed(tmp_path: Path, directory: int) -> None:
    (tmp_path / "a").write_bytes(b"content")
    (tmp_path / "link").symlink_to("a")
    os.close(open_quietly("a", directory))
    with pytest.raises(OSError, match="symbolic links"):
        open_quietly("link", directory)


def test_a_file_that_became_shorter_changed(tmp_path: Path) -> None:
    descriptor = opened(tmp_path / "a", b"0123456789")
    assert b"".join(pieces(descriptor, 10, "a")) == b"0123456789"
    os.lseek(descriptor, 0, os.SEEK_SET)
    with pytest.raises(BackupFailed, match="changed while it was read") as caught:
        list(pieces(descriptor, 11, "a"))
    assert caught.value.stage is Stage.FETCH and caught.value.details == ("a",)
    os.close(descriptor)


def test_holes_are_not_read(tmp_path: Path) -> None:
    descriptor = opened(tmp_path / "a", b"")
    for offset in (HOLE, 3 * HOLE):
        os.pwrite(descriptor, b"data", offset)
    os.ftruncate(descriptor, 5 * HOLE)
    extents = extents_of(descriptor, 5 * HOLE)
    assert [offset // HOLE for offset, _ in extents] == [1, 3]
    data = b"".join(sparse_pieces(descriptor, extents, "a"))
    assert data.replace(b"\0", b"") == b"datadata" and len(data) < HOLE
    assert extents_of(opened(tmp_path / "b", b""), 0) == []
    os.close(descriptor)


def test_only_errors_of_the_system_are_the_sources(tmp_path: Path) -> None:
    with pytest.raises(BackupFailed, match="vanished") as caught, reading("a"):
        raise FileNotFoundError(errno.ENOENT, "gone")
    assert isinstance(caught.value.__cause__, FileNotFoundError)
    with pytest.raises(KeyError), reading("a"):
        raise KeyError("ours")
    with reading("a"):
        pass


@pytest.mark.parametrize(
    ("number", "kind", "says"),
    [
        (errno.ENOENT, BackupFailed, "a part of the backup vanished"),
        (errno.ESTALE, BackupFailed, "a part of the backup vanished"),
        (errno.ELOOP, BackupFailed, "changed while it was read"),
        (errno.ENOTDIR, BackupFailed, "changed while it was read"),
        (errno.ENAMETOOLONG, BackupFailed, "too long"),
        (errno.EACCES, CouldNotVerify, "cannot be read: Permission denied"),
        (errno.EIO, CouldNotVerify, "cannot be read: Input/output error"),
    ],
)
def test_whose_fault_it_is_that_something_cannot_be_read(number: int, kind: type, says: str) -> None:
    problem = cannot_read(OSError(number, os.strerror(number)), "letters/to-erika\udcff")
    assert type(problem) is kind and says in problem.cause
    assert problem.remedy and "erika" in problem.details[0] and "erika" not in str(problem)
    assert changed("").details == (".",)


@pytest.mark.parametrize(
    ("number", "says"),
    [
        (errno.ENOSPC, "no space is left"),
        (errno.EDQUOT, "no space is left"),
        (errno.EFBIG, "larger than the sandbox allows"),
        (errno.EINVAL, "cannot be written here: Invalid argument"),
    ],
)
def test_that_something_cannot_be_written_is_never_the_backups_fault(number: int, says: str) -> None:
    problem = cannot_write(OSError(number, os.strerror(number)), b"letters/to-erika")
    assert isinstance(problem, CouldNotVerify) and says in problem.cause
    assert problem.stage is Stage.UNPACK and "erika" not in str(problem)
    assert "--work-dir" in full("x").remedy


def test_what_is_in_the_way_is_named_by_its_kind(tmp_path: Path, directory: int) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "f").write_text("")
    assert "stands where a directory is" in occupied(directory, b"d", b"d").cause
    assert "two members have the same path" in occupied(directory, b"f", b"f").cause


# --- copying ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 1000, 1 << 18, (1 << 18) + 1, 3_000_000])
@pytest.mark.parametrize("refusal", [None, errno.EXDEV, errno.EOPNOTSUPP])
def test_bytes_are_copied_whether_the_kernel_helps_or_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, refusal: int | None
) -> None:
    content = os.urandom(size)
    source, target = opened(tmp_path / "a", content), opened(tmp_path / "b", b"")
    if refusal:
        monkeypatch.setattr(writing.os, "copy_file_range", _refusing(refusal))
    assert copy_bytes(source, target, size) == size
    assert (tmp_path / "b").read_bytes() == content
    for descriptor in (source, target):
        os.lseek(descriptor, 0, os.SEEK_SET)
    assert copy_bytes(source, target, size + 1_000_000) == size  # it became shorter
    for descriptor in (source, target):
        os.close(descriptor)


def test_a_copy_that_breaks_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = opened(tmp_path / "a", bytes(1 << 20)), opened(tmp_path / "b", b"")
    monkeypatch.setattr(writing.os, "copy_file_range", _refusing(errno.ENOSPC))
    with pytest.raises(OSError, match="No space"):
        copy_bytes(source, target, 1 << 20)
    for descriptor in (source, target):
        os.close(descriptor)


def _refusing(number: int) -> object:
    def refuse(source: int, target: int, count: int) -> int:
        raise OSError(number, os.strerror(number))

    return refuse
