from __future__ import annotations

import random
import shutil
import subprocess
from collections.abc import Callable

import pytest

from restore_drill.codecs.lzip import LzipCodec
from restore_drill.errors import BackupFailed
from restore_drill.testing.codec import CodecConformance, content, pieces


@pytest.fixture(autouse=True)
def _program(require_program: Callable[[str], str]) -> None:
    require_program("lzip")


class TestLzip(CodecConformance):
    padding = b"\0"

    def codec(self) -> LzipCodec:
        return LzipCodec()

    def encode(self, data: bytes) -> bytes:
        return lzip(data, "-0")


def lzip(data: bytes, *options: str) -> bytes:
    program = shutil.which("lzip") or "lzip"
    return subprocess.run([program, "-c", *options], input=data, capture_output=True, check=True).stdout


def decode(*chunks: bytes) -> bytes:
    return b"".join(LzipCodec().decode(iter(chunks)))


def test_members_are_counted() -> None:
    codec = LzipCodec()
    stream = lzip(b"a") + lzip(b"") + lzip(b"b")
    assert b"".join(codec.decode(pieces(stream, 5))) == b"ab"
    assert codec.facts()["members"] == 3


def test_members_of_the_first_version_have_a_shorter_trailer() -> None:
    now = lzip(b"content")
    before = b"LZIP\0" + now[5:-8]
    assert LzipCodec.recognises(before) and decode(before) == decode(before, now)[:7] == b"content"
    assert not LzipCodec.recognises(b"LZIP\2" + now[5:])
    with pytest.raises(BackupFailed, match="version"):
        decode(b"LZIP\2" + now[5:])


@pytest.mark.parametrize("position", range(1, 21))
def test_crc_and_both_sizes_are_verified(position: int) -> None:
    stream = bytearray(lzip(b"content" * 100))
    stream[-position] ^= 1
    with pytest.raises(BackupFailed, match="CRC-32 or sizes"):
        decode(bytes(stream))


def test_agrees_with_the_program_about_random_damage(require_program: Callable[[str], str]) -> None:
    program, source = require_program("lzip"), random.Random(27)
    streams = [lzip(content(size), "-0") for size in (0, 1, 30, 3000)]
    accepted = refused = 0
    for number in range(250):
        stream = source.choice(streams)
        harmed = bytearray(stream + source.choice((b"", b"", b"", bytes(8), stream)))
        for _ in range(0 if number % 6 == 0 else 1):
            at = source.randrange(len(harmed))
            harmed[at : at + source.randrange(3)] = source.randbytes(source.randrange(3))
        command = [program, "-dc", "--trailing-error"] if bytes(harmed).rstrip(b"\0") == harmed else [program, "-dc"]
        done = subprocess.run(command, input=harmed, capture_output=True, check=False)
        try:
            ours = decode(bytes(harmed))
        except BackupFailed:
            ours = None
        theirs = done.stdout if done.returncode == 0 else None
        assert ours == theirs or (ours is None and command[-1] == "-dc"), (done, harmed.hex())
        accepted, refused = accepted + (ours is not None), refused + (ours is None)
    assert accepted > 20 and refused > 100


def test_reads_what_the_program_writes() -> None:
    data = content(1_500_000)
    for options in (["-0"], ["-6"], ["-s", "65537", "-b", "200000"]):
        assert b"".join(LzipCodec().decode(pieces(lzip(data, *options), 65536))) == data
