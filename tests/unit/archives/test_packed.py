"""Archives inside a tree: what compresses them is taken off, what must not be in them is refused."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import stat
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support.calls import DirectCall

from restore_drill.archives import packed
from restore_drill.archives.packed import unpack_file
from restore_drill.errors import BackupFailed, CouldNotVerify


def tar(content: bytes = b"content", mode: int = 0o600, name: str = "a/b") -> bytes:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as archive:
        member = tarfile.TarInfo(name)
        member.size, member.mode = len(content), mode
        archive.addfile(member, io.BytesIO(content))
    return raw.getvalue()


def unpack(work: Path, stored: bytes, *allow: str) -> Path:
    (work / "base.tar").write_bytes(stored)
    found = unpack_file(DirectCall(work), path="base.tar", root="tree", limits={"allow": list(allow)})
    assert found["files"] == 1
    return work / "tree" / "a" / "b"


@pytest.mark.parametrize(
    "pack",
    [bytes, gzip.compress, bz2.compress, lambda raw: gzip.compress(lzma.compress(raw))],
    ids=["plain", "gzip", "bzip2", "xz in gzip"],
)
def test_what_compresses_it_is_taken_off(pack: Callable[[bytes], bytes], tmp_path: Path) -> None:
    assert unpack(tmp_path, pack(tar())).read_bytes() == b"content"


@pytest.mark.parametrize(
    ("stored", "kind", "says"),
    [
        (gzip.compress(tar())[:-10], BackupFailed, "truncated"),
        (tar()[:-1024 * 9], BackupFailed, "end"),
        (gzip.compress(tar()) + b"more", BackupFailed, "trailing|behind|followed"),
        (tar(name="../b"), BackupFailed, "climbs out"),
        (tar(mode=0o4600), BackupFailed, "set-user-id"),
        (b"age-encryption.org/v1\n" + bytes(2000), CouldNotVerify, "encrypted by age"),
        (gzip.compress(gzip.compress(gzip.compress(tar()))), CouldNotVerify, "packed by gzip"),
        (b"", BackupFailed, "empty"),
    ],
    ids=["cut", "no end", "trailing", "hostile name", "set-id", "encrypted", "too deep", "empty"],
)  # fmt: skip
def test_what_cannot_be_unpacked_is_told_apart(stored: bytes, kind: type[Exception], says: str, tmp_path: Path) -> None:
    with pytest.raises(kind, match=says):
        unpack(tmp_path, stored)


def test_set_id_bits_stay_where_the_caller_looks_at_them(tmp_path: Path) -> None:
    assert unpack(tmp_path, tar(mode=0o4600), "setuid").lstat().st_mode & stat.S_ISUID


def test_a_bomb_ends_early(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = gzip.compress(tar(bytes(1 << 22)))
    assert unpack(tmp_path, bomb).stat().st_size == 1 << 22
    monkeypatch.setattr(packed, "_RATIO_FREE", 1 << 20)
    (tmp_path / "again").mkdir()
    with pytest.raises(BackupFailed, match="far more than its stored size"):
        unpack_file(DirectCall(tmp_path), path="base.tar", root="again/tree", limits={"ratio": 10})


def test_nothing_outside_of_the_work_directory_is_read(tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    (tmp_path / "secret.tar").write_bytes(tar())
    (work / "link.tar").symlink_to(tmp_path / "secret.tar")
    for path in ("../secret.tar", "link.tar"):
        with pytest.raises((CouldNotVerify, OSError)):
            unpack_file(DirectCall(work), path=path, root="tree", limits={})
