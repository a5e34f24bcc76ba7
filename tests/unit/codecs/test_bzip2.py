from __future__ import annotations

import bz2
import random
import shutil
import subprocess
from collections.abc import Callable

import pytest

from restore_drill.codecs.bzip2 import Bzip2Codec
from restore_drill.errors import BackupFailed
from restore_drill.testing.codec import CodecConformance, content, pieces


class TestBzip2(CodecConformance):
    @pytest.fixture(autouse=True)
    def program(self, require_program: Callable[[str], str]) -> None:
        require_program("bzip2")

    def codec(self) -> Bzip2Codec:
        return Bzip2Codec()

    def encode(self, data: bytes) -> bytes:
        return bzip2(data)


def bzip2(data: bytes, *options: str) -> bytes:
    program = shutil.which("bzip2") or "bzip2"
    return subprocess.run([program, "-c", *options], input=data, capture_output=True, check=True).stdout


def decode(*chunks: bytes) -> bytes:
    return b"".join(Bzip2Codec().decode(iter(chunks)))


def test_streams_are_counted() -> None:
    codec = Bzip2Codec()
    streams = b"".join(bz2.compress(data) for data in (b"a", b"", b"b"))
    assert b"".join(codec.decode(pieces(streams, 5))) == b"ab"
    assert codec.facts()["streams"] == 3


def test_the_beginning_of_a_text_is_none() -> None:
    assert Bzip2Codec.recognises(bz2.compress(b"")) and Bzip2Codec.recognises(bz2.compress(b"x"))
    assert not Bzip2Codec.recognises(b"BZh9 is how they begin")
    assert not Bzip2Codec.recognises(b"BZh0" + bz2.compress(b"x")[4:])


def test_the_error_says_where() -> None:
    first, second = bz2.compress(b"a"), bz2.compress(content(1000))
    with pytest.raises(BackupFailed, match=f"inside stream 2, after {len(first + second) - 9} bytes"):
        decode(first + second[:-9])
    with pytest.raises(BackupFailed, match=f"trailing bytes: from byte {len(first)} on"):
        decode(first + b"BZ" + bytes(9))


def test_agrees_with_the_program_about_random_damage(require_program: Callable[[str], str]) -> None:
    program, source = require_program("bzip2"), random.Random(23)
    streams = [bz2.compress(content(size)) for size in (0, 1, 30, 3000)]
    accepted = refused = 0
    for number in range(300):
        stream = source.choice(streams)
        harmed = bytearray(stream + source.choice((b"", b"", b"", bytes(8), b"x", stream)))
        for _ in range(0 if number % 6 == 0 else 1):
            at = source.randrange(len(harmed))
            harmed[at : at + source.randrange(3)] = source.randbytes(source.randrange(3))
        done = subprocess.run([program, "-dc"], input=harmed, capture_output=True, check=False)
        theirs = done.stdout if done.returncode == 0 and b"trailing garbage" not in done.stderr else None
        try:
            ours = decode(bytes(harmed))
        except BackupFailed:
            ours = None
        assert ours == theirs, (done, harmed.hex())
        accepted, refused = accepted + (ours is not None), refused + (ours is None)
    assert accepted > 20 and refused > 150


def test_reads_what_the_program_writes(require_program: Callable[[str], str]) -> None:
    require_program("bzip2")
    data = content(2_500_000)
    for options in (["-1"], ["-9"]):
        written = bzip2(data, *options)
        assert b"".join(Bzip2Codec().decode(pieces(written, 65536))) == data
