from __future__ import annotations

import random
import shutil
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support.zip_builder import FAT, Part, build

from restore_drill.codecs.zip import ZipCodec
from restore_drill.errors import BackupFailed, CouldNotVerify
from restore_drill.testing.codec import CodecConformance, content, pieces


class TestZip(CodecConformance):
    concatenates = False

    @pytest.fixture(autouse=True)
    def program(self, require_program: Callable[[str], str]) -> None:
        require_program("zip")

    def codec(self) -> ZipCodec:
        return ZipCodec()

    def encode(self, data: bytes) -> bytes:
        return info_zip(data)


def info_zip(data: bytes, *options: str) -> bytes:
    """What ``zip`` makes of its input: one member, described behind its data."""
    program = shutil.which("zip") or "zip"
    return subprocess.run([program, "-q", *options, "-", "-"], input=data, capture_output=True, check=True).stdout


def decode(data: bytes) -> bytes:
    return b"".join(ZipCodec().decode(pieces(data, 4096)))


def test_what_is_staged_and_how_it_was_compressed_is_recorded() -> None:
    codec, encoded = ZipCodec(), info_zip(b"content" * 100, "-Z", "bzip2")
    assert b"".join(codec.decode(iter([encoded]))) == b"content" * 100
    assert codec.facts() == {"staged": len(encoded), "method": 12}


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        ([], "holds 0 files"),
        ([Part(b"a", b"1"), Part(b"b", b"2"), Part(b"c", b"3")], "holds 3 files"),
        ([Part(b"d/", method=0)], "holds 0 files"),
        ([Part(b"a", b"b", mode=stat.S_IFLNK | 0o777)], "holds 0 files and 1 of another kind"),
        ([Part(b"../a", b"1")], "climbs out"),
        ([Part(b"/a", b"1")], "absolute"),
        ([Part(b"..\\a", b"1", host=FAT)], "climbs out"),
    ],
    ids=["none", "three", "a directory", "a link", "climbing", "absolute", "climbing backwards"],
)
def test_what_is_not_one_file_is_refused(parts: list[Part], says: str) -> None:
    assert decode(build([Part(b"a", b"1")])) == b"1"
    with pytest.raises(BackupFailed, match=says) as caught:
        decode(build(parts))
    assert caught.value.remedy


def test_directories_may_accompany_it() -> None:
    assert decode(build([Part(b"d/", method=0), Part(b"d/e/", method=0), Part(b"d/e/a", b"1")])) == b"1"


def test_a_password_is_no_damage(tmp_path: Path, require_program: Callable[[str], str]) -> None:
    (tmp_path / "file").write_bytes(content(3000))
    encrypted = {
        "zip": [require_program("zip"), "-q", "-P", "secret", "zip.zip", "file"],
        "7zz": [require_program("7zz"), "a", "-tzip", "-psecret", "-mem=AES256", "7zz.zip", "file"],
    }
    for name, command in encrypted.items():
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
        with pytest.raises(CouldNotVerify, match="encrypted with a password"):
            decode((tmp_path / f"{name}.zip").read_bytes())


def test_no_damage_changes_the_content_unnoticed(tmp_path: Path, require_program: Callable[[str], str]) -> None:
    """Where the program refuses, we do; where it passes over what is wrong, we may be stricter; never the reverse."""
    unzip, source = require_program("unzip"), random.Random(25)
    (tmp_path / "file").write_bytes(content(3000))
    named = [require_program("zip"), "-q", "-X", "named.zip", "file"]
    subprocess.run(named, cwd=tmp_path, check=True)
    originals = [info_zip(content(3000)), (tmp_path / "named.zip").read_bytes(), info_zip(content(3000), "-Z", "bzip2")]
    path, accepted, stricter, refused = tmp_path / "harmed.zip", 0, 0, 0
    for number in range(250):
        harmed = bytearray(source.choice(originals))
        for _ in range(0 if number % 6 == 0 else 1):
            at = source.randrange(len(harmed))
            harmed[at : at + source.randrange(3)] = source.randbytes(source.randrange(3))
        path.write_bytes(harmed)
        done = subprocess.run([unzip, "-p", path], capture_output=True, stdin=subprocess.DEVNULL, check=False)
        try:
            ours = decode(bytes(harmed))
        except (BackupFailed, CouldNotVerify):
            ours = None
            stricter += done.returncode == 0
        assert ours in (None, content(3000)), harmed.hex()
        accepted, refused = accepted + (ours is not None), refused + (ours is None)
    assert accepted > 30 and refused > 100 and stricter < 60


def test_the_program_unpacks_what_we_read(tmp_path: Path, require_program: Callable[[str], str]) -> None:
    program, data = require_program("zip"), content(2_000_000)
    (tmp_path / "file").write_bytes(data)
    for options in (["-0"], ["-1"], ["-9"], ["-fz"], ["-Z", "bzip2"]):
        subprocess.run([program, "-q", *options, "one.zip", "file"], cwd=tmp_path, check=True)
        assert decode((tmp_path / "one.zip").read_bytes()) == data
        (tmp_path / "one.zip").unlink()
