from __future__ import annotations

import random
import shutil
import subprocess
import sys
from collections.abc import Callable

import pytest

from restore_drill.codecs.lz4 import Lz4Codec
from restore_drill.codecs.zstd import ZstdCodec
from restore_drill.errors import BackupFailed, CouldNotVerify
from restore_drill.testing.codec import CodecConformance, content, pieces

SKIPPABLE = b"\x5a\x2a\x4d\x18\x05\0\0\0hello"


class Lz4Conformance(CodecConformance):
    #: Blocks of 256 KiB: of one of 4 MiB, the program's default, nothing comes out before all of it is there.
    options: tuple[str, ...] = ("-B5",)

    @pytest.fixture(autouse=True)
    def program(self, require_program: Callable[[str], str]) -> None:
        require_program("lz4")

    def codec(self) -> Lz4Codec:
        return Lz4Codec()

    def encode(self, data: bytes) -> bytes:
        return lz4(data, *self.options)


class TestLz4(Lz4Conformance):
    pass


class TestLz4WithoutChecksum(Lz4Conformance):
    options = ("--no-frame-crc", "-B4")
    notices_flips = False


def lz4(data: bytes, *options: str) -> bytes:
    program = shutil.which("lz4") or "lz4"
    return subprocess.run([program, "-c", *options], input=data, capture_output=True, check=True).stdout


@pytest.fixture(autouse=True)
def _program(require_program: Callable[[str], str]) -> None:
    require_program("lz4")


def decode(*chunks: bytes) -> bytes:
    return b"".join(Lz4Codec().decode(iter(chunks)))


def test_frames_are_counted_and_skippable_ones_passed_over() -> None:
    codec = Lz4Codec()
    stream = SKIPPABLE + lz4(b"a") + SKIPPABLE * 2 + lz4(b"b") + SKIPPABLE
    assert b"".join(codec.decode(pieces(stream, 3))) == b"ab"
    facts = codec.facts()
    assert (facts["frames"], facts["skippable_frames"], facts["self_checking"]) == (2, 4, True)
    assert facts["library"].startswith("lz4 4.")


def test_a_skippable_frame_belongs_to_what_follows_it() -> None:
    both = (Lz4Codec.recognises, ZstdCodec.recognises)
    assert [recognises(SKIPPABLE + lz4(b"a")) for recognises in both] == [True, False]
    assert [recognises(SKIPPABLE + b"\x28\xb5\x2f\xfd") for recognises in both] == [False, True]


def test_one_frame_without_checksum_among_others_is_recorded() -> None:
    codec = Lz4Codec()
    assert b"".join(codec.decode(iter([lz4(b"a") + lz4(b"b", "--no-frame-crc")]))) == b"ab"
    assert codec.facts()["self_checking"] is False


def test_a_flip_in_unchecked_content_is_not_noticed() -> None:
    data = b"incompressible: \x93\x1f\xe8"
    for options, noticed in ((["--no-frame-crc"], False), ([], True)):
        stream = bytearray(lz4(data, *options))
        stream[stream.index(b"compress")] ^= 1
        if noticed:
            with pytest.raises(BackupFailed, match="contentChecksum"):
                decode(bytes(stream))
        else:
            assert decode(bytes(stream)) == b"inbompressible: \x93\x1f\xe8"


def test_the_legacy_format_gives_no_verdict() -> None:
    legacy = lz4(b"content", "-l")
    assert Lz4Codec.recognises(legacy)
    for stream in (legacy, lz4(b"content") + legacy):
        with pytest.raises(CouldNotVerify, match="legacy format") as caught:
            decode(stream)
        assert "-l" in caught.value.remedy


def test_a_dictionary_that_is_not_held_is_no_verdict() -> None:
    frame = bytearray(lz4(b"content"))
    frame[4] |= 1
    with pytest.raises(CouldNotVerify, match="dictionary"):
        decode(bytes(frame))


def test_without_its_library_it_is_still_recognised(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = lz4(b"content")
    monkeypatch.setitem(sys.modules, "lz4.frame", None)
    monkeypatch.setattr(sys.modules["restore_drill.codecs.lz4"], "version_of", pytest.fail)  # there is no such package
    assert Lz4Codec.recognises(stream)
    codec = Lz4Codec()
    with pytest.raises(CouldNotVerify, match=r"needs lz4.*not installed") as caught:
        b"".join(codec.decode(iter([stream])))
    assert codec.facts()["frames"] == 1
    assert caught.value.remedy == "pip install 'pytest-restore-drill[lz4]'"


def test_agrees_with_the_program_about_random_damage(require_program: Callable[[str], str]) -> None:
    program, source = require_program("lz4"), random.Random(24)
    streams = [lz4(content(size), *options) for size in (0, 1, 30, 3000) for options in ((), ("-BX", "--content-size"))]
    accepted = refused = 0
    for number in range(300):
        stream = source.choice(streams)
        harmed = bytearray(stream + source.choice((b"", b"", b"", bytes(8), b"garbage", stream)))
        for _ in range(0 if number % 6 == 0 else 1):
            at = source.randrange(len(harmed))
            harmed[at : at + source.randrange(3)] = source.randbytes(source.randrange(3))
        if not Lz4Codec.recognises(harmed):
            continue  # the program passes on what it does not recognise
        done = subprocess.run([program, "-dc"], input=harmed, capture_output=True, check=False)
        try:
            ours = decode(bytes(harmed))
        except (BackupFailed, CouldNotVerify):
            ours = None
        assert ours == (done.stdout if done.returncode == 0 else None), (done, harmed.hex())
        accepted, refused = accepted + (ours is not None), refused + (ours is None)
    assert accepted > 20 and refused > 100


@pytest.mark.parametrize("options", [["-1"], ["-9", "-B7D", "--content-size"], ["-BX", "-B4"]], ids=" ".join)
def test_reads_what_the_program_writes(options: list[str]) -> None:
    data = content(5_000_000)
    assert b"".join(Lz4Codec().decode(pieces(lz4(data, *options), 65536))) == data
