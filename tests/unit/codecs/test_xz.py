from __future__ import annotations

import itertools
import lzma
import random
import subprocess
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from restore_drill.codecs.xz import XzCodec
from restore_drill.errors import BackupFailed, CouldNotVerify
from restore_drill.testing.codec import CodecConformance, content

CHECKS = {"none": lzma.CHECK_NONE, "crc32": lzma.CHECK_CRC32, "crc64": lzma.CHECK_CRC64, "sha256": lzma.CHECK_SHA256}


class XzConformance(CodecConformance):
    padding = b"\0"
    check = lzma.CHECK_CRC64

    def codec(self) -> XzCodec:
        return XzCodec()

    def encode(self, data: bytes) -> bytes:
        return lzma.compress(data, check=self.check, preset=1)


class TestXz(XzConformance):
    pass


class TestXzSha256(XzConformance):
    check = lzma.CHECK_SHA256


class TestXzWithoutCheck(XzConformance):
    check = lzma.CHECK_NONE
    notices_flips = False


def decode(*chunks: bytes) -> bytes:
    return b"".join(XzCodec().decode(iter(chunks)))


def header_of_block_changed(stream: bytes, at: int, value: int) -> bytes:
    """The stream with a byte of its first block's header replaced and that header's CRC32 mended."""
    size = (stream[12] + 1) * 4
    header = bytearray(stream[12 : 12 + size])
    header[at] = value
    header[-4:] = zlib.crc32(header[:-4]).to_bytes(4, "little")
    return stream[:12] + bytes(header) + stream[12 + size :]


@pytest.mark.parametrize("name", CHECKS)
def test_the_check_is_recorded(name: str) -> None:
    codec = XzCodec()
    assert b"".join(codec.decode(iter([lzma.compress(b"content", check=CHECKS[name])]))) == b"content"
    assert codec.facts()["content_check"] == [name]
    assert codec.facts()["self_checking"] is (name != "none")


def test_one_stream_without_check_among_others_is_recorded() -> None:
    codec = XzCodec()
    streams = lzma.compress(b"a") + lzma.compress(b"b", check=lzma.CHECK_NONE)
    assert b"".join(codec.decode(iter([streams]))) == b"ab"
    assert codec.facts()["streams"] == 2
    assert codec.facts()["self_checking"] is False


def test_a_flip_in_unchecked_content_is_not_noticed() -> None:
    stream = bytearray(lzma.compress(b"incompressible: \x93\x1f\xe8", check=lzma.CHECK_NONE))
    at = stream.index(b"compress")
    stream[at] ^= 1
    assert decode(bytes(stream)) == b"inbompressible: \x93\x1f\xe8"
    checked = bytearray(lzma.compress(b"incompressible: \x93\x1f\xe8"))
    assert decode(bytes(checked)) == b"incompressible: \x93\x1f\xe8"
    checked[checked.index(b"compress")] ^= 1
    with pytest.raises(BackupFailed, match="stream 1, near byte"):
        decode(bytes(checked))


@pytest.mark.parametrize("zeros", range(17))
def test_padding_comes_in_fours(zeros: int) -> None:
    first, second = lzma.compress(b"a"), lzma.compress(b"b")
    if zeros % 4:
        with pytest.raises(BackupFailed, match=f"trailing bytes: from byte {len(first)} on"):
            decode(first + bytes(zeros))
        with pytest.raises(BackupFailed, match="trailing bytes"):
            decode(first + bytes(zeros), second)
    else:
        assert decode(first + bytes(zeros)) == b"a"
        assert decode(first, bytes(zeros), second) == b"ab"


def test_an_empty_stream_is_a_stream() -> None:
    assert decode(lzma.compress(b"") * 2 + lzma.compress(b"x")) == b"x"


def test_a_dictionary_beyond_reason_is_no_verdict() -> None:
    stream = lzma.compress(b"content" * 100)
    assert stream[12 + 2 : 12 + 4] == b"\x21\x01"  # the filter LZMA2 with one byte of properties: the dictionary's size
    assert decode(header_of_block_changed(stream, 4, 37)) == b"content" * 100  # 1.5 GiB: the most that xz itself writes
    with pytest.raises(CouldNotVerify, match="more memory than the 1600 MiB") as caught:
        decode(header_of_block_changed(stream, 4, 40))  # 4 GiB
    assert caught.value.remedy


def test_an_unknown_filter_is_no_verdict() -> None:
    stream = lzma.compress(b"content" * 100)
    with pytest.raises(CouldNotVerify, match="does not know"):
        decode(header_of_block_changed(stream, 2, 0x3F))
    with pytest.raises(BackupFailed):
        decode(stream[:12] + b"\x02\x00\x3f" + stream[15:])  # the same without a fitting CRC32: damage


def test_lzma_alone_is_not_recognised() -> None:
    assert not XzCodec.recognises(lzma.compress(b"content", format=lzma.FORMAT_ALONE))


@settings(deadline=None)
@given(
    data=st.binary(max_size=3000),
    check=st.sampled_from(sorted(CHECKS)),
    cuts=st.lists(st.integers(0, 3000), max_size=6),
)
def test_any_data_with_any_check(data: bytes, check: str, cuts: list[int]) -> None:
    encoded = lzma.compress(data, check=CHECKS[check], preset=0)
    borders = [0, *sorted(min(cut, len(encoded)) for cut in cuts), len(encoded)]
    assert decode(*(encoded[a:b] for a, b in itertools.pairwise(borders))) == data


def test_agrees_with_the_program_about_random_damage(require_program: Callable[[str], str]) -> None:
    program, source = require_program("xz"), random.Random(22)
    streams = [lzma.compress(content(size), preset=1) for size in (0, 1, 30, 3000)]
    accepted = refused = 0
    for number in range(300):
        stream = source.choice(streams)
        harmed = bytearray(stream + source.choice((b"", b"", bytes(8), bytes(3), b"x", stream)))
        for _ in range(0 if number % 6 == 0 else 1):
            at = source.randrange(len(harmed))
            harmed[at : at + source.randrange(3)] = source.randbytes(source.randrange(3))
        done = subprocess.run([program, "-dc"], input=harmed, capture_output=True, check=False)
        try:
            ours = decode(bytes(harmed))
        except BackupFailed:
            ours = None
        assert ours == (done.stdout if done.returncode == 0 else None), (done, harmed.hex())
        accepted, refused = accepted + (ours is not None), refused + (ours is None)
    assert accepted > 20 and refused > 150


@pytest.mark.parametrize(
    "options", [["-1"], ["-6", "--check=sha256"], ["-0", "-T2", "--block-size=65536"]], ids=" ".join
)
def test_reads_what_the_program_writes(require_program: Callable[[str], str], options: list[str]) -> None:
    program, data = require_program("xz"), content(1_000_000)
    written = subprocess.run([program, "-c", *options], input=data, capture_output=True, check=True).stdout
    assert decode(written) == data
