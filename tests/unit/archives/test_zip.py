"""What zip archives say of their members, and what is refused: each beside the same archive undamaged."""

from __future__ import annotations

import dataclasses
import os
import re
import stat
import struct
import subprocess
import zipfile
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from tests.support.zip_builder import DEFLATED, FAT, STORED, UTF8, Part, build, extra, time_field

from restore_drill.archives.digest import DigestBook
from restore_drill.archives.members import TreeLimits
from restore_drill.archives.tree import TreeWriter
from restore_drill.archives.zip import ZipArchive
from restore_drill.disk import Workspace
from restore_drill.errors import BackupFailed, CouldNotVerify, RestoreDrillError
from restore_drill.model import Stage
from restore_drill.testing.archive import pieces

TEXT = b"some text, compressible: " * 200
DESCRIPTOR = struct.pack("<3L", zlib.crc32(TEXT), len(Part(b"", TEXT).body()), len(TEXT))
DESCRIPTOR64 = struct.pack("<L2Q", zlib.crc32(TEXT), len(Part(b"", TEXT).body()), len(TEXT))
ZEROS = {"crc": 0, "packed": 0, "size": 0}
WIDE = {"packed": 0xFFFFFFFF, "size": 0xFFFFFFFF}


def zip64(*numbers: int) -> bytes:
    return extra(0x0001, struct.pack(f"<{len(numbers)}Q", *numbers))


def one(**changes: Any) -> Part:
    return dataclasses.replace(Part(b"dir/file", TEXT), **changes)


@pytest.fixture
def unpack(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    def unpack(data: bytes, limits: TreeLimits = TreeLimits(), name: str = "root") -> dict[str, Any]:  # noqa: B008
        root = tmp_path / name
        tree = TreeWriter(root, limits, book=DigestBook(str(tmp_path)))
        archive = ZipArchive()
        archive.workspace = Workspace(tmp_path)
        try:
            archive.unpack(pieces(data, 5000), tree)
            return tree.finish()
        finally:
            tree.close()
            assert all(path.is_dir() for path in tmp_path.iterdir())  # nothing staged has a name

    return unpack


Unpack = Callable[..., dict[str, Any]]
HONEST = {
    "stored": build([one(method=STORED)]),
    "comment": build([one()], comment=b"made by hand"),
    "comment with a mark in it": build([one()], comment=b"PK\x05\x06" + bytes(18) + b"behind it"),
    "described behind its data": build([one(flags=8, local=ZEROS, descriptor=b"PK\x07\x08" + DESCRIPTOR)]),
    "described without a mark": build([one(flags=8, local=ZEROS, descriptor=DESCRIPTOR)]),
    "described in 64 bits": build(
        [one(flags=8, local={**WIDE, "crc": 0, "extra": zip64(0, 0)}, descriptor=DESCRIPTOR64)]
    ),
    "described before and not behind": build([one(flags=8)]),
    "sizes in 64 bits": build([one(local={**WIDE, "extra": zip64(len(TEXT), len(one().body()))})]),
    "sizes in 64 bits in the directory": build([one(central={**WIDE, "extra": zip64(len(TEXT), len(one().body()))})]),
    "aligned with zeros": build([one(behind=bytes(70)), one(name=b"other")]),
    "directory in another order": build([one(), one(name=b"b"), one(name=b"c")], order=[2, 0, 1]),
    "fields of no use": build([one(extra=extra(0xCAFE, b"") + b"\0\0")]),
    "input of the archiver": build([one(name=b"-", mode=stat.S_IFIFO | 0o600)]),
}  # fmt: skip


@pytest.mark.parametrize("name", HONEST)
def test_what_archivers_write_is_taken(name: str, unpack: Unpack, tmp_path: Path) -> None:
    assert unpack(HONEST[name])["files"] >= 1
    assert {path.read_bytes() for path in (tmp_path / "root").rglob("*") if path.is_file()} == {TEXT}


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def two_ends() -> bytes:
    """The comment is a second end, in whose directory the first end lies."""
    first = build([one()])
    _, start = struct.unpack("<2L", first[-10:-2])
    second = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1, 1, len(first) - start, start, 0)
    return first[:-2] + struct.pack("<H", len(second)) + second


QUOTED = [one(method=STORED, name=b"a"), one(method=STORED, name=b"b", central={"start": 0})]
DAMAGED = {
    "flip in the data": (flipped(HONEST["stored"], 60), "another CRC-32"),
    "flip in compressed data": (flipped(HONEST["comment"], 60), "at byte 0"),
    "wrong CRC": (build([one(local={"crc": 1}, central={"crc": 1})]), "another CRC-32"),
    "less than its size": (build([one(local={"size": 9999}, central={"size": 9999})]), "less than its size"),
    "more than its size": (build([one(local={"size": 9}, central={"size": 9})]), "more than its size"),
    "stored with two sizes": (build([one(method=STORED, local={"size": 9}, central={"size": 9})]), "data is left"),
    "data behind the data": (build([one(packed=one().body() + b"more")]), "data is left over"),
    "data that ends early": (build([one(packed=one().body()[:-1])]), "ends early"),
    "another name": (build([one(local={"name": b"dir/fil3"})]), "contradict each other"),
    "another method": (build([one(local={"method": STORED})]), "contradict each other"),
    "another CRC": (build([one(local={"crc": 1})]), "contradict each other"),
    "another size": (build([one(local={"packed": 1})]), "contradict each other"),
    "encrypted in one place": (build([one(local={"flags": 1})]), "contradict each other"),
    "described wrongly": (build([one(flags=8, local=ZEROS, descriptor=flipped(DESCRIPTOR, 5))]), "contradicts"),
    "described nowhere": (build([one(flags=8, local=ZEROS)]), "contradicts"),
    "a zip64 field too short": (build([one(central={**WIDE, "extra": zip64(len(TEXT))})]), "too short"),
    "a member twice in the directory": (build(QUOTED[:1], order=[0, 0], end={"here": 2, "entries": 2}), "overlap"),
    "a member inside another": (
        build([one(packed=one(name=b"x").body(), central={"packed": 9999}), one(name=b"b")], order=[1, 0]), "overlap",
    ),
    "a member nobody speaks of": (
        build([one(), one(name=b"gone"), one(name=b"b")], order=[0, 2], end={"here": 2, "entries": 2}),
        "does not speak of",
    ),
    "an entry too few": (build([one(), one(name=b"b")], end={"here": 1, "entries": 1}), "goes on behind its 1"),
    "an entry too many": (build([one()], end={"here": 2, "entries": 2}), "no entry of its directory|ends after"),
    "a directory elsewhere": (build([one()], end={"start": 7}), "does not lie where its end says"),
    "two ends": (two_ends(), "ambiguous: its comment holds a second end"),
    "one part of several": (build([one()], end={"disk": 1, "first": 1}), "one part of several"),
    "a member on another part": (build([one(central={"disk": 2})]), "one part of several"),
    "a member beyond everything": (
        build([one(central={"start": 0xFFFFFFFF, "extra": zip64(1 << 63)})]), "does not stand at its beginning",
    ),
    "a time beyond everything": (
        build([one(extra=extra(0x000A, bytes(4) + struct.pack("<2H3Q", 1, 24, 1 << 63, 0, 0)))]), "out of range",
    ),
    "name not UTF-8": (build([one(name=b"\xff", flags=UTF8, host=FAT)]), "said to be UTF-8"),
    "behind something else": (b"PK\x03\x04 and text" + HONEST["comment"], "does not lie where its end says"),
}  # fmt: skip


def refusal(unpack: Unpack, data: bytes, **how: Any) -> RestoreDrillError:
    with pytest.raises((BackupFailed, CouldNotVerify)) as caught:
        unpack(data, **how)
    assert caught.value.stage is Stage.UNPACK and caught.value.remedy
    return caught.value


@pytest.mark.parametrize("name", DAMAGED)
def test_damage_is_refused(name: str, unpack: Unpack) -> None:
    data, says = DAMAGED[name]
    problem = refusal(unpack, data)
    assert isinstance(problem, BackupFailed)
    assert re.search(says, problem.cause), problem.cause


FOREIGN = {
    "backslashes": ([one(name=b"dir\\file", host=FAT, attributes=0x20)], "divided by backslashes"),
    "a drive": ([one(name=b"C:/file", host=FAT, attributes=0x20)], "begins with a drive"),
    "a directory with data": ([one(name=b"dir/", data=b"x", mode=stat.S_IFDIR | 0o755)], "brings data along"),
    "a link too long": ([one(name=b"a-link", data=b"x" * 5000, mode=stat.S_IFLNK | 0o777)], "more data along"),
    "a door": ([one(mode=0o150644)], "no known type"),
    "a device": ([one(data=b"", mode=stat.S_IFCHR | 0o644)], "is a device"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_members_that_cannot_be_are_refused(name: str, unpack: Unpack) -> None:
    parts, says = FOREIGN[name]
    problem = refusal(unpack, build(parts))
    assert isinstance(problem, BackupFailed) and says in problem.cause and problem.details
    assert parts[0].name.decode() not in str(problem)


UNREAD = {
    "a password": ([one(flags=1)], "encrypted with a password"),
    "AES": ([one(flags=1, method=99)], "encrypted with a password"),
    "Deflate64": ([one(method=9, packed=b"x")], r"method 9 \(Deflate64\)"),
    "PPMd": ([one(method=98, packed=b"x")], r"method 98 \(PPMd\)"),
    "a later method": ([one(method=200, packed=b"x")], r"method 200 \(unknown\)"),
}


@pytest.mark.parametrize("name", UNREAD)
def test_what_cannot_be_read_is_no_damage(name: str, unpack: Unpack) -> None:
    parts, says = UNREAD[name]
    problem = refusal(unpack, build(parts))
    assert type(problem) is CouldNotVerify
    assert re.search(says, problem.cause)


def test_a_bomb_is_refused_before_anything_is_written(unpack: Unpack, tmp_path: Path) -> None:
    kernel = one(data=bytes(1 << 20))
    quoted = build([kernel], order=[0] * 300, end={"here": 300, "entries": 300})
    assert "overlap" in refusal(unpack, quoted, limits=TreeLimits(ratio=1 << 40), name="quoted").cause
    size = {"size": 1 << 31}
    assert "limits.ratio" in refusal(unpack, build([one(local=size, central=size)]), name="large").remedy
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert unpack(build([kernel]), TreeLimits(ratio=1), name="small")["bytes"] == 1 << 20


def test_an_unpacked_member_ends_at_its_size(unpack: Unpack, tmp_path: Path) -> None:
    small = {"size": 1000}
    problem = refusal(unpack, build([one(data=bytes(64 << 20), local=small, central=small)]))
    assert "more than its size" in problem.cause
    assert sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()) <= 1000


def test_names_are_bytes_and_translated_only_where_they_are_not(unpack: Unpack, tmp_path: Path) -> None:
    unicode_path = extra(0x7075, b"\1" + struct.pack("<L", zlib.crc32(b"caf?")) + "café-4".encode())
    parts = [
        one(name=b"raw-\xff"),
        one(name="utf8-é".encode(), flags=UTF8, host=FAT, attributes=0),
        one(name=b"437-\x82", host=FAT, attributes=0),
        one(name=b"caf?", host=FAT, attributes=0, extra=unicode_path),
        one(name=b"said-\xff", flags=UTF8),
    ]
    facts = unpack(build(parts))
    expected = {b"raw-\xff", "utf8-é".encode(), "437-é".encode(), "café-4".encode(), b"said-\xff"}
    assert {os.fsencode(path.name) for path in (tmp_path / "root").iterdir()} == expected
    assert facts["notes"] == [
        "names that are said to be UTF-8 and are not, taken as they are: 1", "names translated from code page 437: 1",
    ]  # fmt: skip


def test_modes_and_times_come_from_where_they_stand(unpack: Unpack, tmp_path: Path) -> None:
    ntfs = extra(0x000A, bytes(4) + struct.pack("<2H3Q", 1, 24, 116_444_736_000_000_000 + 15_000_000_000 + 7, 0, 0))
    parts = [
        one(name=b"unix", mode=stat.S_IFREG | 0o751, extra=time_field(1500)),
        one(name=b"windows", host=FAT, attributes=0x20, extra=ntfs),
        one(name=b"read-only", host=FAT, attributes=0x21),
        one(name=b"without", mode=0),
        Part(b"folder/", host=FAT, attributes=0x10, method=STORED),
    ]
    unpack(build(parts))
    found = {path.name: path.stat() for path in (tmp_path / "root").iterdir()}
    modes = {name: stat.S_IMODE(status.st_mode) for name, status in found.items()}
    assert modes == {"unix": 0o751, "windows": 0o644, "read-only": 0o444, "without": 0o644, "folder": 0o755}
    assert found["unix"].st_mtime_ns == 1500 * 10**9
    assert found["windows"].st_mtime_ns == 1500 * 10**9 + 700
    assert found["without"].st_mtime == 1_767_225_600  # 2026-01-01 as MS-DOS keeps it, taken for UTC


def test_owners_come_back_where_they_are_known(unpack: Unpack, tmp_path: Path) -> None:
    owner = extra(0x7875, b"\1" + b"\4" + struct.pack("<L", 1234) + b"\2" + struct.pack("<H", 567))
    unpack(build([one(name=b"known", extra=owner), one(name=b"unknown")]))
    ours = (os.geteuid(), os.getegid())
    found = {path.name: (path.stat().st_uid, path.stat().st_gid) for path in (tmp_path / "root").iterdir()}
    assert found == {"known": (1234, 567) if ours[0] == 0 else ours, "unknown": ours}


@pytest.fixture
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree for the programs to pack."""
    root = tmp_path_factory.mktemp("original")
    (root / "d" / "empty").mkdir(parents=True)
    (root / "d" / "text").write_bytes(TEXT * 500)
    (root / "d" / "noise").write_bytes(os.urandom(300_000))
    (root / "d" / "text").chmod(0o750)
    (root / "zero").touch()
    (root / "ünï code").write_bytes(b"x")
    (root / "d" / "link").symlink_to("../zero")
    return root


PROGRAMS = {
    "zip": ["zip", "-q", "-r", "-y", "{to}", "."],
    "zip bzip2": ["zip", "-q", "-r", "-y", "-Z", "bzip2", "{to}", "."],
    "zip of 64 bits": ["zip", "-q", "-r", "-y", "-fz", "{to}", "."],
    "zip stored": ["zip", "-q", "-r", "-y", "-0", "{to}", "."],
    "7zz": ["7zz", "a", "-tzip", "-snl", "{to}", "."],
    "7zz LZMA": ["7zz", "a", "-tzip", "-mm=LZMA", "-snl", "{to}", "."],
    "bsdtar": ["bsdtar", "--format", "zip", "-cf", "{to}", "."],
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_reads_what_programs_write(
    name: str, original: Path, unpack: Unpack, tmp_path: Path, require_program: Callable[[str], str]
) -> None:
    program, *arguments = PROGRAMS[name]
    to = original.parent / f"{name}.zip"
    to.unlink(missing_ok=True)
    command = [require_program(program), *(argument.format(to=to) for argument in arguments)]
    subprocess.run(command, cwd=original, check=True, capture_output=True)
    facts = unpack(to.read_bytes())
    assert (facts["files"], facts["directories"], facts["links"]) == (4, 2, 1)
    for path in original.rglob("*"):
        found = tmp_path / "root" / path.relative_to(original)
        assert found.lstat().st_mode == path.lstat().st_mode
        assert abs(found.lstat().st_mtime - path.lstat().st_mtime) <= 2 or found.is_symlink()
        assert found.is_dir() or found.read_bytes() == path.read_bytes()


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
@pytest.mark.parametrize("seekable", [True, False], ids=["file", "stream"])
def test_reads_what_python_writes(method: int, seekable: bool, unpack: Unpack, tmp_path: Path) -> None:
    class Pipe:
        def __init__(self) -> None:
            self.written = b""

        def write(self, data: bytes) -> int:
            self.written += data
            return len(data)

        def flush(self) -> None:
            pass

    file: Any = BytesIO() if seekable else Pipe()
    with zipfile.ZipFile(file, "w", method) as archive:
        archive.writestr("a", TEXT)
        archive.writestr("b", b"")
        archive.writestr("c/d", os.urandom(5000))
    assert unpack(file.getvalue() if seekable else file.written)["files"] == 3
    assert (tmp_path / "root" / "a").read_bytes() == TEXT


def test_an_archive_of_zstd_members(unpack: Unpack, tmp_path: Path) -> None:
    from tests.support.contents import xz, zst

    unpack(build([one(method=93, packed=zst(TEXT)), one(name=b"x", method=95, packed=xz(TEXT))]))
    assert (tmp_path / "root/x").read_bytes() == (tmp_path / "root/dir/file").read_bytes() == TEXT


def test_what_we_take_unzip_takes(tmp_path: Path, require_program: Callable[[str], str]) -> None:
    """Our own builder and reader could agree with each other and with nobody else."""
    program = require_program("unzip")
    ours_alone = {"described before and not behind", "aligned with zeros", "comment with a mark in it"}
    for name in HONEST.keys() - ours_alone:
        path = tmp_path / "archive.zip"
        path.write_bytes(HONEST[name])
        done = subprocess.run([program, "-tq", path], capture_output=True, text=True, check=False)
        assert done.returncode == 0, (name, done.stdout)


def test_two_files_have_one_name_only(unpack: Unpack) -> None:
    with pytest.raises(BackupFailed, match="the same path"):
        unpack(build([one(), one(method=DEFLATED)]))
