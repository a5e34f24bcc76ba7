"""Header by header: what the reader takes, and what it refuses, each beside its twin."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.support.tar_builder import (
    BLOCK,
    END,
    GNU,
    V7,
    archive,
    base256,
    header,
    long_name,
    member,
    padded,
    pax,
    sign,
)  # fmt: skip

from restore_drill.archives.members import ATTRIBUTES_DROPPED
from restore_drill.archives.tar import TarArchive
from restore_drill.errors import BackupFailed
from restore_drill.model import Stage

Unpack = Callable[..., dict[str, Any]]

_MAP = bytes(41) + b"%011o\0%011o\0" % (1000, 3) + bytes(72) + b"\0%011o\0" % 2000
SPARSE_GNU: dict[str, Any] = {"name": b"a", "kind": b"S", "magic": GNU, "tail": _MAP}
STAR_PREFIX = b"d".ljust(131, b"\0") + b"12345670123 12345670123 ".ljust(32) + b"tar\0"
A, B, C = member(b"a", b"1"), member(b"b", b"1", b"1", target=b"a"), member(b"c", b"2")
THREE = {"a": b"1", "b": b"1", "c": b"2"}


def sparse_1_0(pieces: bytes, data: bytes, size: int, stored: int | None = None) -> bytes:
    body = padded(pieces) + data
    records = {b"GNU.sparse.major": b"1", b"GNU.sparse.minor": b"0", b"GNU.sparse.name": b"a",
               b"GNU.sparse.realsize": b"%d" % size}  # fmt: skip
    return pax(records) + member(b"GNUSparseFile.0/a", body, size=len(body) if stored is None else stored)


GOOD: dict[str, tuple[bytes, dict[str, bytes]]] = {
    "v7": (member(b"a", b"1", b"\0", magic=V7), {"a": b"1"}),
    "v7 directory": (member(b"d/", kind=b"\0", magic=V7) + member(b"d/a", b"1", b"\0", magic=V7), {"d/a": b"1"}),
    "ustar prefix": (member(b"a", b"1", tail=b"d/e"), {"d/e/a": b"1"}),
    "prefix of another format": (member(b"a", b"1", tail=b"d/e", magic=GNU), {"a": b"1"}),
    "star prefix": (member(b"a", b"1", tail=STAR_PREFIX), {"d/a": b"1"}),
    "contiguous": (member(b"a", b"1", b"7"), {"a": b"1"}),
    "signed checksum": (sign(header(b"a\xff\xfe", size=1), signed=True) + padded(b"1"), {"a\udcff\udcfe": b"1"}),
    "size in base 256": (member(b"a", b"1", size=base256(1, 12)), {"a": b"1"}),
    "size without terminator": (member(b"a", b"1", size=b"000000000001"), {"a": b"1"}),
    "size led by blanks": (member(b"a", b"1", size=b"         1 \0"), {"a": b"1"}),
    "time before the epoch": (member(b"a", b"1", mtime=-5), {"a": b"1"}),
    "owner in base 256": (member(b"a", b"1", uid=2**31, gid=2**21), {"a": b"1"}),
    "an owner nobody can be": (member(b"a", b"1", uid=-2), {"a": b"1"}),
    "long name": (long_name(b"d/" + b"n" * 200) + member(b"d/nnn", b"1", magic=GNU), {"d/" + "n" * 200: b"1"}),
    "pax name": (pax({b"path": b"d/b"}) + A, {"d/b": b"1"}),
    "pax name over a long name": (long_name(b"c") + pax({b"path": b"b"}) + A, {"b": b"1"}),
    "two pax headers": (pax({b"path": b"b"}) + pax({b"uid": b"7"}) + A, {"b": b"1"}),
    "pax header of Solaris": (pax({b"path": b"b"}, b"X") + A, {"b": b"1"}),
    "pax bytes": (pax({b"hdrcharset": b"BINARY", b"path": b"\xff"}) + A, {"\udcff": b"1"}),
    "pax size": (pax({b"size": b"3"}) + header(b"a", size=0) + padded(b"123"), {"a": b"123"}),
    "pax unknown keys": (pax({b"GOLANG.pkg": b"tar", b"comment": b"\0="}) + A, {"a": b"1"}),
    "pax value that is deleted": (pax({b"path": b"b"}, b"g") + pax({b"path": b""}) + A, {"a": b"1"}),
    "pax for one member only": (pax({b"path": b"b"}) + A + member(b"c", b"2"), {"b": b"1", "c": b"2"}),
    "global comment": (pax({b"comment": b"0" * 40}, b"g") + A, {"a": b"1"}),
    "global header at the end": (A + pax({b"uid": b"1"}, b"g"), {"a": b"1"}),
    "volume label": (header(b"nightly", b"V", magic=GNU) + A, {"a": b"1"}),
    "unknown type": (member(b"a", b"1", b"W"), {"a": b"1"}),
    "Solaris access list": (member(b"a", b"acl", b"A") + A, {"a": b"1"}),
    "link that states a size": (A + header(b"b", b"1", 1, target=b"a") + C, THREE),
    "last link that states a size": (A + header(b"b", b"1", 1, target=b"a"), {"a": b"1", "b": b"1"}),
    "link that brings its data": (A + B + C, THREE),
    "directory that states a size": (header(b"d", b"5", 4096) + member(b"d/a", b"1"), {"d/a": b"1"}),
    "sparse, old GNU": (header(size=3, **SPARSE_GNU) + padded(b"123"), {"a": bytes(1000) + b"123" + bytes(997)}),
    "sparse, 0.0": (
        pax([(b"GNU.sparse.size", b"9"), (b"GNU.sparse.numblocks", b"2"), (b"GNU.sparse.offset", b"1"),
             (b"GNU.sparse.numbytes", b"2"), (b"GNU.sparse.offset", b"5"), (b"GNU.sparse.numbytes", b"1")])
        + member(b"a", b"123"), {"a": b"\x0012\0\x003\0\0\0"},
    ),
    "sparse, 0.1": (
        pax({b"GNU.sparse.size": b"9", b"GNU.sparse.map": b"1,2,5,1", b"GNU.sparse.name": b"a"})
        + member(b"GNUSparseFile.0/a", b"123"), {"a": b"\x0012\0\x003\0\0\0"},
    ),
    "sparse, 1.0": (sparse_1_0(b"2\n1\n2\n5\n1\n", b"123", 9), {"a": b"\x0012\0\x003\0\0\0"}),
    "sparse, nothing but a hole": (sparse_1_0(b"1\n1000\n0\n", b"", 1000), {"a": bytes(1000)}),
    "sparse, map longer than a block": (
        sparse_1_0(b"100\n" + b"".join(b"%d\n1\n" % (2 * number) for number in range(100)), b"x" * 100, 200),
        {"a": b"x\0" * 100},
    ),
}  # fmt: skip

BAD: dict[str, tuple[bytes, str]] = {
    "negative size": (header(b"a", size=base256(-1, 12)), "negative size"),
    "size that is no number": (header(b"a", size=b"12three\0"), "cannot be read"),
    "size beyond octal": (header(b"a", size=b"00000000009\0"), "cannot be read"),
    "size of an exabyte": (header(b"a", size=base256(2**60, 12)), "inside a member"),
    "time out of range": (member(b"a", b"1", mtime=2**60), "out of range"),
    "checksum": (bytes([0x62]) + A[1:], "checksum"),
    "text": (b"hello\n" * 200, "checksum"),
    "old GNU long name": (member(b"a", b"Rename a to b\n", b"N"), "old GNU long names"),
    "continued volume": (member(b"a", b"1", b"M"), "multi-volume"),
    "continued volume, pax": (
        pax({b"GNU.volume.filename": b"a", b"GNU.volume.offset": b"5"}, b"g") + A, "multi-volume",
    ),
    "directory with data": (member(b"d", b"x" * 600, b"5"), "cannot have any"),
    "symbolic link with data": (member(b"l", b"x" * 600, b"2", target=b"a"), "cannot have any"),
    "directory by its slash, with data": (member(b"d/", b"x" * 600), "cannot have any"),
    "empty name": (member(b"", b"1"), "empty name"),
    "empty link target": (member(b"l", kind=b"2"), "empty, too long"),
    "NUL in a pax name": (pax({b"path": b"a\0b"}) + A, "malformed extended record"),
    "pax record without newline": (member(b"x", b"17 path=PAX1/long", b"x") + A, "malformed extended record"),
    "pax record without equals": (member(b"x", b"8 path1\n", b"x") + A, "malformed extended record"),
    "pax record of length 0": (member(b"x", b"0 path=b\n", b"x") + A, "malformed extended record"),
    "pax record too long": (member(b"x", b"99 path=b\n", b"x") + A, "malformed extended record"),
    "pax record too short": (member(b"x", b"5 path=b\n", b"x") + A, "malformed extended record"),
    "pax record of a length in words": (member(b"x", b"ten path=b\n", b"x") + A, "malformed extended record"),
    "pax size negative": (pax({b"size": b"-1"}) + A, "cannot be read"),
    "pax size beyond 63 bits": (pax({b"size": b"9" * 19}) + A, "cannot be read"),
    "pax time that is none": (pax({b"mtime": b"noon"}) + A, "cannot be read"),
    "pax time without end": (pax({b"mtime": b"Infinity"}) + A, "out of range"),
    "pax time not a number": (pax({b"mtime": b"NaN"}) + A, "cannot be read|out of range"),
    "pax header of a gigabyte": (header(b"x", b"x", 2**30), "more than"),
    "long name of a gigabyte": (header(b"x", b"L", 2**30), "more than"),
    "pax header and no member": (A + pax({b"path": b"b"}), "does not follow"),
    "long name and no member": (A + long_name(b"b"), "does not follow"),
    "headers without end": (pax({b"uid": b"1"}) * 100 + A, "more than 64"),
    "sparse map that overlaps": (sparse_1_0(b"2\n0\n2\n1\n1\n", b"123", 9), "contradicts"),
    "sparse map beyond the end": (sparse_1_0(b"1\n8\n3\n", b"123", 9), "contradicts"),
    "sparse map with less data": (sparse_1_0(b"1\n1\n2\n", b"123", 9), "contradicts"),
    "sparse map with more data": (sparse_1_0(b"1\n1\n4\n", b"123", 9), "contradicts"),
    "sparse map negative": (sparse_1_0(b"1\n-1\n3\n", b"123", 9), "cannot be read"),
    "sparse map without end": (sparse_1_0(b"1" * 2000, b"", 9), "cannot be read"),
    "sparse map larger than the member": (sparse_1_0(b"1\n0\n0\n", b"", 9, stored=100), "contradicts|negative"),
    "sparse map of odd length": (
        pax({b"GNU.sparse.size": b"9", b"GNU.sparse.map": b"1,2,5"}) + member(b"a", b"12"), "contradicts",
    ),
    "sparse map out of order": (
        pax([(b"GNU.sparse.size", b"9"), (b"GNU.sparse.numbytes", b"2")]) + member(b"a", b"12"), "contradicts",
    ),
    "sparse of a version to come": (pax({b"GNU.sparse.major": b"2"}) + member(b"a", b"12"), "unknown version"),
    "old GNU sparse map with less data": (header(size=2, **SPARSE_GNU) + padded(b"12"), "contradicts"),
}  # fmt: skip


@pytest.mark.parametrize("name", GOOD)
def test_taken(tmp_path: Path, unpack: Unpack, name: str) -> None:
    data, expected = GOOD[name]
    facts = unpack(archive(data))
    root = tmp_path / "work" / "root"
    assert {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()} == expected
    assert unpack(archive(data), discard=True)["digest"] == facts["digest"]


@pytest.mark.parametrize("name", BAD)
def test_refused(tmp_path: Path, unpack: Unpack, name: str) -> None:
    data, cause = BAD[name]
    with pytest.raises(BackupFailed, match=cause) as caught:
        unpack(archive(data))
    assert caught.value.stage is Stage.UNPACK and caught.value.remedy


def test_mode_time_owner_of_a_header(tmp_path: Path, unpack: Unpack) -> None:
    unpack(archive(member(b"a", b"1", mode=0o640, mtime=-5), pax({b"mtime": b"1.5000000019"}) + member(b"b", b"2")))
    first, second = ((tmp_path / "work" / "root" / name).stat() for name in "ab")
    assert (first.st_mode & 0o7777, first.st_mtime_ns) == (0o640, -5 * 10**9)
    assert second.st_mtime_ns == 1_500_000_001


def test_attributes_that_are_dropped_are_noted(unpack: Unpack) -> None:
    carrying = pax({b"SCHILY.xattr.user.x": b"1", b"SCHILY.acl.access": b"user::rw-"}) + A
    assert unpack(archive(carrying), "a")["notes"] == [f"{ATTRIBUTES_DROPPED}: 1"]
    assert unpack(archive(A), "b")["notes"] == []


def test_one_zero_block_at_the_very_end_is_an_end_as_for_gnu_tar(unpack: Unpack) -> None:
    facts = unpack(A + bytes(BLOCK))
    assert facts["files"] == 1 and facts["notes"] == ["ended by a lone zero block: 1"]


@pytest.mark.parametrize("length", [0, 1, 300, 511])
def test_less_than_a_zero_block_is_no_end(unpack: Unpack, length: int) -> None:
    with pytest.raises(BackupFailed, match="without end-of-archive blocks"):
        unpack(A + bytes(length))


@pytest.mark.parametrize("length", [0, 1, 511, 512, 10_240, 3_000_001])
def test_zeros_after_the_end_are_padding(unpack: Unpack, length: int) -> None:
    assert unpack(archive(A) + bytes(length))["files"] == 1


@pytest.mark.parametrize("zeros", [1, 2, 40, 5000])
def test_members_behind_zero_blocks_are_not_passed_over(tmp_path: Path, unpack: Unpack, zeros: int) -> None:
    data = archive(A, bytes(zeros * BLOCK), member(b"b", b"2"))
    with pytest.raises(BackupFailed, match="at byte 1024 end the tar archive, but another archive or more members"):
        unpack(data, "refused")
    assert unpack(data, "taken", concatenated=True)["files"] == 2
    with pytest.raises(BackupFailed, match="no archive follows"):
        unpack(data.replace(member(b"b", b"2"), b"x" * BLOCK), "other", concatenated=True)


def test_an_archive_of_nothing_but_zeros_has_no_member(unpack: Unpack) -> None:
    assert unpack(END)["members"] == 0
    assert TarArchive.recognises(END) and TarArchive.recognises(member(b"a"))
    assert not TarArchive.recognises(bytes(511)) and not TarArchive.recognises(member(b"a")[:511])


def test_a_sparse_bomb_is_refused_before_it_goes_off(tmp_path: Path, unpack: Unpack) -> None:
    bomb = archive(sparse_1_0(b"1\n0\n0\n", b"", 60 << 30))
    with pytest.raises(BackupFailed, match="1000 times their data") as caught:
        unpack(bomb)
    assert "limits.ratio" in caught.value.remedy
    modest = archive(sparse_1_0(b"1\n0\n0\n", b"", 200 << 20))
    assert unpack(modest, "modest")["bytes"] == 200 << 20
    assert (tmp_path / "work" / "modest" / "a").stat().st_blocks < 100


def test_a_size_beyond_the_limit_is_refused_before_it_is_read(unpack: Unpack) -> None:
    with pytest.raises(BackupFailed, match=r"limits\.bytes"):
        unpack(archive(header(b"a", size=2**40)), bytes=2**30)
