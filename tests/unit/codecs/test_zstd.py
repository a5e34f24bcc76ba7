from __future__ import annotations

import itertools
import random
import subprocess
import sys
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from restore_drill.codecs.zstd import ZstdCodec
from restore_drill.errors import BackupFailed, CouldNotVerify
from restore_drill.testing.codec import CodecConformance, content, pieces

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

PARAMETER = zstd.CompressionParameter
LZ4_FRAME = b"\x04\x22\x4d\x18"


def encode(data: bytes, *, checksum: bool = True, **options: int) -> bytes:
    chosen = {getattr(PARAMETER, name): value for name, value in options.items()}
    return zstd.compress(data, options={PARAMETER.checksum_flag: checksum, **chosen})


def skippable(data: bytes, number: int = 0) -> bytes:
    return (0x184D2A50 + number).to_bytes(4, "little") + len(data).to_bytes(4, "little") + data


def decode(*chunks: bytes) -> bytes:
    return b"".join(ZstdCodec().decode(iter(chunks)))


class TestZstd(CodecConformance):
    def codec(self) -> ZstdCodec:
        return ZstdCodec()

    def encode(self, data: bytes) -> bytes:
        return encode(data)


class TestZstdWithoutChecksum(TestZstd):
    notices_flips = False

    def encode(self, data: bytes) -> bytes:
        return encode(data, checksum=False)


class TestZstdOfUnknownSize(TestZstd):
    """As written from a pipe: a window instead of the content's size."""

    def encode(self, data: bytes) -> bytes:
        compressor = zstd.ZstdCompressor(options={PARAMETER.checksum_flag: True, PARAMETER.window_log: 17})
        return compressor.compress(data) + compressor.flush()


def test_a_missing_checksum_is_recorded() -> None:
    codec = ZstdCodec()
    assert b"".join(codec.decode(iter([encode(b"a")]))) == b"a"
    assert codec.facts()["content_checksum"] is codec.facts()["self_checking"] is True
    assert b"".join(codec.decode(iter([encode(b"a") + encode(b"b", checksum=False)]))) == b"ab"
    assert codec.facts()["content_checksum"] is codec.facts()["self_checking"] is False
    assert codec.facts()["frames"] == 2


def test_a_flip_without_checksum_is_not_noticed() -> None:
    data = bytes(range(200))
    for checksum in (False, True):
        frame = bytearray(encode(data, checksum=checksum))
        assert decode(bytes(frame)) == data
        frame[frame.index(bytes(range(20)))] ^= 1
        if checksum:
            with pytest.raises(BackupFailed, match="checksum"):
                decode(bytes(frame))
        else:
            assert decode(bytes(frame)) == b"\x01" + data[1:]


def test_skippable_frames_are_passed_over() -> None:
    codec = ZstdCodec()
    stream = skippable(b"before") + encode(b"a") + skippable(content(300_000), 15) + encode(b"b") + skippable(b"")
    assert codec.recognises(stream)
    for size in (1000, 7, len(stream)):
        assert b"".join(codec.decode(pieces(stream, size))) == b"ab"
    assert codec.facts()["skippable_frames"] == 3
    with pytest.raises(BackupFailed, match="truncated: it ends inside frame 2"):
        decode(encode(b"a") + skippable(b"after")[:-1])


def test_a_skippable_frame_of_another_format_is_not_recognised() -> None:
    assert ZstdCodec.recognises(skippable(b"x") + skippable(b"y") + encode(b"a"))
    assert ZstdCodec.recognises(skippable(bytes(5000))[:1024])
    assert not ZstdCodec.recognises(skippable(b"x") + LZ4_FRAME)


@pytest.mark.parametrize("cut", range(1, 8))
def test_a_cut_magic_number_of_a_second_frame_is_refused(cut: int) -> None:
    assert decode(encode(b"a") + encode(b"b")) == b"ab"
    with pytest.raises(BackupFailed):
        decode(encode(b"a") + encode(b"b")[:cut])


def test_windows_up_to_2_gib_are_read() -> None:
    codec = ZstdCodec()
    frame = windowed(31 - 10 << 3)
    assert b"".join(codec.decode(iter([frame]))) == b"x"
    assert codec.facts()["window"] == 1 << 31


@pytest.mark.parametrize("descriptor", [(31 - 10 << 3) + 1, 32 - 10 << 3, 0xFF])
def test_a_larger_window_is_no_verdict(descriptor: int) -> None:
    with pytest.raises(CouldNotVerify, match=r"window of \d+ MiB") as caught:
        decode(windowed(descriptor))
    assert "--long=31" in caught.value.remedy


def windowed(descriptor: int) -> bytes:
    """A frame without checksum, of one raw block that holds an x."""
    return b"\x28\xb5\x2f\xfd\x00" + bytes([descriptor]) + (1 | 1 << 3).to_bytes(3, "little") + b"x"


def test_a_frame_that_needs_a_dictionary_is_no_verdict() -> None:
    dictionary = zstd.train_dict([content(300, seed) for seed in range(200)], 2000)
    frame = zstd.compress(content(300), zstd_dict=dictionary)
    assert zstd.decompress(frame, zstd_dict=dictionary) == content(300)
    with pytest.raises(CouldNotVerify, match=f"dictionary {dictionary.dict_id}"):
        decode(frame)


def test_the_error_says_where() -> None:
    first, second = encode(b"a"), encode(content(1000))
    with pytest.raises(BackupFailed, match=f"inside frame 2, after {len(first + second) - 3} bytes"):
        decode(first + second[:-3])


@settings(deadline=None)
@given(
    data=st.binary(max_size=3000),
    level=st.sampled_from([-5, 1, 3, 19]),
    checksum=st.booleans(),
    cuts=st.lists(st.integers(0, 3000), max_size=6),
)
def test_any_data_at_any_level(data: bytes, level: int, checksum: bool, cuts: list[int]) -> None:
    encoded = encode(data, checksum=checksum, compression_level=level)
    borders = [0, *sorted(min(cut, len(encoded)) for cut in cuts), len(encoded)]
    assert decode(*(encoded[a:b] for a, b in itertools.pairwise(borders))) == data


def test_agrees_with_the_program_about_random_damage(require_program: Callable[[str], str]) -> None:
    program, source = require_program("zstd"), random.Random(23)
    streams = [encode(content(size), checksum=checksum) for size in (0, 1, 30, 3000) for checksum in (True, False)]
    accepted = refused = 0
    for number in range(300):
        stream = source.choice(streams)
        harmed = bytearray(stream + source.choice((b"", b"", bytes(8), b"x", stream, skippable(b"s"))))
        for _ in range(0 if number % 6 == 0 else 1):
            at = source.randrange(4, len(harmed))
            harmed[at : at + source.randrange(3)] = source.randbytes(source.randrange(3))
        done = subprocess.run([program, "-dc", "--long=31"], input=harmed, capture_output=True, check=False)
        try:
            ours = decode(bytes(harmed))
        except (BackupFailed, CouldNotVerify):
            ours = None
        assert ours == (done.stdout if done.returncode == 0 else None), (done, harmed.hex())
        accepted, refused = accepted + (ours is not None), refused + (ours is None)
    assert accepted > 30 and refused > 100


@pytest.mark.parametrize("options", [["-3"], ["-19", "--no-check"], ["-1", "--long=27", "-T2"]], ids=" ".join)
def test_reads_what_the_program_writes(require_program: Callable[[str], str], options: list[str]) -> None:
    program, data = require_program("zstd"), content(1_000_000)
    written = subprocess.run([program, "-c", *options], input=data, capture_output=True, check=True).stdout
    assert decode(written) == data
