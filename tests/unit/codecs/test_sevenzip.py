from __future__ import annotations

import random
import shutil
import subprocess
import tempfile
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support import sevenzip_builder

from restore_drill.codecs.sevenzip import SevenZipCodec
from restore_drill.errors import BackupFailed, CouldNotVerify
from restore_drill.testing.codec import CodecConformance, content, pieces


class TestSevenZip(CodecConformance):
    concatenates = False

    def codec(self) -> SevenZipCodec:
        return SevenZipCodec()

    def encode(self, data: bytes) -> bytes:
        return seven(data, "-m0=lzma2:a=0:d=64k")  # what is unpacked takes as much memory as the dictionary


@pytest.fixture(autouse=True)
def _program(require_program: Callable[[str], str]) -> None:
    require_program("7zz")


def seven(data: bytes, *options: str) -> bytes:
    """What ``7zz`` makes of its input: one file in an archive."""
    return packed({"content": data}, *options)


def packed(files: dict[str, bytes], *options: str) -> bytes:
    program = shutil.which("7zz") or "7zz"
    with tempfile.TemporaryDirectory() as directory:
        for name, data in files.items():
            path = Path(directory, "in", name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        command = [program, "a", "-mmt=1", *options, str(Path(directory, "out.7z")), "."]
        subprocess.run(command, cwd=Path(directory, "in"), capture_output=True, check=True)
        return Path(directory, "out.7z").read_bytes()


def decode(data: bytes) -> bytes:
    return b"".join(SevenZipCodec().decode(pieces(data, 4096)))


def test_what_the_program_read_from_a_pipe_is_a_file(tmp_path: Path) -> None:
    archive, program = tmp_path / "dump.7z", shutil.which("7zz") or "7zz"
    subprocess.run([program, "a", "-sidump.sql", archive], input=b"content", check=True, capture_output=True)
    assert decode(archive.read_bytes()) == b"content"


def test_what_is_staged_and_how_it_was_compressed_is_recorded() -> None:
    codec, encoded = SevenZipCodec(), seven(b"content" * 100, "-m0=bzip2")
    assert b"".join(codec.decode(iter([encoded]))) == b"content" * 100
    assert codec.facts() == {"staged": len(encoded), "methods": ["040202"], "self_checking": True}


@pytest.mark.parametrize(
    "options",
    [
        ["-m0=lzma2"], ["-m0=lzma"], ["-m0=bzip2"], ["-m0=deflate"], ["-m0=copy"], ["-mhc=off"],
        ["-m0=bcj", "-m1=lzma2"], ["-m0=delta:4", "-m1=lzma2"], ["-m0=delta:4", "-m1=lzma"], ["-mx=9"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_reads_what_the_program_writes(options: list[str]) -> None:
    data = content(400_000)
    assert decode(seven(data, *options)) == data


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["-psecret"], "encrypted with a password"),
        (["-psecret", "-mhe=on"], "encrypted with a password"),
        (["-m0=ppmd"], "PPMd"),
        (["-m0=deflate64"], "Deflate64"),
        (["-m0=bcj", "-m1=lzma"], "a filter for programs"),
        (["-m0=bcj2", "-m1=lzma", "-m2=lzma", "-m3=lzma", "-mb0:1", "-mb0s1:2", "-mb0s2:3"], "BCJ2"),
    ],
    ids=["password", "password for the names", "PPMd", "Deflate64", "LZMA of programs", "BCJ2"],
)
def test_what_is_not_read_is_no_damage(options: list[str], says: str) -> None:
    with pytest.raises(CouldNotVerify, match=says) as caught:
        decode(seven(content(4000), *options))
    assert "7zz t" in caught.value.remedy


def test_several_files_are_no_layer() -> None:
    assert decode(packed({"d/e/a": b"1"})) == b"1"
    with pytest.raises(BackupFailed, match="holds 2 files, and what is to be restored is one file"):
        decode(packed({"a": b"1", "b": b"2"}))


def header_changed(archive: bytes, change: Callable[[bytes], bytes]) -> bytes:
    """An archive with an uncompressed header, in which this is changed and every checksum mended."""
    at, size = (int.from_bytes(archive[a : a + 8], "little") for a in (12, 20))
    header = change(archive[32 + at : 32 + at + size])
    start = at.to_bytes(8, "little") + len(header).to_bytes(8, "little") + zlib.crc32(header).to_bytes(4, "little")
    return archive[:8] + zlib.crc32(start).to_bytes(4, "little") + start + archive[32 : 32 + at] + header


def test_a_name_that_climbs_is_refused() -> None:
    archive = seven(b"1", "-mhc=off")
    name, climbing = "content".encode("utf-16-le"), "../../c".encode("utf-16-le")
    assert decode(header_changed(archive, bytes)) == b"1"
    with pytest.raises(BackupFailed, match="climbs out"):
        decode(header_changed(archive, lambda header: header.replace(name, climbing)))


def test_no_header_asks_for_more_than_it_is_worth() -> None:
    """Its bytes replaced one by one by enormous numbers, with every checksum right: refused, quickly."""
    archive = packed({"a": b"1", "b/c": content(3000), "empty": b""}, "-mhc=off")
    size = int.from_bytes(archive[20:28], "little")
    accepted = 0
    for at in range(size):
        for number in (b"\xff" * 9, b"\xf0\xff\xff\xff\x7f", b"\x00", b"\x7f"):
            harmed = header_changed(archive, lambda header: header[:at] + number + header[at + 1 :])  # noqa: B023
            try:
                decode(harmed)
            except (BackupFailed, CouldNotVerify):
                continue
            accepted += 1
    assert accepted == 0  # they are several files, whatever else is changed


def test_no_damage_changes_the_content_unnoticed() -> None:
    program, source = shutil.which("7zz") or "7zz", random.Random(26)
    originals = [seven(content(3000), *options) for options in (["-mhc=off"], ["-m0=copy"], ["-m0=lzma"])]
    accepted = refused = 0
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "harmed.7z")
        for number in range(120):
            harmed = bytearray(source.choice(originals))
            for _ in range(0 if number % 6 == 0 else 1):
                at = source.randrange(len(harmed))
                harmed[at : at + source.randrange(3)] = source.randbytes(source.randrange(3))
            path.write_bytes(harmed)
            done = subprocess.run([program, "x", "-so", path], capture_output=True, check=False)
            try:
                ours = decode(bytes(harmed))
            except (BackupFailed, CouldNotVerify):
                ours = None
            assert ours == (done.stdout if done.returncode == 0 else None), harmed.hex()
            accepted, refused = accepted + (ours is not None), refused + (ours is None)
    assert accepted > 20 and refused > 60


def test_a_small_header_cannot_unpack_to_one_that_fills_the_memory() -> None:
    """One of 30 MiB that counts 15 million files: what a few kilobytes can be, once unpacked."""
    names = bytes(30 << 20)
    promised = b"\x01\x05" + sevenzip_builder.number(len(names) // 2)
    header = promised + b"\x11" + sevenzip_builder.number(1 + len(names)) + b"\0" + names + b"\0\0"
    tracemalloc.start()
    try:
        with pytest.raises(CouldNotVerify, match="more than 2,000,000 files"):
            decode(header_changed(seven(b"1", "-mhc=off"), lambda _: header))
        assert tracemalloc.get_traced_memory()[1] < 4 * len(header)
    finally:
        tracemalloc.stop()
